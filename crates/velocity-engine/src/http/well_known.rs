//! `/.well-known/velocity` (docs/spec/velocity-1.md section 6.4): what a host speaks, and where its fallback is,
//! as JSON, for clients that come over anything else.

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use serde_json::json;
use velocity_tls::ServerTls;
use velocity_tls::fallback::Reason;

use super::{Body, Response};
use crate::service::plain;

pub const PATH: &str = "/.well-known/velocity";

/// The document for one host; `downgrade` is why the client that asks has no `velocity/1`.
pub fn respond(method: &Method, tls: &ServerTls, host: &str, downgrade: Option<Reason>) -> Response {
    if *method != Method::GET && *method != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD are all there is\n");
    }
    let profiles: Vec<&str> = tls
        .profiles(Some(host))
        .into_iter()
        .map(|profile| profile.as_str())
        .collect();
    // The directive's members without its reason, which is about a connection and not about the host.
    let directive = tls.directive(downgrade.unwrap_or(Reason::PolicyDisabled));
    let document = json!({
        "velocity/1": !profiles.is_empty(),
        "profiles": profiles,
        "fallback": {"alpn": directive.alpn, "host": directive.host, "port": directive.port},
        "reason": downgrade.map(Reason::as_str),
    });
    let body = format!("{document}\n");
    let length = body.len();
    let mut response = Response::new(Body::from(bytes::Bytes::from(body)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
