//! What an answer is stored under (RFC 9111 sections 2 and 4.1).
//!
//! A target is the URI as it was sent: scheme, authority, path and query, of which nothing but the case of the host is
//! made equal. An answer stored there is for requests that have the same values in the fields that its Vary names, in
//! those that the operator names, and in all that may make an application believe that it is asked for something else
//! (`X-Forwarded-Host`, `X-Original-URL`): what somebody writes there poisons nobody else's answers.

use std::borrow::Cow;

use http::header::{ACCEPT_ENCODING, COOKIE, FORWARDED, HOST, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::call::Call;
use crate::error::{Error, Result};
use crate::plan;

/// The longest URI that is stored, in bytes.
const MAX_TARGET: usize = 8 * 1024;
/// Fields that one Vary names.
const MAX_VARY: usize = 16;
/// Of all values together, in bytes.
const MAX_VALUES: usize = 8 * 1024;

/// Fields that some applications take for a part of the request line.
const DECEIVING: [&str; 10] = [
    "x-original-url",
    "x-rewrite-url",
    "x-original-uri",
    "x-original-host",
    "x-host",
    "x-http-host-override",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-url-scheme",
];

/// The URI of a request, `None` if it has none under which an answer could be stored.
pub fn target(call: &Call<'_>) -> Option<Box<str>> {
    let path = call.parts.uri.path_and_query()?.as_str();
    at(call.authority, path)
}

/// The target of a path at an authority.
pub fn at(authority: &str, path: &str) -> Option<Box<str>> {
    if authority.is_empty() || !path.starts_with('/') || authority.len() + path.len() > MAX_TARGET {
        return None;
    }
    let mut text = String::with_capacity(8 + authority.len() + path.len());
    text.push_str("https://");
    text.push_str(authority);
    text.make_ascii_lowercase();
    text.push_str(path);
    Some(text.into())
}

/// What else answers depend on, by configuration.
pub struct Parts(Vec<Part>);

enum Part {
    Header(HeaderName),
    Cookie(String),
}

impl Parts {
    /// # Errors
    ///
    /// `CACHE_INVALID`.
    pub fn new(plan: &[plan::CacheKey]) -> Result<Self> {
        let part = |key: &plan::CacheKey| match key.of {
            plan::CacheKeyOf::Cookie => Ok(Part::Cookie(key.name.clone())),
            plan::CacheKeyOf::Header => HeaderName::try_from(&key.name)
                .map(Part::Header)
                .map_err(|_| Error::config("CACHE_INVALID", format!("{:?} is no name of a header field", key.name))),
        };
        plan.iter().map(part).collect::<Result<_>>().map(Self)
    }
}

/// What distinguishes the answers of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The fields that Vary names, in order, each once.
    vary: Box<[HeaderName]>,
    values: Box<[u8]>,
}

impl Selector {
    /// For an answer with this head; `None` if no other request can have it (`Vary: *`), or if that depends on too much.
    pub fn of(call: &Call<'_>, parts: &Parts, head: &HeaderMap) -> Option<Self> {
        let vary = vary(head)?;
        let values = values(call, parts, &vary);
        (values.len() <= MAX_VALUES).then(|| Self {
            vary: vary.into(),
            values: values.into(),
        })
    }

    /// For a request to a target of which nothing is known.
    pub fn plain(call: &Call<'_>, parts: &Parts) -> Self {
        Self {
            vary: Box::default(),
            values: values(call, parts, &[]).into(),
        }
    }

    /// The same for another request.
    pub fn again(&self, call: &Call<'_>, parts: &Parts) -> Self {
        Self {
            vary: self.vary.clone(),
            values: values(call, parts, &self.vary).into(),
        }
    }

    /// Whether the answer is for this request.
    pub fn selects(&self, call: &Call<'_>, parts: &Parts) -> bool {
        *values(call, parts, &self.vary) == *self.values
    }

