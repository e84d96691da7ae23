//! What comes back: a head, and a body that is read piece by piece by whoever wants it, and no faster.
//!
//! An answer that is dropped before its end resets its stream, or, over HTTP/1.1, closes its connection.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version, response};
use http_body::{Body as _, Frame};
use velocity_tls::fallback::Directive;

use super::carrier::{About, Shared, Single};
use super::upload::within;
use crate::error::{Error, Result};
use crate::http::Body;

pub struct Answer {
    pub head: Arc<Head>,
    /// Once the body has ended.
    pub trailers: HeaderMap,
    body: Incoming,
    /// What was read before anybody asked for it.
    gathered: VecDeque<Bytes>,
    /// Why there is no more.
    failed: Option<Error>,
    patience: Option<Duration>,
}

/// What comes before a body, and what brings it.
pub struct Head {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub version: Version,
    pub about: Arc<About>,
    /// Whether the connection has carried another request before.
    pub reused: bool,
    source: Weak<Shared>,
}

impl Head {
    /// What the server said on its control stream about there being no `velocity/1`.
    pub fn directive(&self) -> Option<Directive> {
        self.source.upgrade()?.directive()
    }
}

/// A body on its way in, and what has to be kept for it.
pub(super) enum Incoming {
    /// It is over.
    Nothing,
    Single(Box<Single>),
    Many(Body, Arc<Shared>),
}

impl Answer {
    pub(super) fn new(head: response::Parts, about: Arc<About>, reused: bool, body: Incoming) -> Self {
        let source = match &body {
            Incoming::Many(_, shared) => Arc::downgrade(shared),
            Incoming::Nothing | Incoming::Single(_) => Weak::new(),
        };
        let head = Head {
            status: head.status,
            headers: head.headers,
            version: head.version,
            about,
            reused,
            source,
        };
        let mut answer = Self {
            head: Arc::new(head),
            trailers: HeaderMap::new(),
            body,
            gathered: VecDeque::new(),
            failed: None,
            patience: None,
        };
        answer.settle();
        answer
    }

    /// How long nothing may come before that is an error.
    pub(super) fn patience(&mut self, patience: Option<Duration>) {
        self.patience = patience;
    }

    /// Whether nothing has to be waited for any more.
    pub fn is_here(&self) -> bool {
        matches!(self.body, Incoming::Nothing)
    }

    /// Read ahead, up to so many bytes. What goes wrong is for whoever reads them.
    pub async fn gather(&mut self, limit: usize) {
        let mut size = 0;
        while size < limit
            && let Ok(Some(piece)) = self.next().await
        {
            size += piece.len();
            self.gathered.push_back(piece);
        }
    }

    /// The next piece, if it need not be waited for; `Ok(None)` is the end.
    pub fn at_once(&mut self) -> Option<Result<Option<Bytes>>> {
        if let Some(piece) = self.gathered.pop_front() {
            return Some(Ok(Some(piece)));
        }
        if let Some(error) = &self.failed {
            return Some(Err(error.clone()));
        }
        self.is_here().then_some(Ok(None))
    }

    /// The next piece; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        match self.at_once() {
            Some(piece) => piece,
            None => self.next().await,
        }
    }

    /// What is left, in pieces.
    ///
    /// # Errors
    ///
    /// `BODY_TOO_LARGE` for more than `limit` bytes, and what [`Answer::chunk`] says.
    pub async fn rest(&mut self, limit: Option<usize>) -> Result<Vec<Bytes>> {
        let mut pieces = Vec::new();
        let mut size = 0;
        while let Some(piece) = self.chunk().await? {
            size += piece.len();
            if limit.is_some_and(|limit| size > limit) {
                self.close();
                let message = format!("the body is larger than {} bytes", limit.unwrap_or_default());
                return Err(Error::request("BODY_TOO_LARGE", message).hint("read it in pieces"));
            }
            pieces.push(piece);
        }
        Ok(pieces)
    }

    /// Want no more of it.
    pub fn close(&mut self) {
        if !self.is_here() || !self.gathered.is_empty() {
            let closed = Error::request("REQUEST_FAILED", "the answer was closed before its end");
            self.failed.get_or_insert(closed);
        }
        self.body = Incoming::Nothing;
        self.gathered.clear();
    }

    fn fail<T>(&mut self, error: Error) -> Result<T> {
        self.body = Incoming::Nothing;
        self.failed = Some(error.clone());
        Err(error)
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let body = &mut self.body;
            let Some(frame) = within(self.patience, poll_fn(|cx| body.poll_frame(cx))).await else {
                return self.fail(read_timeout(self.patience));
            };
            match frame {
                None => {
                    self.body.take().release();
                    return Ok(None);
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
                        self.settle();
                        return Ok(Some(data));
                    }
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            self.trailers = trailers;
                        }
                    }
                },
                Some(Err(error)) => return self.fail(broken(&error)),
            }
        }
    }

    /// Let go of the connection as soon as nothing more comes.
    fn settle(&mut self) {
        if self.body.is_end() {
            self.body.take().release();
        }
    }
}

impl Incoming {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self {
            Incoming::Nothing => Poll::Ready(None),
            Incoming::Single(single) => single.exchange.poll_frame(cx),
            Incoming::Many(body, _) => std::pin::Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end(&self) -> bool {
        match self {
            Incoming::Nothing => true,
            Incoming::Single(single) => single.exchange.is_end(),
            Incoming::Many(body, _) => body.is_end_stream(),
        }
    }

    fn take(&mut self) -> Self {
        std::mem::replace(self, Incoming::Nothing)
    }

    fn release(self) {
        if let Incoming::Single(single) = self {
            single.release();
        }
    }
}

fn broken(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData => Error::request("PROTOCOL_ERROR", format!("the body breaks off: {error}")),
        _ => Error::request("BODY_TRUNCATED", format!("the body ended early: {error}"))
            .hint("try again; what has come is not all there is"),
    }
}

pub(super) fn read_timeout(patience: Option<Duration>) -> Error {
    let seconds = patience.unwrap_or_default().as_secs_f64();
    Error::request(
        "READ_TIMEOUT",
        format!("nothing came from the server for {seconds} seconds"),
    )
    .hint("a longer read timeout waits longer")
}
