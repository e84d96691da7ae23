//! Requests over `h3` and `velocity/1`.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::client::{RequestStream, SendRequest};
use h3::error::{ConnectionError, StreamError};
use http_body::Frame;

use super::transport::{self, Opener, RecvStream};
use crate::http::Body;

/// A client connection.
pub struct Connection {
    quic: quinn::Connection,
    sender: SendRequest<Opener, Bytes>,
}

impl Connection {
    pub async fn new(quic: quinn::Connection) -> Result<Self, ConnectionError> {
        let (transport, _) = transport::Connection::new(quic.clone(), 0);
        let (mut driver, sender) = h3::client::builder()
            .send_grease(false)
            .build::<_, _, Bytes>(transport)
            .await?;
        tokio::spawn(async move { poll_fn(|cx| driver.poll_close(cx)).await });
        Ok(Self { quic, sender })
    }

    pub async fn send(&mut self, request: http::Request<Body>) -> Result<http::Response<Body>, StreamError> {
        let (head, body) = request.into_parts();
        let (mut send, mut receive) = self
            .sender
            .send_request(http::Request::from_parts(head, ()))
            .await?
            .split();
        let mut body = pin!(body);
        while let Some(Ok(frame)) = poll_fn(|cx| http_body::Body::poll_frame(body.as_mut(), cx)).await {
            if let Ok(data) = frame.into_data() {
                send.send_data(data).await?;
            }
        }
        send.finish().await?;
        let response = receive.recv_response().await?;
        Ok(response.map(|()| Body::stream(Received(receive))))
    }

    pub fn close(&self) {
        self.quic.close(quinn::VarInt::from_u32(0x100), b""); // H3_NO_ERROR
    }
}

/// A response body from h3 as one of ours.
struct Received(RequestStream<RecvStream, Bytes>);

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match ready!(self.0.poll_recv_data(cx)) {
            Ok(Some(mut data)) => Some(Ok(Frame::data(data.copy_to_bytes(data.remaining())))),
            Ok(None) => None,
            Err(error) => Some(Err(io::Error::other(error))),
        })
    }
}
