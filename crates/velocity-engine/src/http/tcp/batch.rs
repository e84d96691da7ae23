//! TLS records filled to the brim, and few system calls: what HTTP/2 writes while it is polled once leaves at once.
//!
//! h2 writes and flushes each DATA frame by itself. With the usual frame of 9 + 16384 bytes that is a full TLS record
//! (RFC 8446 section 5.1), another one for the nine bytes that are left, and a system call. Here the bytes that do not
//! fill a record wait for the next frame, records wait in rustls, and a flush says yes and does nothing. The one who
//! polls HTTP/2 must call [`Batch::poll_finish`] afterwards: that is the flush.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

/// What a TLS record can hold.
const RECORD: usize = 16 * 1024;

/// Bytes beyond the last full record that are copied rather than sent in a record of their own.
const SCRAP: usize = 2 * 1024;

/// Slices that are written at once. h2 gives two.
const SLICES: usize = 8;

/// A TLS stream that holds back what is written to it, up to a limit.
pub struct Batch<T> {
    stream: Box<TlsStream<T>>,
    /// Bytes written here since the last flush, those in `scrap` included.
    held: usize,
    /// At this much a write waits for the socket. At least a record.
    limit: usize,
    /// Less than a record, not yet encrypted.
    scrap: Vec<u8>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Batch<T> {
    pub fn new(mut stream: Box<TlsStream<T>>, limit: usize) -> Mutex<Self> {
        // `held` is the limit. rustls must take what it is given, or records would be cut short.
        stream.get_mut().1.set_buffer_limit(None);
        Mutex::new(Self {
            stream,
            held: 0,
            limit,
            scrap: Vec::new(),
        })
    }

    /// Write to the socket whatever is held.
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.scrap.is_empty() {
            let scrap = std::mem::take(&mut self.scrap);
            self.stream.get_mut().1.writer().write_all(&scrap)?;
        }
        if self.held > 0 {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.held = 0;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.held >= self.limit {
            ready!(self.poll_finish(cx))?;
        }
        let slices = &slices[..slices.len().min(SLICES)];
        let len = slices.iter().map(|slice| slice.len()).sum::<usize>().min(self.limit);
        let total = self.scrap.len() + len;
        self.held += len;
        if total < RECORD {
            slices.iter().for_each(|slice| self.scrap.extend_from_slice(slice));
            return Poll::Ready(Ok(len));
        }
        let mut kept = match total % RECORD {
            rest @ ..=SCRAP => rest,
            _ => 0,
        };
        let mut direct = len - kept;
        let mut scrap = Vec::with_capacity(kept);
        let mut records = [IoSlice::new(&[]); SLICES + 1];
        records[0] = IoSlice::new(&self.scrap);
        for (slice, record) in slices.iter().zip(&mut records[1..]) {
            let (now, later) = slice.split_at(slice.len().min(direct));
            let later = &later[..later.len().min(kept)];
            direct -= now.len();
            kept -= later.len();
            *record = IoSlice::new(now);
            scrap.extend_from_slice(later);
        }
        if self.stream.get_mut().1.writer().write_vectored(&records)? != total - scrap.len() {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.scrap = scrap;
        Poll::Ready(Ok(len))
    }
}

/// A [`Batch`] as h2 sees it.
pub struct Handle<'a, T>(pub &'a Mutex<Batch<T>>);

impl<T> Handle<'_, T> {
    fn batch(&self) -> MutexGuard<'_, Batch<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Handle<'_, T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.batch().stream).poll_read(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Handle<'_, T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.batch().poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.batch().poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut batch = self.batch();
        ready!(batch.poll_finish(cx))?;
        Pin::new(&mut batch.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
