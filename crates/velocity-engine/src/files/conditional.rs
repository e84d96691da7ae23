//! Validators and preconditions (RFC 9110 sections 8.8 and 13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::root::Identity;

/// The validators of one representation.
#[derive(Clone, Debug)]
pub struct Validators {
    /// Strong: it changes whenever a byte does, and differs between content codings.
    pub etag: HeaderValue,
    pub last_modified: HeaderValue,
    /// Whole seconds, as the field has them.
    modified: SystemTime,
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
        let seconds = identity
            .modified_time()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        // Never in the future (RFC 9110 section 8.8.2.1): a clock set back would freeze caches.
        let modified = (UNIX_EPOCH + Duration::from_secs(seconds)).min(SystemTime::now());
        let value = |text: String| HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self {
            etag: value(etag),
            last_modified: value(httpdate::fmt_http_date(modified)),
            modified,
        }
    }

    /// Evaluate the preconditions in the order of RFC 9110 section 13.2.2.
    pub fn evaluate(&self, headers: &HeaderMap) -> Verdict {
        if headers.contains_key(IF_MATCH) {
            if !self.listed(headers, IF_MATCH, false) {
                return Verdict::Failed;
            }
        } else if let Some(since) = date(headers, IF_UNMODIFIED_SINCE)
            && self.modified > since
        {
            return Verdict::Failed;
        }
        if headers.contains_key(IF_NONE_MATCH) {
            if self.listed(headers, IF_NONE_MATCH, true) {
                return Verdict::NotModified;
            }
        } else if let Some(since) = date(headers, IF_MODIFIED_SINCE)
            && self.modified <= since
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
            Some(value) => *value == self.last_modified,
        }
    }

    /// Whether our entity tag is in a list of them. `weak` compares opaque tags only.
    fn listed(&self, headers: &HeaderMap, name: HeaderName, weak: bool) -> bool {
        headers.get_all(name).iter().any(|value| {
            entity_tags(value.as_bytes()).any(|tag| match tag {
                b"*" => true,
                tag => match tag.strip_prefix(b"W/") {
                    Some(opaque) => weak && opaque == self.etag.as_bytes(),
                    None => tag == self.etag.as_bytes(),
                },
            })
        })
    }
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
