//! A message on its way out (RFC 9112 sections 6 and 7.1).

use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body as _;
use tokio::io::AsyncWrite;

use super::fields;
use crate::http::Body;

pub struct Outgoing {
    /// Text that comes before the data: the head, and how long a chunk is.
    text: BytesMut,
    data: Bytes,
    /// What comes after the data: the end of a chunk, and of the body.
    tail: &'static [u8],
    body: Body,
    ends: Ends,
    /// Whether the connection took anything.
    touched: bool,
    /// Bytes of the body that were taken up.
    taken: u64,
}

/// Why the rest of a message is not sent.
pub enum Broken {
    /// There is no more of it.
    Body(io::Error),
    /// Nobody takes it.
    Stream(io::Error),
}

/// How the other end knows where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// After so many more bytes.
    Length(u64),
    /// With a last chunk, and trailers if they are wanted.
    Chunked { trailers: bool },
    /// With the connection.
    Close,
    /// It has ended.
    Now,
}

impl Outgoing {
    /// A message with this head, the empty line included.
    pub fn new(head: BytesMut, body: Body, ends: Ends) -> Self {
        Self {
            text: head,
            data: Bytes::new(),
            tail: b"",
            body,
            ends,
            touched: false,
            taken: 0,
        }
    }

    /// Let the first part of the body leave together with the head if it is there by now.
    pub fn begin(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        match self.ends {
            Ends::Now => Ok(()),
            _ => match self.next(cx) {
                Poll::Ready(next) => next.map_err(Broken::Body),
                Poll::Pending => Ok(()),
            },
        }
    }

    /// Whether the message could go to somebody else as it is.
    pub fn is_untouched(&self) -> bool {
        !self.touched
    }

    /// The body of a message that is untouched.
    pub fn into_body(self) -> Body {
        match self.data.is_empty() {
            true => self.body,
            false => self.data.into(),
        }
    }

    /// Bytes of the body that the connection took.
    pub fn sent(&self) -> u64 {
        self.taken - self.data.len() as u64
    }

    /// Write what can be written; ready when all is.
    pub fn poll<W>(&mut self, stream: &mut W, cx: &mut Context<'_>) -> Poll<Result<(), Broken>>
    where
        W: AsyncWrite + Unpin,
    {
        loop {
            // A body that is in memory leaves together with its head.
            if self.data.is_empty() && matches!(self.body, Body::Memory(_)) {
                ready!(self.next(cx)).map_err(Broken::Body)?;
            }
            while !self.text.is_empty() || !self.data.is_empty() || !self.tail.is_empty() {
                let slices = [&*self.text, &*self.data, self.tail].map(IoSlice::new);
                let written = match self.data.is_empty() && self.tail.is_empty() {
                    true => ready!(Pin::new(&mut *stream).poll_write(cx, &self.text)),
                    false => ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices)),
                };
                let written = written.map_err(Broken::Stream)?;
                if written == 0 {
                    return Poll::Ready(Err(Broken::Stream(io::ErrorKind::WriteZero.into())));
                }
                self.touched = true;
                self.wrote(written);
            }
            // Of a body no more is taken while somebody slow has not taken what there is.
            ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(Broken::Stream)?;
            if self.ends == Ends::Now {
                return Poll::Ready(Ok(()));
            }
            ready!(self.next(cx)).map_err(Broken::Body)?;
        }
    }

    /// Take the next part of the body.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
        let Some(frame) = frame else {
            match self.ends {
                Ends::Length(_) => return Poll::Ready(Err(io::Error::other("the body is shorter than it says"))),
                Ends::Chunked { .. } => self.text.extend_from_slice(b"0\r\n\r\n"),
                Ends::Close | Ends::Now => {}
            }
            self.ends = Ends::Now;
            return Poll::Ready(Ok(()));
        };
        match (frame.into_data(), &mut self.ends) {
            (Ok(data), Ends::Length(left)) => {
                let Some(rest) = left.checked_sub(data.len() as u64) else {
                    return Poll::Ready(Err(io::Error::other("the body is longer than it says")));
                };
                *left = rest;
                if rest == 0 {
                    self.ends = Ends::Now;
                }
                self.take(data);
            }
            // An empty chunk would be the last one.
            (Ok(data), Ends::Chunked { .. }) if !data.is_empty() => {
                let _ = write!(self.text, "{:x}\r\n", data.len());
                self.take(data);
                self.tail = b"\r\n";
                if self.body.is_end_stream() {
                    self.tail = b"\r\n0\r\n\r\n";
                    self.ends = Ends::Now;
                }
            }
            (Ok(data), Ends::Close) => self.take(data),
            (Err(frame), Ends::Chunked { trailers: true }) => {
                if let Ok(trailers) = frame.into_trailers() {
                    self.end_with(&trailers);
                }
            }
            _ => {}
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, data: Bytes) {
        self.taken += data.len() as u64;
        self.data = data;
    }

    fn end_with(&mut self, trailers: &HeaderMap) {
        self.text.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.iter().filter(|(name, _)| fields::may_come_last(name)) {
            fields::write(name.as_str(), value.as_bytes(), &mut self.text);
        }
        self.text.extend_from_slice(b"\r\n");
        self.ends = Ends::Now;
    }

    /// So many bytes of text, data and tail are gone.
    fn wrote(&mut self, mut count: usize) {
        for part in [&mut self.text as &mut dyn Buf, &mut self.data, &mut self.tail] {
            let gone = count.min(part.remaining());
            part.advance(gone);
            count -= gone;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const PART: usize = 16 * 1024;

    /// A body without end.
    struct Endless;

    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
            Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(&[b'x'; PART])))))
        }
    }

    #[tokio::test]
    async fn of_a_body_that_nobody_takes_one_part_waits() {
        let (_client, mut server) = duplex(4 * PART);
        let mut outgoing = Outgoing::new(
            BytesMut::new(),
            Body::stream(Endless),
            Ends::Chunked { trailers: false },
        );
        let polled = std::future::poll_fn(|cx| Poll::Ready(outgoing.poll(&mut server, cx).is_pending())).await;
        assert!(polled);
        assert!(outgoing.taken <= 5 * PART as u64, "{}", outgoing.taken);
        assert!(outgoing.sent() < outgoing.taken);
    }
}
