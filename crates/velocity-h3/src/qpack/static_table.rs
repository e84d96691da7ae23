//! The static table (RFC 9204 section 3.1 and Appendix A), and the search in it.

use http::{HeaderName, HeaderValue};

/// How many entries there are.
pub const LEN: usize = 99;

/// What the table has for a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// This entry has the name and the value.
    Exact(u8),
    /// This entry has the name, and none has the value too.
    Name(u8),
}

/// The name of an entry, in lowercase; empty out of range.
#[must_use]
pub fn name(index: u8) -> &'static str {
    ENTRIES.get(usize::from(index)).map_or("", |entry| entry.0)
}

/// The value of an entry; empty out of range.
#[must_use]
pub fn value(index: u8) -> &'static str {
    ENTRIES.get(usize::from(index)).map_or("", |entry| entry.1)
}

/// The name of an entry; none for a pseudo-header field and out of range. Allocates nothing.
#[must_use]
pub fn header_name(index: u8) -> Option<HeaderName> {
    NAMES.get(usize::from(index)).cloned().flatten()
}

/// The value of an entry; empty out of range. Allocates nothing.
#[must_use]
pub fn header_value(index: u8) -> HeaderValue {
    VALUES
        .get(usize::from(index))
        .cloned()
        .unwrap_or(HeaderValue::from_static(""))
}

/// The entry for a field, or the first one with its name.
#[must_use]
pub fn find(name: &[u8], value: &[u8]) -> Option<Match> {
    let mut slot = hash(name);
    let first = loop {
        let index = SEARCH.slots[slot];
        if index == NONE {
            return None;
        }
        if self::name(index).as_bytes() == name {
            break index;
        }
        slot = (slot + 1) % SLOTS;
    };
    let mut index = first;
    while index != NONE {
        if self::value(index).as_bytes() == value {
            return Some(Match::Exact(index));
        }
        index = SEARCH.next[usize::from(index)];
    }
    Some(Match::Name(first))
}

const NONE: u8 = u8::MAX;
/// More than twice the number of names, so that a search that fails ends soon.
const SLOTS: usize = 128;

/// Where to look for a name: open addressing by [`hash`], and the entries of one name as a list.
struct Search {
    slots: [u8; SLOTS],
    next: [u8; LEN],
}

static SEARCH: Search = {
    let mut search = Search {
        slots: [NONE; SLOTS],
        next: [NONE; LEN],
    };
    let mut index = 0;
    while index < LEN {
        let name = ENTRIES[index].0.as_bytes();
        let mut slot = hash(name);
        while search.slots[slot] != NONE && !equal(ENTRIES[search.slots[slot] as usize].0.as_bytes(), name) {
            slot = (slot + 1) % SLOTS;
        }
        if search.slots[slot] == NONE {
            search.slots[slot] = index as u8;
        } else {
            let mut last = search.slots[slot] as usize;
            while search.next[last] != NONE {
                last = search.next[last] as usize;
            }
            search.next[last] = index as u8;
        }
        index += 1;
    }
    search
};

/// Length and three bytes tell the names of the table apart well enough.
const fn hash(name: &[u8]) -> usize {
    match name {
        [] => 0,
        [first, ..] => {
            let middle = name[name.len() / 2] as usize;
            let last = name[name.len() - 1] as usize;
            (name.len() * 13 + *first as usize * 19 + middle * 16 + last * 32) % SLOTS
        }
    }
}

const fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

const fn header(name: &'static str) -> Option<HeaderName> {
    match name.as_bytes() {
        [b':', ..] => None,
        _ => Some(HeaderName::from_static(name)),
    }
}

macro_rules! table {
    ($($name:literal $value:literal,)*) => {
        static ENTRIES: [(&str, &str); LEN] = [$(($name, $value)),*];
        static NAMES: [Option<HeaderName>; LEN] = [$(header($name)),*];
        static VALUES: [HeaderValue; LEN] = [$(HeaderValue::from_static($value)),*];
    };
}