    /// Under which requests are the same, whatever Vary may turn out to say.
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// In bytes.
    pub fn size(&self) -> usize {
        self.values.len() + self.vary.len() * size_of::<HeaderName>()
    }
}

/// The fields that Vary names, `None` for `*` or too many.
fn vary(head: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for value in head.get_all(VARY) {
        for name in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if name.is_empty() {
                continue;
            }
            // `*` is a token too, and what is no token selects nothing that could be compared.
            let name = HeaderName::from_bytes(name).ok().filter(|name| name.as_str() != "*")?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    (names.len() <= MAX_VARY).then_some(names)
}

fn values(call: &Call<'_>, parts: &Parts, vary: &[HeaderName]) -> Vec<u8> {
    let head = &call.parts.headers;
    let mut values = Vec::new();
    for name in vary {
        match name {
            name if *name == HOST => {} // the target has it
            // Upstreams see what we write there, of which only this depends on the client.
            name if is_ours(name.as_str()) => put(&mut values, Some(call.client.to_string().as_bytes())),
            name if *name == ACCEPT_ENCODING => put(&mut values, codings(head).as_deref()),
            name => put(&mut values, joined(head, name).as_deref()),
        }
    }
    for part in &parts.0 {
        match part {
            Part::Header(name) => put(&mut values, joined(head, name).as_deref()),
            Part::Cookie(name) => put(&mut values, cookie(head, name)),
        }
    }
    deceiving(call, &mut values);
    values
}

/// One value, such that no two lists of them look the same.
fn put(values: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => values.push(0),
        Some(value) => {
            values.push(1);
            values.extend_from_slice(&(value.len() as u64).to_be_bytes());
            values.extend_from_slice(value);
        }
    }
}

/// All lines of a field as one (RFC 9111 section 4.1, RFC 9110 section 5.3).
fn joined<'a>(head: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut lines = head.get_all(name).iter().map(HeaderValue::as_bytes);
    let first = lines.next()?.trim_ascii();
    Some(lines.fold(Cow::Borrowed(first), |mut all, line| {
        let text = all.to_mut();
        text.extend_from_slice(b", ");
        text.extend_from_slice(line.trim_ascii());
        all
    }))
}

/// Accept-Encoding without what makes no difference: case, spaces and order.
fn codings(head: &HeaderMap) -> Option<Vec<u8>> {
    let all = joined(head, &ACCEPT_ENCODING)?;
    let mut items: Vec<Vec<u8>> = all
        .split(|byte| *byte == b',')
        .map(|item| {
            let signs = item.iter().filter(|byte| !byte.is_ascii_whitespace());
            signs.map(u8::to_ascii_lowercase).collect()
        })
        .filter(|item: &Vec<u8>| !item.is_empty())
        .collect();
    items.sort_unstable();
    Some(items.join(&b','))
}

/// The first cookie of a name (RFC 6265 section 4.2).
fn cookie<'a>(head: &'a HeaderMap, wanted: &str) -> Option<&'a [u8]> {
    head.get_all(COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .find_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            (pair[..at].trim_ascii() == wanted.as_bytes()).then(|| pair[at + 1..].trim_ascii())
        })
}

/// What says who the client is, and is written by us.
fn is_ours(name: &str) -> bool {
    matches!(
        name,
        "forwarded" | "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto" | "x-real-ip"
    )
}

/// Fields that upstreams get as the client sent them, and may take for another host, scheme, path or method.
fn deceiving(call: &Call<'_>, values: &mut Vec<u8>) {
    // Of strangers, those of `is_ours` go no further.
    let trusted = call.client != call.remote;
    for (name, value) in &call.parts.headers {
        // To many applications an underscore is a hyphen (RFC 3875 section 4.1.18).
        let plain = match name.as_str().contains('_') {
            true => Cow::Owned(name.as_str().replace('_', "-")),
            false => Cow::Borrowed(name.as_str()),
        };
        let suspect = match &*plain {
            "x-forwarded-for" | "x-real-ip" => false,
            name if is_ours(name) => trusted,
            name => name.starts_with("x-forwarded-") || DECEIVING.contains(&name),
        };
        if !suspect {
            continue;
        }
        let value = match name == FORWARDED {
            true => Cow::Owned(without_nodes(value.as_bytes())),
            false => Cow::Borrowed(value.as_bytes()),
        };
        put(values, Some(name.as_str().as_bytes()));
        put(values, Some(&value));
    }
}

