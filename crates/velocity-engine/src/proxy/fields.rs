//! Header fields that end at a proxy, and those that a proxy writes.

use bytes::{Bytes, BytesMut};
use http::header::{ALT_SVC, CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, TE, TRANSFER_ENCODING, UPGRADE, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Version};

use crate::call::Call;
use crate::http::h1::fields::has;

/// Fields that a proxy adds, at most.
const ADDED: usize = 10;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Take out of a request what Connection nominates, before anybody here adds to it: what filters set is not the
/// client's to take away again.
pub fn strip_nominated(fields: &mut HeaderMap) {
    if !fields.contains_key(CONNECTION) {
        return;
    }
    let nominated: Vec<HeaderName> = fields
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        // Whoever nominates these would change what the message is, or who it is for; the last two we act on.
        .filter(|name| ![HOST, CONTENT_LENGTH, COOKIE, UPGRADE, TE].contains(name) && !is_ours(name.as_str()))
        .collect();
    for name in nominated {
        fields.remove(name);
    }
}

/// What is between two neighbours only (RFC 9110 section 7.6.1), but for what is nominated.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// What says who the client is, and how its request came: no client may have it left out.
fn is_ours(name: &str) -> bool {
    matches!(name, "forwarded" | "x-real-ip" | "early-data") || name.starts_with("x-forwarded-")
}

/// To applications that know fields as variables, an underscore is a hyphen (RFC 3875 section 4.1.18).
fn is_disguised(name: &str) -> bool {
    name.contains('_') && is_ours(&name.replace('_', "-"))
}

/// The fields of a request as an upstream gets it, but for Host. Made anew in one pass, since most of what is to be taken
/// out is not there.
pub fn request(call: &Call<'_>, one_connection: bool) -> HeaderMap {
    let given = &call.parts.headers;
    // Others that are trusted have said who the client is. What somebody wrote there whom nobody trusts is not passed on.
    let trusted = call.client != call.remote;
    let coded = given.contains_key(TRANSFER_ENCODING);
    let (mut trailers, mut cookies) = (false, BytesMut::new());
    let (mut addresses, mut forwarded) = (String::new(), String::with_capacity(96));
    let mut fields = HeaderMap::with_capacity(given.len() + ADDED);
    for (name, value) in given {
        match name.as_str() {
            hop if is_hop_by_hop(hop) => {}
            // RFC 9110 section 10.1.4: to say that trailers are welcome is for this hop, and we forward them.
            "te" => trailers |= has(value.as_bytes(), b"trailers"),
            // Our own transport asks for the body when it is wanted.
            "expect" | "host" => {}
            // RFC 9112 section 6.3: a coding overrides a length, and is not passed on.
            "content-length" if coded => {}
            // HTTP/2 and HTTP/3 may split it; nobody else knows how to put it together again (RFC 9113 section 8.2.3).
            "cookie" => join_crumb(value.as_bytes(), &mut cookies),
            "x-forwarded-for" if trusted => say(value, &mut addresses),
            "forwarded" if trusted => say(value, &mut forwarded),
            "x-forwarded-for" | "forwarded" | "x-real-ip" => {}
            "x-forwarded-host" | "x-forwarded-proto" if !trusted => {}
            disguised if is_disguised(disguised) => {}
            _ => {
                fields.append(name, value.clone());
            }
        }
    }
    if trailers {
        fields.insert(TE, HeaderValue::from_static("trailers"));
        if one_connection {
            fields.insert(CONNECTION, HeaderValue::from_static("te"));
        }
    }
    if !cookies.is_empty() {
        set(&mut fields, COOKIE, cookies.freeze());
    }
    introduce(call, addresses, forwarded, &mut fields);
    fields.append(VIA, via(call.parts.version));
    fields
}

