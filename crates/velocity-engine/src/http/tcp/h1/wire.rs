//! The two directions of a connection, as the one who serves it and the body of the present request share them.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::http::h1::READ;
use crate::http::h1::body::{Framing, Next};

/// What is read at first, onto the stack: most heads are shorter, and a connection that waits holds nothing.
pub const FIRST_READ: usize = 2048;

/// RFC 9110 section 15.2.1.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A connection, which ends with this, whoever still has the body of a request. Nobody waits with the lock.
pub struct Wire<S>(Arc<Mutex<Halves<S>>>);

pub struct Halves<S> {
    /// `None` when it is over.
    stream: Option<S>,
    /// Read, and not yet looked at.
    pub received: BytesMut,
    /// How the body of the present request goes on.
    framing: Framing,
    /// Which request that is.
    number: u64,
    /// Whether the client waits for 100 (Continue).
    waits: bool,
    /// What is left of an interim answer.
    interim: &'static [u8],
    /// Whether what came cannot be understood.
    broken: bool,
    /// Who wants to know when the body has been read.
    watching: Option<Waker>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Halves {
            stream: Some(stream),
            received: BytesMut::new(),
            framing: Framing::Empty,
            number: 0,
            waits: false,
            interim: b"",
            broken: false,
            watching: None,
        })))
    }

    pub fn lock(&self) -> MutexGuard<'_, Halves<S>> {
        lock(&self.0)
    }

    /// The body of the request that begins.
    pub fn receive(&self, framing: Framing, waits: bool) -> Received<S> {
        let mut halves = self.lock();
        halves.number += 1;
        halves.framing = framing;
        halves.waits = waits;
        Received {
            halves: self.0.clone(),
            number: halves.number,
        }
    }

    /// The stream, and what was read of it beyond the last request.
    pub fn take_stream(&self) -> Option<(S, Bytes)> {
        let mut halves = self.lock();
        let received = std::mem::take(&mut halves.received).freeze();
        Some((halves.stream.take()?, received))
    }
}

impl<S> Drop for Wire<S> {
    fn drop(&mut self) {
        let stream = lock(&self.0).stream.take();
        drop(stream);
    }
}

fn lock<S>(halves: &Mutex<Halves<S>>) -> MutexGuard<'_, Halves<S>> {
    halves.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Halves<S> {
    fn stream(&mut self) -> io::Result<Pin<&mut S>> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        Ok(Pin::new(stream))
    }

    /// Read what comes next of a head, or of whatever there is: how much that was.
    pub fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [MaybeUninit::uninit(); FIRST_READ];
        let mut room = ReadBuf::uninit(&mut room);
        ready!(self.stream()?.poll_read(cx, &mut room))?;
        self.received.extend_from_slice(room.filled());
        Poll::Ready(Ok(room.filled().len()))
    }

    /// Ready when the client has left. That is not to be seen while there is something that nobody has read.
    pub fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !self.received.is_empty() || self.broken {
            return Poll::Pending;
        }
        if !self.framing.is_end() {
            self.watching = Some(cx.waker().clone());
            return Poll::Pending;
        }
        match ready!(self.poll_more(cx)) {
            Ok(0) => Poll::Ready(io::Error::new(io::ErrorKind::UnexpectedEof, "the client has left")),
            Ok(_) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        }
    }

    /// Nobody is told to send a body any more; whether somebody waits for that.
    pub fn answered(&mut self) -> bool {
        std::mem::take(&mut self.waits)
    }

    /// What of the body has come is all there will be.
    pub fn is_received(&self) -> bool {
        self.framing.is_end() && !self.broken
    }

    /// Whoever still has the body of the present request has no use for it any more.
    pub fn end(&mut self) {
        self.number += 1;
        self.watching = None;
        self.framing = Framing::Empty;
        if self.received.is_empty() {
            // An idle connection holds no buffer.
            self.received = BytesMut::new();
        }
    }

    /// The next part of the body of the present request.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if std::mem::take(&mut self.waits) && self.received.is_empty() {
            self.interim = CONTINUE;
        }
        if let Poll::Ready(Err(error)) = self.poll_interim(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            let next = match self.broken {
                false => self.framing.next(&mut self.received),
                true => Err("the body of the request ended before it should"),
            };
            match next {
                Ok(Next::Frame(frame)) => {
                    if self.framing.is_end() {
                        self.watching.take().into_iter().for_each(Waker::wake);
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Ok(Next::End) => {
                    self.watching.take().into_iter().for_each(Waker::wake);
                    return Poll::Ready(None);
                }
                Ok(Next::More(at_most)) => {
                    let room = at_most.min(READ);
                    if self.received.capacity() - self.received.len() < room {
                        self.received.reserve(room);
                    }
                    let read = match &mut self.stream {
                        Some(stream) => ready!(poll_read_buf(Pin::new(stream), cx, &mut self.received)),
                        None => Ok(0),
                    };
                    if !matches!(read, Ok(1..)) {
                        self.broken = true;
                        let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "the client has left");
                        return Poll::Ready(Some(Err(read.err().unwrap_or_else(ended))));
                    }
                }
                Err(reason) => {
                    self.broken = true;
                    return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, reason))));
                }
            }
        }
    }

    /// Write what is left of an interim answer.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            let interim = self.interim;
            let written = ready!(self.stream()?.poll_write(cx, interim))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim = &self.interim[written..];
            if self.interim.is_empty() {
                return self.stream()?.poll_flush(cx);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Writing, for as long as each time takes.
impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for &Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut halves = self.lock();
        ready!(halves.poll_interim(cx))?;
        halves.stream()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut halves = self.lock();
        ready!(halves.poll_interim(cx))?;
        halves.stream()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().stream()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().stream()?.poll_shutdown(cx)
    }
}

/// The body of a request, read from the connection by whoever wants it and when they want it.
pub struct Received<S> {
    halves: Arc<Mutex<Halves<S>>>,
    number: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> http_body::Body for Received<S> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut halves = lock(&self.halves);
        match halves.number == self.number {
            true => halves.poll_body(cx),
            false => Poll::Ready(Some(Err(io::Error::other("the request is over")))),
        }
    }

    fn is_end_stream(&self) -> bool {
        let halves = lock(&self.halves);
        halves.number == self.number && halves.is_received()
    }

    fn size_hint(&self) -> SizeHint {
        let halves = lock(&self.halves);
        match halves.number == self.number {
            true => halves.framing.length(),
            false => SizeHint::default(),
        }
    }
}
