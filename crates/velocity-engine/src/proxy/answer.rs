//! The body of an upstream's answer on its way to the client, which reads it as fast as it can take it and no faster.
//!
//! A body that breaks off is an error, not an end: the client's transport resets the stream, or closes the connection,
//! so that nobody takes a part for the whole (RFC 9112 section 8, RFC 9114 section 4.1.2).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::failure::{Failure, Reached};
use super::h1;
use super::pool::{self, Key};
use super::upload::Activity;
use super::upstream::{Busy, Upstream};
use crate::http::replay::Limited;
use crate::http::{Body, Response, declared_length};

/// Bodies of up to this size are not streamed if they have come with their head.
const SHORT: u64 = 64 * 1024;

/// An answer whose body must not be larger than `limit` bytes. One that turns out to be breaks off.
pub fn limited(response: Response, limit: u64) -> Result<Response, Failure> {
    let length = match response.body().is_end_stream() {
        true => Some(0), // whatever it says: HEAD, 304
        false => response.body().len().or_else(|| declared_length(response.headers())),
    };
    match length {
        Some(length) if length > limit => Err(Failure {
            counted: true,
            hint: "max_response permits more".to_owned(),
            ..Failure::new(
                Reached::Perhaps,
                "size",
                format!("an answer of {length} bytes, beyond {limit}"),
            )
        }),
        Some(_) => Ok(response),
        None => Ok(response.map(|body| Body::stream(Limited { body, left: limit }))),
    }
}

/// An HTTP/1.1 answer, and the connection that brings it.
pub struct Single {
    /// `None` when it is over.
    pub exchange: Option<h1::Exchange>,
    pub key: Key,
    pub upstream: Arc<Upstream>,
}

impl Single {
    /// The body, as short as it is.
    pub fn into_body(mut self, idle: Duration, under_way: UnderWay) -> Body {
        let exact = self.length().exact();
        if exact == Some(0) {
            under_way.busy.ended();
            self.release();
            return Body::Empty;
        }
        // What came with the head needs no stream.
        let mut first = None;
        if exact.is_some_and(|length| length <= SHORT)
            && let Poll::Ready(frame) = self.poll_frame(&mut Context::from_waker(std::task::Waker::noop()))
        {
            first = frame;
        }
        match first.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) if Some(data.len() as u64) == exact => {
                under_way.busy.ended();
                data.into()
            }
            Some(Ok(Ok(data))) => Body::stream(Idle::new(self, Some(Ok(data)), idle, under_way)),
            Some(Err(error)) => Body::stream(Idle::new(self, Some(Err(error)), idle, under_way)),
            // There are no trailers after a length.
            Some(Ok(Err(_))) | None => Body::stream(Idle::new(self, None, idle, under_way)),
        }
    }

    /// The answer is over: the connection may have another one.
    fn release(&mut self) {
        if let Some(connection) = self.exchange.take().and_then(h1::Exchange::into_connection) {
            pool::put_single(&self.key, &self.upstream, connection);
        }
    }
}

/// What is read chunk by chunk, from whatever protocol.
pub trait Chunks {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>>;
    fn is_end(&self) -> bool;
    fn length(&self) -> SizeHint;
}

impl Chunks for Single {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(exchange) = &mut self.exchange else {
            return Poll::Ready(None);
        };
        let frame = ready!(exchange.poll_frame(cx));
        match &frame {
            Some(Err(_)) => self.exchange = None,
            _ if exchange.is_end() => self.release(),
            _ => {}
        }
        Poll::Ready(frame)
    }

    fn is_end(&self) -> bool {
        self.exchange.as_ref().is_none_or(h1::Exchange::is_end)
    }

    fn length(&self) -> SizeHint {
        match &self.exchange {
            Some(exchange) => exchange.length(),
            None => SizeHint::with_exact(0),
        }
    }
}

/// An answer that came over a connection with others.
pub struct Multiplexed {
    pub body: Body,
    /// Its place on the connection, for as long as it takes one.
    pub _place: Arc<()>,
}

impl Chunks for Multiplexed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end(&self) -> bool {
        self.body.is_end_stream()
    }

    fn length(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Multiplexed {
    pub fn into_body(self, idle: Duration, under_way: UnderWay) -> Body {
        if self.body.is_end_stream() {
            under_way.busy.ended();
            return Body::Empty;
        }
        Body::stream(Idle::new(self, None, idle, under_way))
    }
}

/// A request whose answer has begun.
pub struct UnderWay {
    pub busy: Busy,
    /// The rest of it, which may still be on its way.
    pub upload: Activity,
}

impl UnderWay {
    /// The answer broke off: whoever's fault that was.
    fn broke_off(&self, error: &io::Error) {
        let waited = error.kind() == io::ErrorKind::TimedOut && self.upload.waits();
        if self.upload.broken().is_none() && !waited {
            self.busy.broke_off(&error.to_string());
        }
    }
}

/// A body that fails when nothing comes for too long.
pub struct Idle<T> {
    chunks: T,
    first: Option<io::Result<Bytes>>,
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    under_way: UnderWay,
    /// Whether it is known how it ended.
    settled: bool,
}

impl<T: Chunks> Idle<T> {
    pub fn new(chunks: T, first: Option<io::Result<Bytes>>, limit: Duration, under_way: UnderWay) -> Self {
        Self {
            chunks,
            first,
            limit,
            sleep: None,
            under_way,
            settled: false,
        }
    }

    /// What comes next says how the upstream does.
    fn settle(&mut self, frame: Option<Result<(), &io::Error>>) {
        match frame {
            _ if self.settled => return,
            Some(Err(error)) => self.under_way.broke_off(error),
            Some(Ok(())) if !self.chunks.is_end() => return,
            Some(Ok(())) | None => self.under_way.busy.ended(),
        }
        self.settled = true;
    }
}

impl<T: Chunks + Unpin> http_body::Body for Idle<T> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            this.settle(Some(first.as_ref().map(|_| ())));
            return Poll::Ready(Some(first.map(Frame::data)));
        }
        match this.chunks.poll_frame(cx) {
            Poll::Ready(frame) => {
                // Nobody waits for as long as the client is the slow one.
                this.sleep = None;
                this.settle(frame.as_ref().map(|frame| frame.as_ref().map(|_| ())));
                Poll::Ready(frame)
            }
            Poll::Pending => {
                let limit = this.limit;
                let sleep = this
                    .sleep
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
                ready!(sleep.as_mut().poll(cx));
                let reason = "the upstream sent nothing more in time";
                let error = io::Error::new(io::ErrorKind::TimedOut, reason);
                this.settle(Some(Err(&error)));
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.chunks.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.chunks.length();
        match (rest.exact(), &self.first) {
            (Some(rest), Some(Ok(first))) => SizeHint::with_exact(rest + first.len() as u64),
            _ => rest,
        }
    }
}
