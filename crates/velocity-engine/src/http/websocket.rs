//! WebSocket over HTTP/2 and HTTP/3: extended CONNECT (RFC 8441, RFC 9220), which for everything but the transport is the
//! GET that it would be over HTTP/1.1.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::Method;
use http::request::Parts;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, WriteHalf, duplex, split};
use velocity_h3::webtransport;

use super::Body;
use crate::app::webtransport::Session;
use crate::net::duplex::BoxDuplex;

/// Marks, among the extensions of a request, one that came by extended CONNECT, or is to go on by it; and among those of
/// a response, one that has opened the WebSocket, or the WebTransport session.
#[derive(Clone, Copy)]
pub struct ByConnect;

/// Take an extended CONNECT for a WebSocket to be a GET, and one for a WebTransport session where its connection has
/// room for that; everything else stays.
pub fn recognise(parts: &mut Parts) {
    let over_h2 = parts
        .extensions
        .get::<h2::ext::Protocol>()
        .map(h2::ext::Protocol::as_str);
    let over_h3 = parts
        .extensions
        .get::<velocity_h3::Protocol>()
        .map(velocity_h3::Protocol::as_str);
    let known = match over_h2.or(over_h3) {
        Some("websocket") => true,
        Some(webtransport::PROTOCOL) => parts.extensions.get::<Arc<Session>>().is_some(),
        _ => false,
    };
    if parts.method == Method::CONNECT && known {
        parts.method = Method::GET;
        parts.extensions.insert(ByConnect);
    }
}

/// What is read at once.
const CHUNK: usize = 16 * 1024;

/// What an upstream says, as the body of an answer; what comes as the body of the request goes to it.
pub fn join(mut body: Body, stream: BoxDuplex, received: Bytes) -> Body {
    let (read, mut write): (_, WriteHalf<BoxDuplex>) = split(stream);
    tokio::spawn(async move {
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data()
                && write.write_all(&data).await.is_err()
            {
                return;
            }
        }
        let _ = write.shutdown().await;
    });
    Body::stream(Said { received, read })
}

/// A WebSocket whose one direction is the body of a request, and the other that of its answer.
pub struct Bodies {
    said: DuplexStream,
    heard: Body,
    /// What was heard and not yet read.
    rest: Bytes,
}

impl Bodies {
    /// The body of the request; the rest is to be had when there is an answer.
    pub fn begin() -> (Body, impl FnOnce(Body) -> Self) {
        let (said, read) = duplex(CHUNK);
        let received = Bytes::new();
        let body = Body::stream(Said { received, read });
        let answered = |heard| Self {
            said,
            heard,
            rest: Bytes::new(),
        };
        (body, answered)
    }
}

impl AsyncRead for Bodies {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.heard).poll_frame(cx)) {
                Some(frame) => self.rest = frame?.into_data().unwrap_or_default(),
                None => return Poll::Ready(Ok(())),
            }
        }
        let len = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bodies {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.said).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.said).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.said).poll_shutdown(cx)
    }
}

/// What comes out of a stream, as a body.
struct Said<R> {
    received: Bytes,
    read: R,
}

impl<R: AsyncRead + Unpin> http_body::Body for Said<R> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.received.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.received)))));
        }
        let mut chunk = [std::mem::MaybeUninit::uninit(); CHUNK];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut self.read).poll_read(cx, &mut chunk))?;
        Poll::Ready(match chunk.filled() {
            [] => None,
            said => Some(Ok(Frame::data(BytesMut::from(said).freeze()))),
        })
    }
}
