//! WebSocket over HTTP/2 and HTTP/3: extended CONNECT (RFC 8441, RFC 9220), which for everything but the transport is the
//! GET that it would be over HTTP/1.1.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::Method;
use http::request::Parts;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf, split};

use super::Body;
use crate::net::duplex::BoxDuplex;

/// Marks, among the extensions of a request, one that came by extended CONNECT; and among those of a response, one that
/// has opened the WebSocket.
#[derive(Clone, Copy)]
pub struct ByConnect;

/// Take an extended CONNECT for a WebSocket to be a GET; everything else stays.
pub fn recognise(parts: &mut Parts) {
    let over_h2 = parts
        .extensions
        .get::<hyper::ext::Protocol>()
        .map(hyper::ext::Protocol::as_str);
    let over_h3 = parts
        .extensions
        .get::<velocity_h3::Protocol>()
        .map(velocity_h3::Protocol::as_str);
    if parts.method == Method::CONNECT && over_h2.or(over_h3) == Some("websocket") {
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

struct Said {
    received: Bytes,
    read: ReadHalf<BoxDuplex>,
}

impl http_body::Body for Said {
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
