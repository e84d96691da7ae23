//! Taking answers out before their time: by unsafe requests (RFC 9111 section 4.4), and by PURGE.
//!
//! `PURGE /path` takes out what is stored for exactly that URI, in all its variants; `PURGE /path*` everything that
//! begins like that. Who may do so is configured, and nobody else: a purge never goes on to an upstream.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method, StatusCode, Uri};

use super::{Cached, key};
use crate::call::Call;
use crate::http::{Body, Response};
use crate::log::{self, Level};
use crate::service::plain;

impl Cached {
    /// What a request that changes something has made invalid.
    pub(super) fn invalidate(&self, call: &Call<'_>, response: &Response) {
        let status = response.status();
        let safe = matches!(call.parts.method, Method::OPTIONS | Method::TRACE);
        if safe || !(status.is_success() || status.is_redirection()) {
            return;
        }
        if let Some(target) = key::target(call) {
            self.cache.store.invalidate(&target);
        }
        // Of the same origin only: nobody else's answers are theirs to take out.
        for name in [LOCATION, CONTENT_LOCATION] {
            let said = response.headers().get(name).and_then(|value| value.to_str().ok());
            if let Some(target) = said.and_then(|text| same_origin(call, text)) {
                self.cache.store.invalidate(&target);
            }
        }
    }

    /// Answer a PURGE.
    pub(super) fn purge(&self, call: &Call<'_>) -> Response {
        if !self.cache.purge_from.contains(call.client) {
            return plain(StatusCode::FORBIDDEN, "you may not purge\n");
        }
        let path = call.parts.uri.path_and_query().map_or("", |path| path.as_str());
        let (path, begins) = match path.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (path, false),
        };
        let Some(target) = key::at(call.authority, path) else {
            return plain(StatusCode::BAD_REQUEST, "this cannot be purged\n");
        };
        let purged = match begins {
            true => self.cache.store.invalidate_prefix(&target),
            false => self.cache.store.invalidate(&target),
        };
        let fields = [
            ("route", call.route.as_ref().into()),
            ("client", call.client.to_string().into()),
            ("target", (&*target).into()),
            ("prefix", begins.to_string().into()),
            ("purged", (purged as u64).into()),
        ];
        log::record(Level::Info, "velocity::proxy", "cache_purged", "", &fields);
        let body = Bytes::from(format!("{{\"purged\":{purged}}}\n"));
        let length = HeaderValue::from(body.len());
        let mut response = Response::new(Body::from(body));
        let head = response.headers_mut();
        head.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        head.insert(CONTENT_LENGTH, length);
        response
    }
}

/// The target of a reference in an answer, if it is at the same origin.
fn same_origin(call: &Call<'_>, reference: &str) -> Option<Box<str>> {
    if reference.starts_with('/') && !reference.starts_with("//") {
        let path = reference.split('#').next().unwrap_or_default();
        return key::at(call.authority, path);
    }
    let uri: Uri = reference.parse().ok()?;
    let authority = uri.authority()?.as_str();
    let ours = uri.scheme_str() == Some("https") && authority.eq_ignore_ascii_case(call.authority);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    ours.then(|| key::at(authority, path)).flatten()
}
