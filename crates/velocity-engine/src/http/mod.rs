//! HTTP as handlers see it: one request, one response, one body, whatever carried them.

pub mod body;
pub mod cookie;
pub mod h1;
pub mod h2;
pub mod h3;
pub mod prepared;
pub mod replay;
pub mod tcp;
pub mod websocket;
pub mod well_known;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method};

pub use body::Body;
pub use prepared::Prepared;

/// Add fields to others, those of the same name as well.
pub fn add_fields(fields: &mut HeaderMap, more: HeaderMap) {
    let mut last = None;
    for (name, value) in more {
        last = name.or(last);
        if let Some(name) = &last {
            fields.append(name, value);
        }
    }
}

/// How long a body is by its own account, in bytes.
pub fn declared_length(fields: &HeaderMap) -> Option<u64> {
    fields.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// RFC 9110 section 8.6: methods that mean something by a body say that there is none.
pub fn says_that_it_is_empty(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// A request over any protocol. `version()` tells which; `extensions()` holds the [`Peer`](crate::session::Peer).
pub type Request = http::Request<Body>;
/// A response over any protocol.
pub type Response = http::Response<Body>;
