//! The static table (RFC 9204 Appendix A).

use http::{HeaderName, HeaderValue};

/// Entries there are.
pub const LEN: usize = 99;

/// What a field has in common with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// Name and value.
    Exact(u8),
    /// The name; the first entry that has it.
    Name(u8),
}

/// The name of an entry; empty beyond the table.
pub fn name(index: u8) -> &'static str {
    ENTRIES.get(usize::from(index)).map_or("", |(name, _)| name)
}

/// The value of an entry; empty beyond the table.
pub fn value(index: u8) -> &'static str {
    ENTRIES.get(usize::from(index)).map_or("", |(_, value)| value)
}

/// The name of an entry as a header name; `None` for pseudo-header fields and beyond the table.
pub fn header_name(index: u8) -> Option<HeaderName> {
    match name(index) {
        name if name.is_empty() || name.starts_with(':') => None,
        name => Some(HeaderName::from_static(name)),
    }
}

/// The value of an entry as a header value.
pub fn header_value(index: u8) -> HeaderValue {
    HeaderValue::from_static(value(index))
}

/// The best entry for a field.
pub fn find(name: &[u8], value: &[u8]) -> Option<Match> {
    let key = |&(candidate, _): &(&str, &[u8])| (candidate.len(), candidate.as_bytes()).cmp(&(name.len(), name));
    let (_, indexes) = NAMES.get(NAMES.binary_search_by(key).ok()?)?;
    let exact = indexes.iter().find(|&&index| self::value(index).as_bytes() == value);
    match exact {
        Some(&index) => Some(Match::Exact(index)),
        None => indexes.first().map(|&index| Match::Name(index)),
    }
}

