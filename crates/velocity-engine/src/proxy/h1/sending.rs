//! A request on its way out (RFC 9112 sections 6 and 7.1).

use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST,
    MAX_FORWARDS, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, Method, Request};
use http_body::Body as _;
use tokio::io::AsyncWrite;

use super::head;
use crate::http::Body;
use crate::net::duplex::BoxDuplex;

/// Room for the head of most requests.
const HEAD: usize = 1024;

pub struct Sending {
    /// Text that comes before the data: the head, and how long a chunk is.
    text: BytesMut,
    data: Bytes,
    /// What comes after the data: the end of a chunk.
    tail: &'static [u8],
    body: Body,
    ends: Ends,
    /// Whether the connection took anything.
    touched: bool,
}

/// Why the rest of a request is not sent.
pub enum Broken {
    /// There is no more of it.
    Body(io::Error),
    /// Nobody takes it.
    Stream(io::Error),
}

/// How the upstream knows where the body ends.
enum Ends {
    /// After so many more bytes.
    Length(u64),
    Chunked,
    /// It has ended.
    Now,
}

impl Sending {
    pub fn new(mut request: Request<Body>) -> Self {
        let mut text = BytesMut::with_capacity(HEAD);
        head::write(&request, &mut text);
        let body = std::mem::take(request.body_mut());
        let declared = request
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        // RFC 9110 section 8.6: methods that mean something by a body say that there is none.
        let expected = matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
        let length = body.len().or(declared);
        match length {
            None => head::field("transfer-encoding", b"chunked", &mut text),
            Some(0) if !expected && declared.is_none() => {}
            Some(length) => {
                text.extend_from_slice(b"content-length: ");
                let _ = write!(text, "{length}\r\n");
            }
        }
        text.extend_from_slice(b"\r\n");
        Self {
            text,
            data: Bytes::new(),
            tail: b"",
            body,
            ends: match length {
                None => Ends::Chunked,
                Some(0) => Ends::Now,
                Some(length) => Ends::Length(length),
            },
            touched: false,
        }
    }

    /// Whether the request could go to somebody else as it is.
    pub fn is_untouched(&self) -> bool {
        !self.touched
    }

    /// The body of a request that is untouched.
    pub fn into_body(self) -> Body {
        match self.data.is_empty() {
            true => self.body,
            false => self.data.into(),
        }
    }

    /// Write what can be written; ready when all is.
    pub fn poll(&mut self, stream: &mut BoxDuplex, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
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
            if matches!(self.ends, Ends::Now) {
                return Pin::new(stream).poll_flush(cx).map_err(Broken::Stream);
            }
            match self.next(cx) {
                Poll::Ready(next) => next.map_err(Broken::Body)?,
                Poll::Pending => {
                    // What there is must not wait for what there is not.
                    ready!(Pin::new(stream).poll_flush(cx)).map_err(Broken::Stream)?;
                    return Poll::Pending;
                }
            }
        }
    }

    /// Take the next part of the body.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
        let Some(frame) = frame else {
            match self.ends {
                Ends::Length(_) => return Poll::Ready(Err(io::Error::other("the body is shorter than it says"))),
                Ends::Chunked => self.text.extend_from_slice(b"0\r\n\r\n"),
                Ends::Now => {}
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
                self.data = data;
                if rest == 0 {
                    self.ends = Ends::Now;
                }
            }
            // An empty chunk would be the last one.
            (Ok(data), Ends::Chunked) if !data.is_empty() => {
                let _ = write!(self.text, "{:x}\r\n", data.len());
                self.data = data;
                self.tail = b"\r\n";
            }
            (Err(frame), Ends::Chunked) => {
                if let Ok(trailers) = frame.into_trailers() {
                    self.end_with(&trailers);
                }
            }
            _ => {}
        }
        Poll::Ready(Ok(()))
    }

    fn end_with(&mut self, trailers: &HeaderMap) {
        self.text.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.iter().filter(|(name, _)| may_come_last(name)) {
            head::field(name.as_str(), value.as_bytes(), &mut self.text);
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

/// RFC 9110 section 6.5.1: what frames a message, routes it, or says how to read it, comes first or not at all.
fn may_come_last(name: &HeaderName) -> bool {
    let first = [
        AUTHORIZATION,
        CACHE_CONTROL,
        CONNECTION,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        HOST,
        MAX_FORWARDS,
        SET_COOKIE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    !first.contains(name)
}