table! {
    ":authority" "",
    ":path" "/",
    "age" "0",
    "content-disposition" "",
    "content-length" "0",
    "cookie" "",
    "date" "",
    "etag" "",
    "if-modified-since" "",
    "if-none-match" "",
    "last-modified" "",
    "link" "",
    "location" "",
    "referer" "",
    "set-cookie" "",
    ":method" "CONNECT",
    ":method" "DELETE",
    ":method" "GET",
    ":method" "HEAD",
    ":method" "OPTIONS",
    ":method" "POST",
    ":method" "PUT",
    ":scheme" "http",
    ":scheme" "https",
    ":status" "103",
    ":status" "200",
    ":status" "304",
    ":status" "404",
    ":status" "503",
    "accept" "*/*",
    "accept" "application/dns-message",
    "accept-encoding" "gzip, deflate, br",
    "accept-ranges" "bytes",
    "access-control-allow-headers" "cache-control",
    "access-control-allow-headers" "content-type",
    "access-control-allow-origin" "*",
    "cache-control" "max-age=0",
    "cache-control" "max-age=2592000",
    "cache-control" "max-age=604800",
    "cache-control" "no-cache",
    "cache-control" "no-store",
    "cache-control" "public, max-age=31536000",
    "content-encoding" "br",
    "content-encoding" "gzip",
    "content-type" "application/dns-message",
    "content-type" "application/javascript",
    "content-type" "application/json",
    "content-type" "application/x-www-form-urlencoded",
    "content-type" "image/gif",
    "content-type" "image/jpeg",
    "content-type" "image/png",
    "content-type" "text/css",
    "content-type" "text/html; charset=utf-8",
    "content-type" "text/plain",
    "content-type" "text/plain;charset=utf-8",
    "range" "bytes=0-",
    "strict-transport-security" "max-age=31536000",
    "strict-transport-security" "max-age=31536000; includesubdomains",
    "strict-transport-security" "max-age=31536000; includesubdomains; preload",
    "vary" "accept-encoding",
    "vary" "origin",
    "x-content-type-options" "nosniff",
    "x-xss-protection" "1; mode=block",
    ":status" "100",
    ":status" "204",
    ":status" "206",
    ":status" "302",
    ":status" "400",
    ":status" "403",
    ":status" "421",
    ":status" "425",
    ":status" "500",
    "accept-language" "",
    "access-control-allow-credentials" "FALSE",
    "access-control-allow-credentials" "TRUE",
    "access-control-allow-headers" "*",
    "access-control-allow-methods" "get",
    "access-control-allow-methods" "get, post, options",
    "access-control-allow-methods" "options",
    "access-control-expose-headers" "content-length",
    "access-control-request-headers" "content-type",
    "access-control-request-method" "get",
    "access-control-request-method" "post",
    "alt-svc" "clear",
    "authorization" "",
    "content-security-policy" "script-src 'none'; object-src 'none'; base-uri 'none'",
    "early-data" "1",
    "expect-ct" "",
    "forwarded" "",
    "if-range" "",
    "origin" "",
    "purpose" "prefetch",
    "server" "",
    "timing-allow-origin" "*",
    "upgrade-insecure-requests" "1",
    "user-agent" "",
    "x-forwarded-for" "",
    "x-frame-options" "deny",
    "x-frame-options" "sameorigin",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_rfc_9204_appendix_a() {
        for (index, entry) in [
            (0, (":authority", "")),
            (17, (":method", "GET")),
            (25, (":status", "200")),
            (31, ("accept-encoding", "gzip, deflate, br")),
            (63, (":status", "100")),
            (73, ("access-control-allow-credentials", "FALSE")),
            (98, ("x-frame-options", "sameorigin")),
        ] {
            assert_eq!((name(index), value(index)), entry);
        }
    }

    #[test]
    fn every_entry_is_found() {
        for index in 0..LEN as u8 {
            assert_eq!(
                find(name(index).as_bytes(), value(index).as_bytes()),
                Some(Match::Exact(index))
            );
            let first = (0..LEN as u8).find(|&other| name(other) == name(index)).unwrap();
            assert_eq!(find(name(index).as_bytes(), b"no such value"), Some(Match::Name(first)));
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for name in [
            "",
            "a",
            "accept-encodinf",
            "Accept",
            "x-velocity",
            ":statux",
            "zzzzzzzzzzzzzzzzzz",
        ] {
            assert_eq!(find(name.as_bytes(), b""), None, "{name}");
        }
    }

    #[test]
    fn a_search_that_fails_ends_soon() {
        let runs = SEARCH.slots.repeat(2);
        let longest = runs.split(|&index| index == NONE).map(<[u8]>::len).max().unwrap();
        assert!(longest <= 4, "{longest}");
    }

    #[test]
    fn typed_names_and_values_are_the_same() {
        for index in 0..LEN as u8 {
            let expected = (!name(index).starts_with(':')).then(|| name(index));
            assert_eq!(header_name(index).as_ref().map(HeaderName::as_str), expected);
            assert_eq!(header_value(index), value(index));
        }
    }

    #[test]
    fn out_of_range_is_empty() {
        for index in LEN as u8..=255 {
            assert_eq!((name(index), value(index), header_name(index)), ("", "", None));
            assert_eq!(header_value(index), "");
        }
    }
}
