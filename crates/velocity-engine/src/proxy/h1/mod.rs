//! HTTP/1.1 to an upstream (RFC 9112), driven by whoever waits for the answer: no task of its own, no queue in between,
//! and no byte read before there is somebody to take it.
//!
//! [`Connection::send`] → [`Outgoing`] ⇄ [`Head::parse`] → [`Exchange`], whose body is framed by [`body::Framing`]

pub(crate) mod head;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode, response};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

use self::head::Head;
use super::failure::{Failure, Reached};
use crate::http::Body;
use crate::http::h1::READ;
use crate::http::h1::body::{self, Framing};
use crate::http::h1::outgoing::{Broken, Outgoing};
use crate::net::duplex::BoxDuplex;

/// What is read at once while a head is awaited: most answers of applications are shorter.
const FIRST_READ: usize = 4 * 1024;

/// What is read of a body at once for a client that has taken [`FLUENT`] bytes with no more than [`PAUSE`] in between: a batch of UDP packets.
const LARGE_READ: usize = 64 * 1024;
const FLUENT: usize = 8 << 20;
const PAUSE: Duration = Duration::from_millis(10);

/// A connection on which nothing is going on.
pub struct Connection {
    stream: BoxDuplex,
    /// Read, and not yet looked at.
    received: BytesMut,
    /// Whether it has carried a request: then the upstream may be about to close it.
    pub used: bool,
}

/// A request that was sent, perhaps not all of it, and whose answer has begun.
pub struct Exchange {
    connection: Connection,
    /// The rest of the request.
    sending: Option<Outgoing>,
    framing: Framing,
    /// Whether the connection is good for more.
    keep: bool,
    pace: Pace,
}

/// How fast a body is read.
#[derive(Default)]
struct Pace {
    last: Option<Instant>,
    /// Bytes without a pause.
    fluent: usize,
}

impl Pace {
    /// What to read at once.
    fn room(&self) -> usize {
        match self.fluent < FLUENT {
            true => READ,
            false => LARGE_READ,
        }
    }

    /// So much was read.
    fn read(&mut self, length: usize) {
        let now = Instant::now();
        let paused = self.last.replace(now).is_none_or(|last| now - last > PAUSE);
        self.fluent = if paused { 0 } else { self.fluent.saturating_add(length) };
    }
}

/// Why there is no answer, and the body of a request of which nothing was sent.
pub type Unanswered = (Failure, Option<Body>);

impl Connection {
    pub fn new(stream: BoxDuplex) -> Self {
        Self {
            stream,
            received: BytesMut::new(),
            used: false,
        }
    }

    /// Whether it can carry a request: it is open, and the upstream says nothing that nobody asked for.
    pub fn is_ready(&mut self) -> bool {
        let mut room = [0];
        let mut room = ReadBuf::new(&mut room);
        let cx = &mut Context::from_waker(Waker::noop());
        self.received.is_empty() && Pin::new(&mut self.stream).poll_read(cx, &mut room).is_pending()
    }

