//! Validators and preconditions (RFC 9110 sections 8.8 and 13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{
    DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::root::Identity;

/// The validators of one representation.
#[derive(Clone, Debug)]
pub struct Validators {
    /// Of files it is strong: it changes whenever a byte does, and differs between content codings. Empty for none.
    pub etag: HeaderValue,
    pub last_modified: HeaderValue,
    /// Whole seconds, as the field has them.
    modified: Option<SystemTime>,
}

/// What the preconditions of a request amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Proceed,
    NotModified,
    Failed,
}

impl Validators {
    /// `coding` is empty for the file as it is.
    pub fn new(identity: &Identity, coding: &str) -> Self {
        let separator = if coding.is_empty() { "" } else { "-" };
        let etag = format!("\"{:x}-{:x}{separator}{coding}\"", identity.size, identity.modified);
        // Never in the future (RFC 9110 section 8.8.2.1): a clock set back would freeze caches.
        let modified = identity.modified_time().min(SystemTime::now());
        let seconds = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let modified = UNIX_EPOCH + Duration::from_secs(seconds);
        let value = |text: String| HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self {
            etag: value(etag),
            last_modified: value(httpdate::fmt_http_date(modified)),
            modified: Some(modified),
        }
    }

    /// Those that the head of a response names; where it does not say when it was modified, the Date of it counts
    /// (RFC 9111 section 4.3.2).
    pub fn of(head: &HeaderMap) -> Self {
        let field = |name| head.get(name).cloned().unwrap_or_else(|| HeaderValue::from_static(""));
        Self {
            etag: field(ETAG),
            last_modified: field(LAST_MODIFIED),
            modified: date(head, LAST_MODIFIED).or_else(|| date(head, DATE)),
        }
    }

