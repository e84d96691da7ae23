//! The body of a request: there at once, or written piece by piece by somebody who waits when the server takes no more.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::http::Body;

/// What is handed to the transport at once of a body that is in memory, so that its progress can be seen.
const PIECE: usize = 64 * 1024;
/// Pieces that may wait for the transport.
const WAITING: usize = 4;

/// How far a body has come on its way.
#[derive(Default)]
pub struct Progress {
    pieces: AtomicU64,
    /// Nobody will add to it.
    complete: AtomicBool,
    /// The transport has all of it, or wants no more.
    sent: AtomicBool,
    trailers: Mutex<Option<HeaderMap>>,
}

impl Progress {
    pub fn pieces(&self) -> u64 {
        self.pieces.load(Relaxed)
    }

    pub fn is_complete(&self) -> bool {
        self.complete.load(Relaxed)
    }

    pub fn is_sent(&self) -> bool {
        self.sent.load(Relaxed)
    }
}

/// A body that is in memory, and how far it has come; `None` where it leaves at once.
pub fn whole(content: Bytes) -> (Body, Option<Arc<Progress>>) {
    if content.len() <= PIECE {
        return (content.into(), None);
    }
    let progress = Arc::new(Progress::default());
    progress.complete.store(true, Relaxed);
    let pieces = Pieces {
        content,
        progress: progress.clone(),
    };
    (Body::stream(pieces), Some(progress))
}

struct Pieces {
    content: Bytes,
    progress: Arc<Progress>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.content.is_empty() {
            return Poll::Ready(None);
        }
        self.progress.pieces.fetch_add(1, Relaxed);
        let length = self.content.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.content.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.content.len() as u64)
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.progress.sent.store(true, Relaxed);
    }
}

/// Both ends of a body that is written piece by piece.
pub fn channel(length: Option<u64>) -> (Writer, Body, Arc<Progress>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let progress = Arc::new(Progress::default());
    let writer = Writer {
        sender: Mutex::new(Some(sender)),
        progress: progress.clone(),
    };
    let written = Written {
        receiver,
        left: length,
        progress: progress.clone(),
    };
    (writer, Body::stream(written), progress)
}

/// The end of whoever writes. One that is dropped before [`Writer::finish`] takes the request back.
pub struct Writer {
    sender: Mutex<Option<mpsc::Sender<Bytes>>>,
    progress: Arc<Progress>,
}

impl Writer {
    /// Hand a piece over, as soon as there is room. False if nobody wants it.
    ///
    /// # Errors
    ///
    /// `WRITE_TIMEOUT`.
    pub async fn write(&self, piece: Bytes, patience: Option<Duration>) -> Result<bool> {
        let Some(sender) = self.sender() else { return Ok(false) };
        if piece.is_empty() {
            return Ok(!sender.is_closed());
        }
        match within(patience, sender.send(piece)).await {
            Some(sent) => Ok(sent.is_ok()),
            None => Err(write_timeout(patience)),
        }
    }

    /// That was all of it.
    pub fn finish(&self, trailers: Option<HeaderMap>) {
        *self.progress.trailers.lock().unwrap_or_else(PoisonError::into_inner) = trailers;
        self.progress.complete.store(true, Relaxed);
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn sender(&self) -> Option<mpsc::Sender<Bytes>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Written {
    receiver: mpsc::Receiver<Bytes>,
    left: Option<u64>,
    progress: Arc<Progress>,
}

impl http_body::Body for Written {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Poll::Ready(piece) = self.receiver.poll_recv(cx) else {
            return Poll::Pending;
        };
        self.progress.pieces.fetch_add(1, Relaxed);
        let frame = match piece {
            Some(piece) => {
                if let Some(left) = &mut self.left {
                    let Some(rest) = left.checked_sub(piece.len() as u64) else {
                        return Poll::Ready(Some(Err(io::Error::other("the body is longer than it says"))));
                    };
                    *left = rest;
                }
                Some(Ok(Frame::data(piece)))
            }
            None if !self.progress.is_complete() => Some(Err(io::Error::other("the request was taken back"))),
            None if self.left.is_some_and(|left| left > 0) => {
                Some(Err(io::Error::other("the body is shorter than it says")))
            }
            None => {
                let mut trailers = self.progress.trailers.lock().unwrap_or_else(PoisonError::into_inner);
                trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))
            }
        };
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map(SizeHint::with_exact).unwrap_or_default()
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        self.progress.sent.store(true, Relaxed);
    }
}

/// The outcome, or `None` when the time is over; `None` for the time waits for ever.
pub(super) async fn within<T>(patience: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match patience {
        None => Some(future.await),
        Some(patience) => tokio::time::timeout(patience, future).await.ok(),
    }
}

pub(super) fn write_timeout(patience: Option<Duration>) -> Error {
    let seconds = patience.unwrap_or_default().as_secs_f64();
    Error::request(
        "WRITE_TIMEOUT",
        format!("nothing of the request could be sent for {seconds} seconds"),
    )
    .hint("the server does not read; a longer write timeout waits longer")
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn pieces_come_through_in_order_and_end() {
        let (writer, body, progress) = channel(None);
        let wrote = tokio::spawn(async move {
            for piece in ["a", "b", "c", "d", "e", "f"] {
                assert!(writer.write(piece.into(), None).await.unwrap());
            }
            writer.finish(None);
        });
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abcdef");
        wrote.await.unwrap();
        assert!(progress.is_sent() && progress.is_complete());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_writes_waits_for_room_and_not_for_ever() {
        let (writer, _body, _) = channel(None);
        for _ in 0..WAITING {
            assert!(writer.write("x".into(), None).await.unwrap());
        }
        let late = writer.write("x".into(), Some(Duration::from_secs(1))).await;
        assert_eq!(late.unwrap_err().code, "WRITE_TIMEOUT");
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_or_short_is_broken() {
        let (writer, body, _) = channel(None);
        drop(writer);
        assert!(body.collect().await.is_err());
        let (writer, body, _) = channel(Some(3));
        writer.write("ab".into(), None).await.unwrap();
        writer.finish(None);
        assert!(body.collect().await.is_err());
        let (writer, body, _) = channel(None);
        drop(body);
        assert!(!writer.write("a".into(), None).await.unwrap());
    }

    #[tokio::test]
    async fn a_large_body_is_handed_over_in_pieces() {
        let (body, progress) = whole(Bytes::from(vec![7; 3 * PIECE + 1]));
        assert_eq!(body.len(), Some(3 * PIECE as u64 + 1));
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 3 * PIECE + 1);
        assert_eq!(progress.unwrap().pieces(), 4);
    }
}