    /// Send a request and wait for the head of its answer. `informed` gets the heads of interim answers.
    pub async fn send(
        mut self,
        request: Request<Body>,
        mut informed: impl FnMut(response::Parts),
    ) -> Result<(response::Parts, Exchange), Unanswered> {
        self.used = true;
        self.received.reserve(FIRST_READ);
        let method = request.method().clone();
        let mut sending = Some(head::outgoing(request));
        let mut broken = None;
        loop {
            let read = poll_fn(|cx| {
                if let Some(Poll::Ready(sent)) = sending.as_mut().map(|sending| sending.poll(&mut self.stream, cx)) {
                    match sent {
                        Ok(()) => sending = None,
                        Err(Broken::Body(error)) => return Poll::Ready(Err(Broken::Body(error))),
                        Err(error) if sending.as_ref().is_some_and(Outgoing::is_untouched) => {
                            return Poll::Ready(Err(error));
                        }
                        // The upstream may have answered before it hung up.
                        Err(Broken::Stream(error)) => {
                            sending = None;
                            broken = Some(error);
                        }
                    }
                }
                poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.received).map_err(Broken::Stream)
            })
            .await;
            let failed = match read {
                Ok(0) if self.received.is_empty() => "the server closed the connection without an answer".to_owned(),
                Ok(0) => "the server closed the connection in the middle of a head".to_owned(),
                Ok(_) => match self.answered(&method, &mut informed) {
                    Ok(None) => continue,
                    Ok(Some((head, framing))) => {
                        let keep = head.keep && broken.is_none() && framing.is_known();
                        let exchange = Exchange {
                            connection: self,
                            sending,
                            framing,
                            keep,
                            pace: Pace::default(),
                        };
                        return Ok((head.parts, exchange));
                    }
                    Err(reason) => return Err((Failure::new(Reached::Perhaps, "protocol", reason), None)),
                },
                Err(Broken::Body(error)) => return Err((Failure::upload(error.kind()), None)),
                Err(Broken::Stream(error)) => error.to_string(),
            };
            let reason = broken.map_or(failed, |error| error.to_string());
            return Err(match sending.filter(Outgoing::is_untouched) {
                Some(sending) => (
                    Failure::new(Reached::Nobody, "reset", reason),
                    Some(sending.into_body()),
                ),
                None => (Failure::new(Reached::Perhaps, "reset", reason), None),
            });
        }
    }

    /// The head that ends the waiting, if all of it is here.
    fn answered(
        &mut self,
        method: &Method,
        informed: &mut impl FnMut(response::Parts),
    ) -> Result<Option<(Head, Framing)>, &'static str> {
        while let Some(head) = Head::parse(&mut self.received)? {
            match head.parts.status {
                StatusCode::SWITCHING_PROTOCOLS => return Ok(Some((head, Framing::Empty))),
                status if status.is_informational() => informed(head.parts),
                _ => {
                    let framing = head.framing(method)?;
                    return Ok(Some((head, framing)));
                }
            }
        }
        self.received.reserve(FIRST_READ);
        Ok(None)
    }
}

impl Exchange {
    /// The next part of the body.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(sending) = &mut self.sending
            && let Poll::Ready(sent) = sending.poll(&mut self.connection.stream, cx)
        {
            self.sending = None;
            // An upstream that has answered need not hear all of it.
            self.keep &= sent.is_ok();
        }
        loop {
            match self.framing.next(&mut self.connection.received) {
                Ok(body::Next::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(body::Next::End) => return Poll::Ready(None),
                Ok(body::Next::More(at_most)) => {
                    let room = at_most.min(self.pace.room());
                    if self.connection.received.capacity() - self.connection.received.len() < room {
                        self.connection.received.reserve(room);
                    }
                    let stream = Pin::new(&mut self.connection.stream);
                    let read = ready!(poll_read_buf(stream, cx, &mut self.connection.received))?;
                    self.pace.read(read);
                    if read == 0 && !self.framing.closed() {
                        let reason = "the server closed the connection in the middle of a body";
                        return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason))));
                    }
                }
                Err(reason) => return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, reason)))),
            }
        }
    }

    /// Whether nothing of the body is left.
    pub fn is_end(&self) -> bool {
        self.framing.is_end()
    }

    pub fn length(&self) -> SizeHint {
        self.framing.length()
    }

    /// The connection, if it can carry another request.
    pub fn into_connection(self) -> Option<Connection> {
        (self.keep && self.sending.is_none() && self.is_end() && self.connection.received.is_empty())
            .then_some(self.connection)
    }

    /// The stream, and what was read from it beyond the answer, once an answer has switched protocols.
    pub fn into_stream(self) -> (BoxDuplex, Bytes) {
        (self.connection.stream, self.connection.received.freeze())
    }
}

#[cfg(test)]
mod tests;
