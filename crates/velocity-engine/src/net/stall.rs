//! A stream whose reader must keep reading: a write that makes no progress for too long is an error.
//!
//! Without it, a client could ask for a large file, close its window, and hold a connection and its
//! buffers for ever. The timer exists only while a write is blocked. [`Progress`] tells others when
//! bytes last moved.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// When bytes last moved on a stream, in either direction.
#[derive(Debug)]
pub struct Progress {
    opened: Instant,
    /// Milliseconds after `opened`.
    last: AtomicU64,
    /// When something came, in the same way.
    heard: AtomicU64,
    blocked: AtomicBool,
}

impl Progress {
    fn moved(&self) -> u64 {
        let now = self.opened.elapsed().as_millis() as u64;
        self.last.store(now, Ordering::Relaxed);
        now
    }

    /// Whether bytes wait for the peer to read.
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    pub fn last(&self) -> Instant {
        self.opened + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    /// When bytes last came.
    pub fn heard(&self) -> Instant {
        self.opened + Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }
}

pub struct Stall<T> {
    inner: T,
    limit: Duration,
    blocked: Option<Pin<Box<Sleep>>>,
    progress: Arc<Progress>,
}

impl<T> Stall<T> {
    pub fn new(inner: T, limit: Duration) -> Self {
        let progress = Progress {
            opened: Instant::now(),
            last: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
        };
        Self {
            inner,
            limit,
            blocked: None,
            progress: Arc::new(progress),
        }
    }

    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// Pass on what a write came to; start, keep or end the timer.
    fn watch<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        self.progress.blocked.store(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() {
            self.blocked = None;
            self.progress.moved();
            return written;
        }
        let limit = self.limit;
        let blocked = self.blocked.get_or_insert_with(|| Box::pin(sleep(limit)));
        blocked
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped reading")))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Stall<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if read.is_ready() {
            let now = self.progress.moved();
            self.progress.heard.store(now, Ordering::Relaxed);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Stall<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stops_is_an_error_and_a_slow_one_is_not() {
        let (mut client, server) = duplex(16);
        let mut server = Stall::new(server, Duration::from_secs(60));
        let writer = tokio::spawn(async move { server.write_all(&[0; 64]).await });
        let mut part = [0; 16];
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(50)).await;
            client.read_exact(&mut part).await.unwrap();
        }
        let error = writer.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
