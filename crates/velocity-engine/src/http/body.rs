//! The one body type: memory, a slice of a file, or a stream of chunks.
//!
//! Memory use is bounded by construction: a file is read one chunk at a time and only when the
//! transport asks, and a stream is polled only when the transport asks.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use rustix::io::ReadWriteFlags;
use tokio::task::JoinHandle;

use super::Prepared;

/// What a transport reads from a file at once. Large enough to fill a GSO batch and several TLS
/// records, small enough for a thousand downloads.
pub const FILE_CHUNK: usize = 64 * 1024;

/// Buffers that a thread keeps for the next reads: what one connection at full speed has on its way.
const RECYCLED: usize = 64;

/// A boxed stream of chunks: request bodies, compressed files, upstream answers.
pub type BoxBody = Pin<Box<dyn http_body::Body<Data = Bytes, Error = io::Error> + Send>>;

/// The body of a request or a response.
#[derive(Default)]
pub enum Body {
    #[default]
    Empty,
    Memory(Bytes),
    /// With a head that the transport knows how to write; the response has no fields of its own.
    Prepared(Arc<Prepared>),
    File(FileSlice),
    Stream(BoxBody),
}

impl Body {
    /// A body that another type produces.
    pub fn stream<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = io::Error> + Send + 'static,
    {
        Body::Stream(Box::pin(body))
    }

    /// `len` bytes of `file` from `offset`.
    pub fn file(file: Arc<File>, offset: u64, len: u64) -> Self {
        if len == 0 {
            Body::Empty
        } else {
            Body::File(FileSlice {
                file,
                offset,
                left: len,
                pending: None,
            })
        }
    }

    /// Exact length where it is known before the body is read.
    pub fn len(&self) -> Option<u64> {
        match self {
            Body::Empty => Some(0),
            Body::Memory(bytes) => Some(bytes.len() as u64),
            Body::Prepared(answer) => Some(answer.content().len() as u64),
            Body::File(slice) => Some(slice.left),
            Body::Stream(body) => body.size_hint().exact(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            Body::Empty
        } else {
            Body::Memory(bytes)
        }
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Body::Empty => Poll::Ready(None),
            Body::Memory(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Body::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Body::Prepared(answer) => {
                *self = answer.content().clone().into();
                self.poll_frame(cx)
            }
            Body::File(slice) => match ready!(slice.poll_chunk(cx)) {
                Some(chunk) => Poll::Ready(Some(chunk.map(Frame::data))),
                None => Poll::Ready(None),
            },
            Body::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Memory(bytes) => bytes.is_empty(),
            Body::Prepared(answer) => answer.content().is_empty(),
            Body::File(slice) => slice.left == 0,
            Body::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.len() {
            Some(len) => SizeHint::with_exact(len),
            None => SizeHint::default(),
        }
    }
}

/// A part of an open file, read chunk by chunk.
pub struct FileSlice {
    file: Arc<File>,
    offset: u64,
    left: u64,
    pending: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileSlice {
    /// The next chunk, `None` at the end. What the page cache holds is read in place, without a
    /// thread; only a read that would wait for the disk goes to the blocking pool.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let result = match &mut self.pending {
            None => {
                let want = self.left.min(FILE_CHUNK as u64) as usize;
                match read_cached(&self.file, self.offset, want) {
                    Some(result) => result,
                    None => {
                        let (file, offset) = (self.file.clone(), self.offset);
                        let task = tokio::task::spawn_blocking(move || read_blocking(&file, offset, want));
                        return match Pin::new(self.pending.insert(task)).poll(cx) {
                            Poll::Pending => Poll::Pending,
                            Poll::Ready(joined) => self.joined(joined),
                        };
                    }
                }
            }
            Some(task) => {
                let joined = ready!(Pin::new(task).poll(cx));
                return self.joined(joined);
            }
        };
        Poll::Ready(Some(self.account(result)))
    }

    fn joined(&mut self, joined: Result<io::Result<Bytes>, tokio::task::JoinError>) -> Poll<Option<io::Result<Bytes>>> {
        self.pending = None;
        let result = joined.unwrap_or_else(|e| Err(io::Error::other(e)));
        Poll::Ready(Some(self.account(result)))
    }

    /// A file that shrank while it was sent must break the response, not end it early in silence.
    fn account(&mut self, result: io::Result<Bytes>) -> io::Result<Bytes> {
        match result {
            Ok(chunk) if chunk.is_empty() => {
                self.left = 0;
                Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the file shrank while it was sent",
                ))
            }
            Ok(chunk) => {
                self.offset += chunk.len() as u64;
                self.left -= chunk.len() as u64;
                Ok(chunk)
            }
            Err(e) => {
                self.left = 0;
                Err(e)
            }
        }
    }
}

/// Read what the page cache holds, `None` when the read would block or the flag is unknown here.
fn read_cached(file: &File, offset: u64, want: usize) -> Option<io::Result<Bytes>> {
    let mut buffer = recycled();
    let read = rustix::io::preadv2(
        file.as_fd(),
        &mut [io::IoSliceMut::new(&mut buffer[..want])],
        offset,
        ReadWriteFlags::NOWAIT,
    );
    let chunk = recycle(buffer);
    match read {
        Ok(n) => Some(Ok(chunk.slice(..n))),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => None,
        Err(e) => Some(Err(e.into())),
    }
}

thread_local! {
    /// Buffers that were used before. One is free when nobody has a part of it any more.
    static BUFFERS: RefCell<VecDeque<Bytes>> = const { RefCell::new(VecDeque::new()) };
}

/// A buffer of [`FILE_CHUNK`] bytes with anything in it: one that is in the cache, if one is free.
fn recycled() -> BytesMut {
    let oldest = BUFFERS.with_borrow_mut(|buffers| match buffers.front() {
        Some(buffer) if buffer.is_unique() => buffers.pop_front(),
        _ => None,
    });
    oldest
        .and_then(|buffer| buffer.try_into_mut().ok())
        .unwrap_or_else(|| BytesMut::zeroed(FILE_CHUNK))
}

/// What is in a buffer. The buffer comes back when its reader is done, unless there are enough.
fn recycle(buffer: BytesMut) -> Bytes {
    let chunk = buffer.freeze();
    BUFFERS.with_borrow_mut(|buffers| {
        if buffers.len() == RECYCLED {
            // A reader that is slow must not keep the others from theirs.
            buffers.pop_front();
        }
        buffers.push_back(chunk.clone());
    });
    chunk
}

fn read_blocking(file: &File, offset: u64, want: usize) -> io::Result<Bytes> {
    use std::os::unix::fs::FileExt;
    let mut buffer = BytesMut::zeroed(want);
    let n = file.read_at(&mut buffer, offset)?;
    buffer.truncate(n);
    Ok(buffer.freeze())
}