    /// Evaluate the preconditions in the order of RFC 9110 section 13.2.2.
    pub fn evaluate(&self, headers: &HeaderMap) -> Verdict {
        if headers.contains_key(IF_MATCH) {
            if !self.listed(headers, IF_MATCH, false) {
                return Verdict::Failed;
            }
        } else if let Some(since) = date(headers, IF_UNMODIFIED_SINCE)
            && self.modified.is_some_and(|modified| modified > since)
        {
            return Verdict::Failed;
        }
        if headers.contains_key(IF_NONE_MATCH) {
            if self.listed(headers, IF_NONE_MATCH, true) {
                return Verdict::NotModified;
            }
        } else if let Some(since) = date(headers, IF_MODIFIED_SINCE)
            && self.modified.is_some_and(|modified| modified <= since)
        {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }

    /// Whether a Range field counts: there is no If-Range, or its validator matches strongly
    /// (RFC 9110 section 13.1.5).
    pub fn range_applies(&self, headers: &HeaderMap) -> bool {
        match headers.get(IF_RANGE) {
            None => true,
            Some(value) if value.as_bytes().starts_with(b"\"") => *value == self.etag,
            // A date is exact or it is nothing; weak entity tags never match.
            Some(value) => !value.is_empty() && *value == self.last_modified,
        }
    }

    /// Whether our entity tag is in a list of them. `weak` compares opaque tags only.
    fn listed(&self, headers: &HeaderMap, name: HeaderName, weak: bool) -> bool {
        let opaque = |tag: &'_ [u8]| tag.strip_prefix(b"W/").is_none_or(|_| weak);
        let own = self.etag.as_bytes();
        headers.get_all(name).iter().any(|value| {
            entity_tags(value.as_bytes()).any(|tag| match tag {
                b"*" => true,
                b"" => false,
                tag => opaque(tag) && opaque(own) && without_weakness(tag) == without_weakness(own),
            })
        })
    }
}

fn without_weakness(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The members of a list of entity tags; commas inside of quotes belong to the tag.
fn entity_tags(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    list.split(move |&byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    })
    .map(<[u8]>::trim_ascii)
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    // An invalid date is ignored (RFC 9110 sections 13.1.3 and 13.1.4).
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use http::header::RANGE;

    use super::*;

    const BEFORE: &str = "Sat, 29 Oct 1994 19:43:30 GMT";
    const MODIFIED: &str = "Sat, 29 Oct 1994 19:43:31 GMT";
    const AFTER: &str = "Sat, 29 Oct 1994 19:43:32 GMT";

    /// `"xyzzy"` of RFC 9110 section 8.8.3, last modified at `MODIFIED`.
    fn xyzzy() -> Validators {
        Validators {
            etag: HeaderValue::from_static("\"xyzzy\""),
            last_modified: HeaderValue::from_static(MODIFIED),
            modified: httpdate::parse_http_date(MODIFIED).ok(),
        }
    }

    fn headers(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn examples_of_rfc_9110_sections_13_1_1_and_13_1_2() {
        for (name, value, expected) in [
            (IF_MATCH, "\"xyzzy\"", Verdict::Proceed),
            (IF_MATCH, "\"xyzzy\", \"r2d2xxxx\", \"c3piozzzz\"", Verdict::Proceed),
            (IF_MATCH, "*", Verdict::Proceed),
            (IF_MATCH, "\"r2d2xxxx\"", Verdict::Failed),
            (IF_MATCH, "W/\"xyzzy\"", Verdict::Failed),
            (IF_MATCH, "\"a,\"xyzzy\",b\"", Verdict::Failed),
            (IF_NONE_MATCH, "\"xyzzy\"", Verdict::NotModified),
            (IF_NONE_MATCH, "W/\"xyzzy\"", Verdict::NotModified),
            (IF_NONE_MATCH, "\"r2d2xxxx\", \"xyzzy\"", Verdict::NotModified),
            (IF_NONE_MATCH, "W/\"r2d2xxxx\", W/\"c3piozzzz\"", Verdict::Proceed),
            (IF_NONE_MATCH, "*", Verdict::NotModified),
            (IF_NONE_MATCH, "xyzzy", Verdict::Proceed),
            (IF_UNMODIFIED_SINCE, BEFORE, Verdict::Failed),
            (IF_UNMODIFIED_SINCE, MODIFIED, Verdict::Proceed),
            (IF_UNMODIFIED_SINCE, "yesterday", Verdict::Proceed),
            (IF_MODIFIED_SINCE, BEFORE, Verdict::Proceed),
            (IF_MODIFIED_SINCE, MODIFIED, Verdict::NotModified),
            (IF_MODIFIED_SINCE, AFTER, Verdict::NotModified),
            (
                IF_MODIFIED_SINCE,
                "Saturday, 29-Oct-94 19:43:31 GMT",
                Verdict::NotModified,
            ),
            (IF_MODIFIED_SINCE, "yesterday", Verdict::Proceed),
        ] {
            let verdict = xyzzy().evaluate(&headers(&[(name.clone(), value)]));
            assert_eq!(verdict, expected, "{name}: {value}");
        }
    }

    #[test]
    fn validators_of_others_may_be_weak_or_missing() {
        let of = |fields: &[(HeaderName, &'static str)]| Validators::of(&headers(fields));
        let weak = of(&[(ETAG, "W/\"a\"")]);
        for (name, value, expected) in [
            (IF_NONE_MATCH, "W/\"a\"", Verdict::NotModified),
            (IF_NONE_MATCH, "\"a\"", Verdict::NotModified),
            (IF_NONE_MATCH, "\"b\"", Verdict::Proceed),
            (IF_MATCH, "W/\"a\"", Verdict::Failed),
            (IF_MATCH, "\"a\"", Verdict::Failed),
        ] {
            assert_eq!(
                weak.evaluate(&headers(&[(name.clone(), value)])),
                expected,
                "{name}: {value}"
            );
        }
        assert!(!weak.range_applies(&headers(&[(IF_RANGE, "W/\"a\"")])));
        let none = of(&[]);
        for (name, value, expected) in [
            (IF_NONE_MATCH, "", Verdict::Proceed),
            (IF_NONE_MATCH, ",", Verdict::Proceed),
            (IF_NONE_MATCH, "\"\"", Verdict::Proceed),
            (IF_NONE_MATCH, "*", Verdict::NotModified),
            (IF_MODIFIED_SINCE, AFTER, Verdict::Proceed),
            (IF_UNMODIFIED_SINCE, BEFORE, Verdict::Proceed),
        ] {
            assert_eq!(
                none.evaluate(&headers(&[(name.clone(), value)])),
                expected,
                "{name}: {value}"
            );
        }
        assert!(!none.range_applies(&headers(&[(IF_RANGE, "")])));
        for (own, verdict) in [
            (&[(LAST_MODIFIED, MODIFIED)][..], Verdict::NotModified),
            (&[(DATE, MODIFIED)], Verdict::NotModified),
            (&[(LAST_MODIFIED, AFTER), (DATE, BEFORE)], Verdict::Proceed),
        ] {
            assert_eq!(
                of(own).evaluate(&headers(&[(IF_MODIFIED_SINCE, MODIFIED)])),
                verdict,
                "{own:?}"
            );
        }
    }

    #[test]
    fn precedence_of_rfc_9110_section_13_2_2() {
        for (fields, expected) in [
            // If-Match hides If-Unmodified-Since, If-None-Match hides If-Modified-Since.
            ([(IF_MATCH, "*"), (IF_UNMODIFIED_SINCE, BEFORE)], Verdict::Proceed),
            ([(IF_MATCH, "\"other\""), (IF_UNMODIFIED_SINCE, AFTER)], Verdict::Failed),
            (
                [(IF_NONE_MATCH, "\"other\""), (IF_MODIFIED_SINCE, AFTER)],
                Verdict::Proceed,
            ),
            (
                [(IF_NONE_MATCH, "*"), (IF_MODIFIED_SINCE, BEFORE)],
                Verdict::NotModified,
            ),
            // What fails the first step is never "not modified".
            ([(IF_MATCH, "\"other\""), (IF_NONE_MATCH, "*")], Verdict::Failed),
            ([(IF_MATCH, "*"), (IF_NONE_MATCH, "*")], Verdict::NotModified),
            // A list may come in several lines.
            ([(IF_MATCH, "\"other\""), (IF_MATCH, "\"xyzzy\"")], Verdict::Proceed),
        ] {
            assert_eq!(xyzzy().evaluate(&headers(&fields)), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_range_applies_to_what_the_client_has_a_part_of() {
        for (value, expected) in [
            ("\"xyzzy\"", true),
            ("W/\"xyzzy\"", false),
            ("\"other\"", false),
            (MODIFIED, true),
            (AFTER, false),
            (BEFORE, false),
            ("nonsense", false),
        ] {
            let headers = headers(&[(RANGE, "bytes=0-0"), (IF_RANGE, value)]);
            assert_eq!(xyzzy().range_applies(&headers), expected, "{value}");
        }
        assert!(xyzzy().range_applies(&headers(&[(RANGE, "bytes=0-0")])));
    }
}
