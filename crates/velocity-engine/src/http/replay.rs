//! Request bodies that are looked at before a handler gets them, within limits.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

use super::Body;

/// The beginning of a body.
pub struct Start {
    pub content: Bytes,
    /// What comes after it, `None` if it is all there is.
    pub rest: Option<Body>,
}

/// Read the first `max` bytes, and a little more if that is how they come.
pub async fn read(mut body: Body, max: usize) -> io::Result<Start> {
    let mut first = Bytes::new();
    let mut content = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        // One piece is not copied.
        if first.is_empty() && content.is_empty() {
            first = data;
        } else {
            content.extend_from_slice(&std::mem::take(&mut first));
            content.extend_from_slice(&data);
        }
        if first.len() + content.len() > max {
            let content = if content.is_empty() { first } else { content.freeze() };
            return Ok(Start {
                content,
                rest: Some(body),
            });
        }
    }
    let content = if content.is_empty() { first } else { content.freeze() };
    Ok(Start { content, rest: None })
}

/// Read a body to its end and keep nothing of it; false if it has more than `max` bytes.
pub async fn drain(mut body: Body, max: u64) -> io::Result<bool> {
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        seen += frame?.data_ref().map_or(0, |data| data.len() as u64);
        if seen > max {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Start {
    /// The body as if nobody had looked at it.
    pub fn into_body(self) -> Body {
        match self.rest {
            None => self.content.into(),
            Some(rest) => Body::stream(Replay {
                start: Some(self.content),
                rest,
            }),
        }
    }
}

struct Replay {
    start: Option<Bytes>,
    rest: Body,
}

impl http_body::Body for Replay {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.start.take() {
            Some(start) => Poll::Ready(Some(Ok(Frame::data(start)))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.start.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.size_hint();
        match (rest.exact(), &self.start) {
            (Some(rest), start) => SizeHint::with_exact(rest + start.as_ref().map_or(0, |start| start.len() as u64)),
            (None, _) => SizeHint::default(),
        }
    }
}

/// A body that fails, with [`io::ErrorKind::FileTooLarge`], when more than `left` bytes have come.
pub struct Limited {
    pub body: Body,
    pub left: u64,
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            match self
                .left
                .checked_sub(frame.data_ref().map_or(0, |data| data.len() as u64))
            {
                Some(left) => self.left = left,
                None => return Poll::Ready(Some(Err(io::ErrorKind::FileTooLarge.into()))),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    struct Pieces(VecDeque<&'static [u8]>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
            Poll::Ready(
                self.0
                    .pop_front()
                    .map(|piece| Ok(Frame::data(Bytes::from_static(piece)))),
            )
        }
    }

    fn body() -> Body {
        Body::stream(Pieces([&b"ab"[..], b"cd", b"ef"].into()))
    }

    async fn whole(body: Body) -> Bytes {
        body.collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn what_was_read_is_read_again() {
        for max in 0..8 {
            let start = read(body(), max).await.unwrap();
            assert_eq!(start.rest.is_none(), max >= 6, "{max}");
            assert!(start.content.len() <= max + 2, "{max}");
            assert_eq!(whole(start.into_body()).await, "abcdef", "{max}");
        }
        assert_eq!(whole(read(Body::Empty, 0).await.unwrap().into_body()).await, "");
    }

    #[tokio::test]
    async fn limits_hold() {
        let limited = |left| Body::stream(Limited { body: body(), left });
        assert_eq!(whole(limited(6)).await, "abcdef");
        let error = limited(5).collect().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(drain(body(), 6).await.unwrap() && !drain(body(), 5).await.unwrap());
    }
}
