//! Requests that want another protocol on their connection, which is WebSocket and no other (RFC 9110 section 7.8,
//! RFC 6455, RFC 8441, RFC 9220).

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Method, Request, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::Proxy;
use super::connect::Shared;
use super::failure::{Failure, Reached, UNSUPPORTED};
use super::upload::{Activity, Upload};
use crate::call::Call;
use crate::http::h1::fields::any_has;
use crate::http::websocket::{self, Bodies, ByConnect};
use crate::http::{Body, Response};
use crate::net::duplex::BoxDuplex;

/// An answer over HTTP/1.1 has switched protocols (RFC 9110 section 7.8): the stream to the upstream, and what was read of it.
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
    let nominated = any_has(fields, &CONNECTION, b"upgrade");
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

/// What shows a client over HTTP/1.1 that its key was read (RFC 6455 section 4.2.2); `None` if it is no key. One that
/// came by extended CONNECT needs none.
pub fn accept(call: &Call<'_>) -> Option<HeaderValue> {
    if call.parts.extensions.get::<ByConnect>().is_some() {
        return Some(HeaderValue::from_static(""));
    }
    let key = call.parts.headers.get(SEC_WEBSOCKET_KEY)?.as_bytes();
    BASE64.decode(key).ok().filter(|bytes| bytes.len() == 16)?;
    HeaderValue::try_from(derive_accept_key(key)).ok()
}

impl Proxy {
    /// Open a WebSocket by extended CONNECT, on a connection with other streams (RFC 8441 section 4, RFC 9220 section 3).
    /// If that worked, the answer has status 101 as over HTTP/1.1. `None` if the upstream has none to offer.
    pub(super) async fn open(
        &self,
        shared: &Shared,
        place: &Arc<()>,
        mut request: Request<Body>,
    ) -> Result<Option<(Response, Activity)>, Failure> {
        *request.method_mut() = Method::CONNECT;
        // RFC 8441 section 5: both are of no use here.
        for name in [SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_ACCEPT] {
            request.headers_mut().remove(name);
        }
        // As far as time is concerned, the request has no body.
        let (mut request, activity) = Upload::watch(request);
        let (said, answered) = Bodies::begin();
        *request.body_mut() = said;
        request.extensions_mut().insert(ByConnect);
        let answer = pin!(shared.send(request, |_| {}));
        let mut response = match self.within(&activity, answer).await? {
            Ok(response) => response,
            Err((failure, _)) if failure.kind == UNSUPPORTED => return Ok(None),
            Err((failure, _)) => return Err(failure),
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(switched_unasked());
        }
        if response.status().is_success() {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let heard = std::mem::take(response.body_mut());
            let stream = Box::new(Placed {
                stream: answered(heard),
                _place: place.clone(),
            });
            response.extensions_mut().insert(Switched::new(stream, Bytes::new()));
        }
        Ok(Some((response, activity)))
    }
}

/// A stream, and its place on the connection for as long as it takes one.
struct Placed {
    stream: Bodies,
    _place: Arc<()>,
}

impl AsyncRead for Placed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// RFC 6455 section 4.1: 16 bytes at random.
pub fn nonce() -> HeaderValue {
    let mut bytes = [0; 16];
    // What it guards against, caches that know nothing of WebSocket, does not depend on its being unguessable.
    let _ = getrandom::fill(&mut bytes);
    HeaderValue::try_from(BASE64.encode(bytes)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The answer to an extended CONNECT when the upstream has switched (RFC 8441 section 5): 200, and then the WebSocket.
pub fn opened(mut response: Response, spoken: Body) -> Response {
    *response.status_mut() = StatusCode::OK;
    for name in [UPGRADE, CONNECTION, SEC_WEBSOCKET_ACCEPT] {
        response.headers_mut().remove(name);
    }
    response.extensions_mut().insert(ByConnect);
    // Over HTTP/1.1 the transport gives up its stream; here it is the two bodies.
    if let Some(switched) = response.extensions_mut().remove::<Switched>()
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