/// Forwarded but for the addresses in it, which are different for everybody (RFC 7239 section 4).
fn without_nodes(value: &[u8]) -> Vec<u8> {
    let pairs = value
        .split(|byte| matches!(byte, b',' | b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"for=")));
    pairs.collect::<Vec<_>>().join(&b';')
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::parts as head;
    use super::*;
    use crate::filter::tests::with_call;

    fn parts(names: &[(plan::CacheKeyOf, &str)]) -> Parts {
        let key = |(of, name): &(plan::CacheKeyOf, &str)| plan::CacheKey {
            of: *of,
            name: (*name).to_owned(),
        };
        Parts::new(&names.iter().map(key).collect::<Vec<_>>()).unwrap()
    }

    fn varying(lines: &[&str]) -> HeaderMap {
        let mut head = HeaderMap::new();
        for line in lines {
            head.append(VARY, line.parse().unwrap());
        }
        head
    }

    #[tokio::test]
    async fn targets_are_what_was_sent() {
        for (authority, uri, expected) in [
            ("Host.Example", "/a?b=C", "https://host.example/a?b=C"),
            ("host.example:443", "/", "https://host.example:443/"),
            ("host.example", "/%41//b/../c?", "https://host.example/%41//b/../c?"),
        ] {
            let found = with_call(&head(uri, &[]), async |call| target(&Call { authority, ..call })).await;
            assert_eq!(found.as_deref(), Some(expected));
        }
        let long = format!("/{}", "a".repeat(MAX_TARGET));
        for (authority, uri) in [("", "/a"), ("host.example", "*"), ("host.example", &long)] {
            let found = with_call(&head(uri, &[]), async |call| target(&Call { authority, ..call })).await;
            assert_eq!(found, None, "{authority} {uri}");
        }
    }

    /// Whether the answer to one request is for another.
    async fn same(vary: &[&str], keys: &Parts, one: &[(&str, &str)], other: &[(&str, &str)], trusted: bool) -> bool {
        let trust = |call: Call<'_>| if trusted { call.client } else { call.remote };
        let of = with_call(&head("/", one), async |call| {
            Selector::of(
                &Call {
                    client: trust(call),
                    ..call
                },
                keys,
                &varying(vary),
            )
        })
        .await
        .unwrap();
        with_call(&head("/", other), async |call| {
            of.selects(
                &Call {
                    client: trust(call),
                    ..call
                },
                keys,
            )
        })
        .await
    }

    #[tokio::test]
    async fn vary_of_rfc_9111_section_4_1() {
        let none = parts(&[]);
        for (vary, one, other, expected) in [
            (&[][..], &[("a", "1")][..], &[("a", "2")][..], true),
            (&["a"], &[("a", "1")], &[("a", "1"), ("b", "2")], true),
            (&["A, b"], &[("a", "1")], &[("a", "1"), ("b", "2")], false),
            (&["a"], &[("a", "")], &[], false),
            (&["a"], &[], &[], true),
            (&["a"], &[("a", "1"), ("a", "2")], &[("a", "1, 2")], true),
            (&["a"], &[("a", "2"), ("a", "1")], &[("a", "1, 2")], false),
            (&["a", "b"], &[("a", "1")], &[("b", "1")], false),
            (
                &["accept-encoding"],
                &[("accept-encoding", "gzip, BR")],
                &[("accept-encoding", "br,gzip")],
                true,
            ),
            (
                &["accept-encoding"],
                &[("accept-encoding", "gzip")],
                &[("accept-encoding", "gzip;q=0")],
                false,
            ),
        ] {
            assert_eq!(
                same(vary, &none, one, other, false).await,
                expected,
                "{vary:?} {one:?} {other:?}"
            );
        }
    }

    #[tokio::test]
    async fn what_depends_on_everything_is_for_nobody_else() {
        let many: Vec<String> = (0..=MAX_VARY).map(|number| format!("x-{number}")).collect();
        for lines in [&["*"][..], &["a, *"], &["a", "*"], &["a b"], &[&many.join(",")]] {
            let found = with_call(&head("/", &[]), async |call| {
                Selector::of(&call, &parts(&[]), &varying(lines))
            })
            .await;
            assert_eq!(found, None, "{lines:?}");
        }
        let long = "a".repeat(MAX_VALUES);
        let head = head("/", &[("a", &long)]);
        assert_eq!(
            with_call(&head, async |call| Selector::of(&call, &parts(&[]), &varying(&["a"]))).await,
            None
        );
    }

    #[tokio::test]
    async fn what_deceives_is_kept_apart() {
        let none = parts(&[]);
        for (field, strangers, trusted) in [
            (("x-forwarded-host", "evil.example"), true, false),
            (("x-forwarded-proto", "http"), true, false),
            (("forwarded", "for=192.0.2.1;host=evil.example"), true, false),
            (("forwarded", "for=192.0.2.1"), true, false),
            (("x-forwarded-for", "6.6.6.6"), true, true),
            (("x-real-ip", "6.6.6.6"), true, true),
            (("x-forwarded-port", "8080"), false, false),
            (("x-forwarded-prefix", "/evil"), false, false),
            (("x_forwarded_prefix", "/evil"), false, false),
            (("x-original-url", "/evil"), false, false),
            (("x-rewrite-url", "/evil"), false, false),
            (("x-http-method-override", "POST"), false, false),
            (("x-other", "1"), true, true),
        ] {
            assert_eq!(same(&[], &none, &[field], &[], false).await, strangers, "{field:?}");
            assert_eq!(same(&[], &none, &[field], &[], true).await, trusted, "{field:?}");
        }
        let of = |node: &'static str| [("forwarded", node)];
        assert!(
            same(
                &[],
                &none,
                &of("for=192.0.2.1;host=a"),
                &of("For=192.0.2.2;host=a"),
                true
            )
            .await
        );
    }

    #[tokio::test]
    async fn what_is_written_here_depends_on_the_client() {
        let none = parts(&[]);
        for name in ["x-forwarded-for", "x-real-ip", "forwarded"] {
            let forged = [(name, "6.6.6.6")];
            assert!(
                same(&[name], &none, &forged, &[], false).await,
                "{name}: what strangers write goes no further"
            );
            let of = with_call(&head("/", &[]), async |call| {
                Selector::of(&call, &none, &varying(&[name])).unwrap()
            })
            .await;
            let another = with_call(&head("/", &[]), async |call| {
                let client = call.remote;
                of.selects(&Call { client, ..call }, &none)
            })
            .await;
            assert!(!another, "{name}");
        }
    }

    #[tokio::test]
    async fn what_the_operator_names() {
        let keys = parts(&[
            (plan::CacheKeyOf::Header, "x-tenant"),
            (plan::CacheKeyOf::Cookie, "lang"),
        ]);
        for (one, other, expected) in [
            (&[("x-tenant", "a")][..], &[("x-tenant", "b")][..], false),
            (&[("cookie", "a=1; lang=en")], &[("cookie", "lang=en; b=2")], true),
            (&[("cookie", "lang=en")], &[("cookie", "lang=nl")], false),
            (&[("cookie", "lang=en")], &[("cookie", "xlang=en")], false),
            (
                &[("cookie", "a=1"), ("cookie", "lang=en")],
                &[("cookie", "lang=en")],
                true,
            ),
        ] {
            assert_eq!(same(&[], &keys, one, other, false).await, expected, "{one:?} {other:?}");
        }
    }
}
