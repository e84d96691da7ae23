//! How large a request may be (RFC 9110 section 15.5.14), whether it says so or not.

use http::StatusCode;
use http::header::CONTENT_LENGTH;
use http::request::Parts;

use crate::http::replay::{Limited, drain};
use crate::http::{Body, Response};
use crate::plan;
use crate::service::plain;

pub struct RequestSize {
    max: u64,
}

impl RequestSize {
    pub fn new(plan: &plan::RequestSize) -> Self {
        Self { max: plan.max_bytes }
    }

    pub fn request(&self, parts: &Parts) -> Option<Response> {
        let length = parts.headers.get(CONTENT_LENGTH)?;
        let length: u64 = length.to_str().ok()?.trim().parse().ok()?;
        (length > self.max).then(too_large)
    }

    /// Watch a body of unknown length. One that nobody reads is read here, so that it is not cut off in silence.
    pub async fn body(&self, body: &mut Body, read: bool) -> Option<Response> {
        if body.len().is_some_and(|length| length <= self.max) {
            return None;
        }
        if read {
            *body = Body::stream(Limited {
                body: std::mem::take(body),
                left: self.max,
            });
            return None;
        }
        match drain(std::mem::take(body), self.max).await {
            Ok(true) => None,
            Ok(false) => Some(too_large()),
            Err(_) => Some(plain(StatusCode::BAD_REQUEST, "the request ended early\n")),
        }
    }
}

pub fn too_large() -> Response {
    plain(StatusCode::PAYLOAD_TOO_LARGE, "this request is too large\n")
}