/// Names and values by index.
#[rustfmt::skip]
static ENTRIES: [(&str, &str); LEN] = [
    (":authority", ""),
    (":path", "/"),
    ("age", "0"),
    ("content-disposition", ""),
    ("content-length", "0"),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("referer", ""),
    ("set-cookie", ""),
    (":method", "CONNECT"),
    (":method", "DELETE"),
    (":method", "GET"),
    (":method", "HEAD"),
    (":method", "OPTIONS"),
    (":method", "POST"),
    (":method", "PUT"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "103"),
    (":status", "200"),
    (":status", "304"),
    (":status", "404"),
    (":status", "503"),
    ("accept", "*/*"),
    ("accept", "application/dns-message"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-ranges", "bytes"),
    ("access-control-allow-headers", "cache-control"),
    ("access-control-allow-headers", "content-type"),
    ("access-control-allow-origin", "*"),
    ("cache-control", "max-age=0"),
    ("cache-control", "max-age=2592000"),
    ("cache-control", "max-age=604800"),
    ("cache-control", "no-cache"),
    ("cache-control", "no-store"),
    ("cache-control", "public, max-age=31536000"),
    ("content-encoding", "br"),
    ("content-encoding", "gzip"),
    ("content-type", "application/dns-message"),
    ("content-type", "application/javascript"),
    ("content-type", "application/json"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "image/gif"),
    ("content-type", "image/jpeg"),
    ("content-type", "image/png"),
    ("content-type", "text/css"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-type", "text/plain"),
    ("content-type", "text/plain;charset=utf-8"),
    ("range", "bytes=0-"),
    ("strict-transport-security", "max-age=31536000"),
    ("strict-transport-security", "max-age=31536000; includesubdomains"),
    ("strict-transport-security", "max-age=31536000; includesubdomains; preload"),
    ("vary", "accept-encoding"),
    ("vary", "origin"),
    ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"),
    (":status", "100"),
    (":status", "204"),
    (":status", "206"),
    (":status", "302"),
    (":status", "400"),
    (":status", "403"),
    (":status", "421"),
    (":status", "425"),
    (":status", "500"),
    ("accept-language", ""),
    ("access-control-allow-credentials", "FALSE"),
    ("access-control-allow-credentials", "TRUE"),
    ("access-control-allow-headers", "*"),
    ("access-control-allow-methods", "get"),
    ("access-control-allow-methods", "get, post, options"),
    ("access-control-allow-methods", "options"),
    ("access-control-expose-headers", "content-length"),
    ("access-control-request-headers", "content-type"),
    ("access-control-request-method", "get"),
    ("access-control-request-method", "post"),
    ("alt-svc", "clear"),
    ("authorization", ""),
    ("content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"),
    ("early-data", "1"),
    ("expect-ct", ""),
    ("forwarded", ""),
    ("if-range", ""),
    ("origin", ""),
    ("purpose", "prefetch"),
    ("server", ""),
    ("timing-allow-origin", "*"),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", ""),
    ("x-forwarded-for", ""),
    ("x-frame-options", "deny"),
    ("x-frame-options", "sameorigin"),
];

/// Every name once, by length and then by bytes, with the indexes that have it.
#[rustfmt::skip]
static NAMES: [(&str, &[u8]); 52] = [
    ("age", &[2]),
    ("date", &[6]),
    ("etag", &[7]),
    ("link", &[11]),
    ("vary", &[59, 60]),
    (":path", &[1]),
    ("range", &[55]),
    ("accept", &[29, 30]),
    ("cookie", &[5]),
    ("origin", &[90]),
    ("server", &[92]),
    (":method", &[15, 16, 17, 18, 19, 20, 21]),
    (":scheme", &[22, 23]),
    (":status", &[24, 25, 26, 27, 28, 63, 64, 65, 66, 67, 68, 69, 70, 71]),
    ("alt-svc", &[83]),
    ("purpose", &[91]),
    ("referer", &[13]),
    ("if-range", &[89]),
    ("location", &[12]),
    ("expect-ct", &[87]),
    ("forwarded", &[88]),
    (":authority", &[0]),
    ("early-data", &[86]),
    ("set-cookie", &[14]),
    ("user-agent", &[95]),
    ("content-type", &[44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54]),
    ("accept-ranges", &[32]),
    ("authorization", &[84]),
    ("cache-control", &[36, 37, 38, 39, 40, 41]),
    ("if-none-match", &[9]),
    ("last-modified", &[10]),
    ("content-length", &[4]),
    ("accept-encoding", &[31]),
    ("accept-language", &[72]),
    ("x-forwarded-for", &[96]),
    ("x-frame-options", &[97, 98]),
    ("content-encoding", &[42, 43]),
    ("x-xss-protection", &[62]),
    ("if-modified-since", &[8]),
    ("content-disposition", &[3]),
    ("timing-allow-origin", &[93]),
    ("x-content-type-options", &[61]),
    ("content-security-policy", &[85]),
    ("strict-transport-security", &[56, 57, 58]),
    ("upgrade-insecure-requests", &[94]),
    ("access-control-allow-origin", &[35]),
    ("access-control-allow-headers", &[33, 34, 75]),
    ("access-control-allow-methods", &[76, 77, 78]),
    ("access-control-expose-headers", &[79]),
    ("access-control-request-method", &[81, 82]),
    ("access-control-request-headers", &[80]),
    ("access-control-allow-credentials", &[73, 74]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_finds_itself() {
        for index in 0..LEN as u8 {
            // Where an entry occurs twice, the first one is as good.
            let Some(Match::Exact(found)) = find(name(index).as_bytes(), value(index).as_bytes()) else {
                panic!("{index} is not found");
            };
            assert_eq!((name(found), value(found)), (name(index), value(index)));
        }
        assert_eq!(find(b"content-type", b"x/y"), Some(Match::Name(44)));
        assert_eq!(find(b"no-such-name", b""), None);
        assert_eq!((name(99), value(200)), ("", ""));
    }

    #[test]
    fn some_entries_of_appendix_a() {
        assert_eq!((name(0), value(0)), (":authority", ""));
        assert_eq!((name(25), value(25)), (":status", "200"));
        assert_eq!((name(98), value(98)), ("x-frame-options", "sameorigin"));
        assert_eq!(header_name(17), None);
        assert_eq!(header_name(95).unwrap(), "user-agent");
    }
}
