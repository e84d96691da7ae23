//! Answers that are compressed on the way out: those in memory as a whole, those that stream [as they go by](passing).
//! Files have their own (see [`files`](crate::files)).

mod passing;

use std::sync::Arc;

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::sync::Semaphore;

use self::passing::Passing;
use crate::error::{Error, Result};
use crate::files::coding::{self, Accepted, Coding};
use crate::http::{Body, Response};
use crate::plan;

/// What is coded where it stands; more goes to another thread.
const IN_PLACE: usize = 16 * 1024;
/// Streams that are coded at once; each holds the memory of an encoder, about a megabyte. Further ones are sent as they
/// are.
const MAX_PASSING: usize = 64;

/// What says of the bytes of an answer what they are (RFC 9530), and would be wrong.
const DIGESTS: [HeaderName; 3] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
];

pub struct Compress {
    codings: Vec<Coding>,
    min: u64,
    passing: Arc<Semaphore>,
}

impl Compress {
    /// # Errors
    ///
    /// `CODING_UNKNOWN`.
    pub fn new(plan: &plan::Compress) -> Result<Self> {
        let coding = |name: &String| {
            Coding::ALL
                .into_iter()
                .find(|coding| coding.token() == name)
                .ok_or_else(|| {
                    Error::config("CODING_UNKNOWN", format!("{name:?} is not a content coding"))
                        .hint("there are br, zstd and gzip")
                })
        };
        Ok(Self {
            codings: plan.codings.iter().map(coding).collect::<Result<_>>()?,
            min: plan.min_bytes,
            passing: Arc::new(Semaphore::new(MAX_PASSING)),
        })
    }

    pub async fn respond(&self, request: &Parts, response: &mut Response) {
        let streams = match response.body() {
            Body::Memory(_) => false,
            // HEAD and what has no body have nothing to pass.
            Body::Stream(body) => !http_body::Body::is_end_stream(body) && request.method != Method::HEAD,
            Body::Empty | Body::Prepared(_) | Body::File(_) => return,
        };
        let long = response.body().len().is_none_or(|len| len >= self.min);
        if !long || !may_be_coded(response.status(), response.headers()) {
            return;
        }
        vary(response.headers_mut());
        let accepted = Accepted::of(&request.headers);
        let Some(coding) = self.choose(accepted) else { return };
        let coded = match std::mem::take(response.body_mut()) {
            Body::Memory(content) => whole(coding, content).await,
            body if streams => self.passing(coding, body),
            body => Err(body),
        };
        match coded {
            Ok(body) => {
                announce(coding, body.len(), response.headers_mut());
                *response.body_mut() = body;
            }
            // What cannot be coded is sent as it is.
            Err(body) => *response.body_mut() = body,
        }
    }

    fn passing(&self, coding: Coding, body: Body) -> std::result::Result<Body, Body> {
        let Ok(permit) = self.passing.clone().try_acquire_owned() else {
            return Err(body);
        };
        match Passing::new(coding, body, permit) {
            Ok(passing) => Ok(Body::stream(passing)),
            Err((body, _)) => Err(body),
        }
    }

    /// What the client likes best of what we make; of what it likes equally, [`Coding::ALL`] says which.
    fn choose(&self, accepted: Accepted) -> Option<Coding> {
        accepted.iter().find(|coding| self.codings.contains(coding))
    }
}

/// Whether an answer is a whole of its own, gets smaller, and may be changed.
fn may_be_coded(status: StatusCode, fields: &HeaderMap) -> bool {
    let no_transform = fields.get_all(CACHE_CONTROL).iter().any(|value| {
        value
            .as_bytes()
            .windows(12)
            .any(|w| w.eq_ignore_ascii_case(b"no-transform"))
    });
    !no_transform
        && !status.is_informational()
        && !matches!(
            status,
            StatusCode::PARTIAL_CONTENT | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        )
        && !fields.contains_key(CONTENT_ENCODING)
        && !fields.contains_key(CONTENT_RANGE)
        && !DIGESTS.iter().any(|name| fields.contains_key(name))
        && fields.get(CONTENT_TYPE).is_some_and(shrinks)
}

fn shrinks(content_type: &HeaderValue) -> bool {
    let kind = content_type.to_str().ok().and_then(|text| text.parse().ok());
    kind.is_some_and(|kind: mime_guess::Mime| {
        // gRPC compresses by itself, message by message.
        !kind.essence_str().starts_with("application/grpc") && coding::compresses(&kind)
    })
}

fn vary(fields: &mut HeaderMap) {
    let mut named = fields
        .get_all(VARY)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    if !named.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"accept-encoding")) {
        fields.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

async fn whole(coding: Coding, content: bytes::Bytes) -> std::result::Result<Body, Body> {
    let coded = match content.len() <= IN_PLACE {
        true => coding::encode(coding, &content),
        false => {
            let content = content.clone();
            tokio::task::spawn_blocking(move || coding::encode(coding, &content))
                .await
                .unwrap_or_else(|e| Err(std::io::Error::other(e)))
        }
    };
    coded.map(Body::from).map_err(|_| content.into())
}

/// What the fields say of an answer that is coded now.
fn announce(coding: Coding, len: Option<u64>, fields: &mut HeaderMap) {
    fields.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
    match len {
        Some(len) => fields.insert(CONTENT_LENGTH, HeaderValue::from(len)),
        None => fields.remove(CONTENT_LENGTH),
    };
    // Of the coded form there are no parts to be had.
    fields.remove(ACCEPT_RANGES);
    // RFC 9110 section 8.8.1: the same content, and not the same bytes.
    let weak = match fields.get(ETAG) {
        Some(tag) if !tag.as_bytes().starts_with(b"W/") => Some([b"W/", tag.as_bytes()].concat()),
        _ => None,
    };
    if let Some(weak) = weak.and_then(|tag| HeaderValue::from_maybe_shared(bytes::Bytes::from(tag)).ok()) {
        fields.insert(ETAG, weak);
    }
}
