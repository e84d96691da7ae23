//! Requests that want another protocol on their connection, which is WebSocket and no other (RFC 9110 section 7.8,
//! RFC 6455, RFC 8441, RFC 9220).

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderValue, Method, StatusCode, Version};

use super::failure::{Failure, Reached};
use crate::call::Call;
use crate::http::websocket::{self, ByConnect};
use crate::http::{Body, Response};
use crate::net::duplex::BoxDuplex;

/// An answer has switched protocols (RFC 9110 section 7.8): the stream to the upstream, and what was read of it.
#[derive(Clone)]
pub struct Switched(Arc<Mutex<Option<(BoxDuplex, Bytes)>>>);

impl Switched {
    pub fn new(stream: BoxDuplex, received: Bytes) -> Self {
        Self(Arc::new(Mutex::new(Some((stream, received)))))
    }

    /// The stream, for the first who asks.
    pub fn take(&self) -> Option<(BoxDuplex, Bytes)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What a request over HTTP/1.1 wants to switch to, if it says so as RFC 9110 section 7.8 has it.
pub fn upgrade_of(call: &Call<'_>) -> Option<HeaderValue> {
    let fields = &call.parts.headers;
    let nominated = fields
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|name| name.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    let asked = call.parts.version == Version::HTTP_11 && call.parts.method == Method::GET && nominated;
    if call.parts.extensions.get::<ByConnect>().is_some() {
        return Some(HeaderValue::from_static("websocket"));
    }
    // h2c would take the connection out of our hands (RFC 9113 removed it), anything else is the application's.
    fields
        .get(UPGRADE)
        .filter(|protocol| asked && protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
        .cloned()
}

/// RFC 6455 section 4.1: 16 bytes at random.
pub fn nonce() -> HeaderValue {
    let mut bytes = [0; 16];
    // What it guards against, caches that know nothing of WebSocket, does not depend on its being unguessable.
    let _ = getrandom::fill(&mut bytes);
    HeaderValue::try_from(BASE64.encode(bytes)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The answer to an extended CONNECT when the upstream has switched (RFC 8441 section 5): 200, and then the WebSocket.
pub fn opened(call: &Call<'_>, mut response: Response, spoken: Body) -> Response {
    *response.status_mut() = StatusCode::OK;
    for name in [UPGRADE, CONNECTION, SEC_WEBSOCKET_ACCEPT] {
        response.headers_mut().remove(name);
    }
    response.extensions_mut().insert(ByConnect);
    // hyper has a stream to join with; with HTTP/3 it is the two bodies.
    if call.parts.version == Version::HTTP_3
        && let Some(switched) = response.extensions_mut().remove::<Switched>()
        && let Some((stream, received)) = switched.take()
    {
        *response.body_mut() = websocket::join(spoken, stream, received);
    }
    response
}

pub fn switched_unasked() -> Failure {
    Failure::new(
        Reached::Perhaps,
        "protocol",
        "it switched protocols, which nobody had asked for",
    )
}
