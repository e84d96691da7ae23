//! A body as it comes over HTTP/2 (RFC 9113 section 8.1).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::{HeaderMap, request, response};
use http_body::{Frame, SizeHint};

use crate::http::declared_length;

pub struct Received {
    stream: RecvStream,
    /// Bytes that are still to come, if the message says how many. h2 sees to it that it says the truth.
    left: Option<u64>,
    /// All the data has come, and trailers may.
    data_ended: bool,
    /// Whether it is an answer.
    answer: bool,
}

impl Received {
    pub fn request(parts: &request::Parts, stream: RecvStream) -> Self {
        Self::new(&parts.headers, stream, false)
    }

    pub fn answer(parts: &response::Parts, stream: RecvStream) -> Self {
        Self::new(&parts.headers, stream, true)
    }

    fn new(fields: &HeaderMap, stream: RecvStream, answer: bool) -> Self {
        Self {
            stream,
            left: declared_length(fields),
            data_ended: false,
            answer,
        }
    }

    /// Whether a request with a length of 0 may have a body: until its stream ends (RFC 9113 section 8.1.1).
    pub fn is_in_doubt(&self) -> bool {
        self.left == Some(0) && !self.stream.is_end_stream()
    }

    /// Whether such a request ends without one.
    pub fn poll_ends_as_declared(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while !self.stream.is_end_stream() {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(_) => return Poll::Ready(false),
                None => return self.stream.poll_trailers(cx).map(|trailers| trailers.is_ok()),
            }
        }
        Poll::Ready(true)
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.data_ended {
            match ready!(self.stream.poll_data(cx)).transpose() {
                Ok(Some(data)) => {
                    // The other end may send as much again. This fails only where the stream is gone, which the next read tells.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(None) => self.data_ended = true,
                // A server that has answered and wants no more of the request (section 8.1). What came before the reset is
                // all, unless more was announced.
                Err(error) if self.answer && error.is_reset() && error.reason() == Some(Reason::NO_ERROR) => {
                    let cut = self.left.is_some_and(|left| left > 0);
                    return Poll::Ready(cut.then(|| Err(io::Error::other(error))));
                }
                Err(error) => return Poll::Ready(Some(Err(io::Error::other(error)))),
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx)).map_err(io::Error::other)?;
        Poll::Ready(trailers.map(|fields| Ok(Frame::trailers(fields))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