/// Say who the client is, for servers that see only us (RFC 7239), after what others have said.
fn introduce(call: &Call<'_>, mut addresses: String, mut forwarded: String, fields: &mut HeaderMap) {
    let remote = call.remote.to_string();
    addresses.push_str(&remote);
    // RFC 7239 section 6: IPv6 in brackets and quotes.
    let (before, after) = if call.remote.is_ipv6() {
        ("\"[", "]\"")
    } else {
        ("", "")
    };
    let quote = if is_token(call.authority) { "" } else { "\"" };
    for part in [
        "for=",
        before,
        &remote,
        after,
        ";host=",
        quote,
        call.authority,
        quote,
        ";proto=https",
    ] {
        forwarded.push_str(part);
    }
    let client = match call.client == call.remote {
        true => remote,
        false => call.client.to_string(),
    };
    set(fields, X_FORWARDED_FOR, addresses.into());
    set(fields, X_REAL_IP, client.into());
    if !fields.contains_key(X_FORWARDED_PROTO) {
        fields.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
    }
    if !fields.contains_key(X_FORWARDED_HOST) {
        set(
            fields,
            X_FORWARDED_HOST,
            Bytes::copy_from_slice(call.authority.as_bytes()),
        );
    }
    set(fields, FORWARDED, forwarded.into());
}

fn join_crumb(crumb: &[u8], cookies: &mut BytesMut) {
    if !cookies.is_empty() {
        cookies.extend_from_slice(b"; ");
    }
    cookies.extend_from_slice(crumb);
}

/// What somebody has written before us.
fn say(before: &HeaderValue, text: &mut String) {
    if let Ok(before) = before.to_str() {
        text.push_str(before);
        text.push_str(", ");
    }
}

fn set(fields: &mut HeaderMap, name: HeaderName, text: Bytes) {
    if let Ok(value) = HeaderValue::from_maybe_shared(text) {
        fields.insert(name, value);
    }
}

/// RFC 9110 section 5.6.2, as far as hosts go.
fn is_token(host: &str) -> bool {
    host.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

/// RFC 9110 section 7.6.3.
fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_3 => "3 velocity",
        Version::HTTP_2 => "2 velocity",
        Version::HTTP_10 => "1.0 velocity",
        _ => "1.1 velocity",
    })
}

