//! A message body on its way in: filled by the connection, emptied by whoever reads the body.
//!
//! The connection stops reading the stream when enough is waiting here, so that QUIC's flow control
//! (RFC 9000 section 4) holds the peer back; the reader wakes it when there is room again.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

/// How much may wait before the stream is left alone, in bytes.
const HIGH: usize = 256 * 1024;
/// How little may be left before the connection reads on.
const LOW: usize = 64 * 1024;

/// The connection's end.
pub struct Inbox(Arc<Mutex<State>>);

struct State {
    chunks: VecDeque<Bytes>,
    waiting: usize,
    end: Option<End>,
    /// The reader, when it found nothing.
    reader: Option<Waker>,
    /// The slot of the connection.
    connection: Waker,
    /// The connection found the inbox full, and waits.
    full: bool,
    /// Nobody reads any more.
    abandoned: bool,
}

enum End {
    Complete(Option<HeaderMap>),
    Broken(&'static str),
    Taken,
}

impl Inbox {
    /// Both ends of a new body. `connection` is woken when it should read on, or when nobody reads any more.
    pub fn new(connection: Waker) -> (Self, Incoming) {
        let state = Arc::new(Mutex::new(State {
            chunks: VecDeque::new(),
            waiting: 0,
            end: None,
            reader: None,
            connection,
            full: false,
            abandoned: false,
        }));
        (Self(state.clone()), Incoming(state))
    }

    pub fn push(&self, data: Bytes) {
        let mut state = lock(&self.0);
        if !state.abandoned {
            state.waiting += data.len();
            state.chunks.push_back(data);
        }
        wake(state);
    }

    /// The message is complete.
    pub fn end(&self, trailers: Option<HeaderMap>) {
        self.finish(End::Complete(trailers));
    }

    /// The message will not be complete.
    pub fn fail(&self, reason: &'static str) {
        self.finish(End::Broken(reason));
    }

    fn finish(&self, end: End) {
        let mut state = lock(&self.0);
        if state.end.is_none() {
            state.end = Some(end);
        }
        wake(state);
    }

    /// Whether the connection should read on. If not, it is woken when it should.
    pub fn has_room(&self) -> bool {
        let mut state = lock(&self.0);
        state.full = state.waiting >= HIGH;
        !state.full && !state.abandoned
    }

    /// Whether the reader is gone.
    pub fn is_abandoned(&self) -> bool {
        lock(&self.0).abandoned
    }
}

/// A connection that goes away takes the rest of the body with it.
impl Drop for Inbox {
    fn drop(&mut self) {
        self.fail("the connection was lost");
    }
}

/// The reader's end: a body.
pub struct Incoming(Arc<Mutex<State>>);

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut state = lock(&self.0);
        if let Some(data) = state.chunks.pop_front() {
            state.waiting -= data.len();
            if state.full && state.waiting < LOW {
                state.full = false;
                let connection = state.connection.clone();
                drop(state);
                connection.wake();
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match state.end.replace(End::Taken) {
            Some(End::Complete(trailers)) => Poll::Ready(trailers.map(|fields| Ok(Frame::trailers(fields)))),
            Some(End::Broken(reason)) => Poll::Ready(Some(Err(io::Error::other(reason)))),
            Some(End::Taken) => Poll::Ready(None),
            None => {
                state.end = None;
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = lock(&self.0);
        state.chunks.is_empty() && matches!(state.end, Some(End::Complete(None) | End::Taken))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.abandoned = true;
        state.chunks = VecDeque::new();
        if state.end.is_none() {
            let connection = state.connection.clone();
            drop(state);
            connection.wake();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wake the reader, without holding the lock.
fn wake(mut state: MutexGuard<'_, State>) {
    let reader = state.reader.take();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}