/// Make the fields of an answer ours.
pub fn response(fields: &mut HeaderMap) {
    strip_nominated(fields);
    // The last one speaks of another authority (RFC 7838 section 2.1).
    let ends_here = |name: &&HeaderName| is_hop_by_hop(name.as_str()) || **name == ALT_SVC;
    while let Some(name) = fields.keys().find(ends_here).cloned() {
        fields.remove(&name);
        if name == TRANSFER_ENCODING {
            fields.remove(CONTENT_LENGTH);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parts;
    use super::*;
    use crate::filter::tests::with_call;

    /// What an upstream gets, name by name, of a request from 127.0.0.1, which may be a proxy that is trusted.
    async fn passed(fields: &[(&str, &str)], trusted: bool) -> impl Fn(&str) -> Option<String> + use<> {
        let mut parts = parts("/", fields);
        strip_nominated(&mut parts.headers);
        let passed = with_call(&parts, async |call| {
            let client = if trusted { call.client } else { call.remote };
            request(&Call { client, ..call }, true)
        })
        .await;
        move |name| {
            let values: Vec<&str> = passed
                .get_all(name)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .collect();
            (!values.is_empty()).then(|| values.join(" | "))
        }
    }

    #[tokio::test]
    async fn fields_between_neighbours() {
        let of = passed(
            &[
                ("connection", "x-a, keep-alive,X-B "),
                ("connection", "host, content-length, cookie, forwarded, x-forwarded-for"),
                ("x-a", "1"),
                ("x-b", "2"),
                ("x-c", "3"),
                ("keep-alive", "300"),
                ("proxy-connection", "close"),
                ("proxy-authorization", "Basic x"),
                ("upgrade", "h2c"),
                ("expect", "100-continue"),
                ("host", "front.example"),
                ("content-length", "5"),
                ("cookie", "a=b"),
                ("via", "1.0 before"),
            ],
            false,
        )
        .await;
        for name in ["x-a", "x-b", "keep-alive", "proxy-connection", "proxy-authorization"] {
            assert_eq!(of(name), None, "{name}");
        }
        for name in ["upgrade", "expect", "host", "connection"] {
            assert_eq!(of(name), None, "{name}");
        }
        let kept = [
            ("x-c", "3"),
            ("content-length", "5"),
            ("cookie", "a=b"),
            ("via", "1.0 before | 1.1 velocity"),
        ];
        for (name, value) in kept {
            assert_eq!(of(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(of("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    }

    #[tokio::test]
    async fn what_is_added_here_cannot_be_nominated_away() {
        let mut parts = parts("/", &[("connection", "x-identity"), ("x-identity", "forged")]);
        strip_nominated(&mut parts.headers);
        parts.headers.insert("x-identity", HeaderValue::from_static("ours"));
        let passed = with_call(&parts, async |call| request(&call, true)).await;
        assert_eq!(passed["x-identity"], "ours");
    }

    #[tokio::test]
    async fn a_coding_overrides_a_length() {
        let of = passed(&[("content-length", "5"), ("transfer-encoding", "chunked")], false).await;
        assert_eq!((of("content-length"), of("transfer-encoding")), (None, None));
        let mut fields = HeaderMap::new();
        fields.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
        fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        fields.insert(ALT_SVC, HeaderValue::from_static("clear"));
        response(&mut fields);
        assert!(fields.is_empty());
    }

    #[tokio::test]
    async fn trailers_are_welcome_if_they_were() {
        for (te, passed_on) in [
            ("trailers", true),
            ("gzip;q=0.5, Trailers", true),
            ("gzip", false),
            ("", false),
        ] {
            let of = passed(&[("te", te)], false).await;
            let expected = passed_on.then(|| "trailers".to_owned());
            assert_eq!(of("te"), expected, "{te}");
            assert_eq!(of("connection"), expected.map(|_| "te".to_owned()), "{te}");
        }
    }

    #[tokio::test]
    async fn crumbs_of_cookies() {
        let of = passed(&[("cookie", "a=1"), ("cookie", "b=2; c=3"), ("cookie", "d=4")], false).await;
        assert_eq!(of("cookie").as_deref(), Some("a=1; b=2; c=3; d=4"));
    }

    const BEFORE: [(&str, &str); 13] = [
        ("connection", "x-real-ip, early-data"),
        ("x-real-ip", "6.6.6.6"),
        ("x-real-ip", "6.6.6.7"),
        ("x_real_ip", "6.6.6.6"),
        ("early-data", "1"),
        ("x-forwarded-for", "192.0.2.9"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-host", "shop.example"),
        ("x-forwarded-proto", "http"),
        ("forwarded", "for=192.0.2.9"),
        ("forwarded", "for=192.0.2.1;proto=http"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x-forwarded_proto", "6.6.6.6"),
    ];

    #[tokio::test]
    async fn strangers_are_not_believed() {
        let of = passed(&BEFORE, false).await;
        let expected = [
            ("x-real-ip", "127.0.0.1"),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", "host.example"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=127.0.0.1;host=host.example;proto=https"),
        ];
        for (name, value) in expected {
            assert_eq!(of(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!((of("x_forwarded_for"), of("x-forwarded_proto")), (None, None));
        assert_eq!(of("x_real_ip"), None);
        // RFC 8470 section 5.1: nobody on the way takes it out.
        assert_eq!(of("early-data").as_deref(), Some("1"));
    }

    #[tokio::test]
    async fn proxies_that_are_trusted_are_added_to() {
        let of = passed(&BEFORE, true).await;
        let expected = [
            ("x-real-ip", "192.0.2.1"),
            ("early-data", "1"),
            ("x-forwarded-for", "192.0.2.9, 192.0.2.1, 127.0.0.1"),
            ("x-forwarded-host", "shop.example"),
            ("x-forwarded-proto", "http"),
            (
                "forwarded",
                "for=192.0.2.9, for=192.0.2.1;proto=http, for=127.0.0.1;host=host.example;proto=https",
            ),
        ];
        for (name, value) in expected {
            assert_eq!(of(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!((of("x_forwarded_for"), of("x-forwarded_proto")), (None, None));
    }

    #[tokio::test]
    async fn addresses_and_ports_are_quoted() {
        let parts = parts("/", &[]);
        let passed = with_call(&parts, async |call| {
            let remote = std::net::IpAddr::from(std::net::Ipv6Addr::LOCALHOST);
            let authority = "host.example:4433";
            request(
                &Call {
                    remote,
                    client: remote,
                    authority,
                    ..call
                },
                false,
            )
        })
        .await;
        assert_eq!(
            passed[FORWARDED],
            "for=\"[::1]\";host=\"host.example:4433\";proto=https"
        );
        assert_eq!(passed[X_FORWARDED_FOR], "::1");
    }
}
