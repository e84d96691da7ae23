//! HTTP/1.1 (RFC 9112) on one connection, by hyper, which keeps 16 KiB of buffers and more for as long as it lives.
//!
//! So it does not live long: a connection of which nothing was asked for [`DOZE_AFTER`] is taken apart down to its
//! stream, and hyper is made anew around the first bytes of the next request.
//!
//! [`talk`] ⇄ [`doze`]

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use super::framing::Framing;
use super::{BoxError, answer};
use crate::net::rewind::Rewind;
use crate::net::stall::Progress;
use crate::net::tunnel;
use crate::plan::Limits;
use crate::proxy::Switched;
use crate::service::Service;
use crate::session::Peer;
use crate::shutdown::Shutdown;

/// How long hyper waits for the next request before it is taken apart. Short, so that what those who have just been
/// served give back serves those who come next.
const DOZE_AFTER: Duration = Duration::from_millis(250);

/// What is read at first when a dozing connection wakes: most request heads are shorter.
const FIRST_READ: usize = 2048;

/// Serve a connection to its end.
pub async fn serve<S>(
    stream: S,
    peer: &Arc<Peer>,
    service: Arc<Service>,
    limits: &Limits,
    progress: &Arc<Progress>,
    mut shutdown: Shutdown,
) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut stream = Rewind::new(Bytes::new(), stream);
    loop {
        let talk = talk(stream, peer, &service, limits, progress, &mut shutdown);
        stream = match Box::pin(talk).await? {
            Some(stream) => stream,
            None => return Ok(()),
        };
        // The header timeout counts from the end of the previous answer, so it bounds idle time as well.
        let until = progress.last() + Duration::from_millis(limits.header_timeout_ms);
        match doze(&mut stream, until, &mut shutdown).await {
            Some(received) => stream.put_back(received),
            None => break,
        }
    }
    // Nothing waits to be written, so this needs no patience: TLS and TCP say goodbye.
    tokio::select! {
        _ = stream.shutdown() => {}
        () = shutdown.aborted() => {}
    }
    Ok(())
}

/// Answer requests until the connection ends, or until it idles: then the stream comes back, with what hyper read of
/// the next request put back into it.
async fn talk<S>(
    stream: Rewind<S>,
    peer: &Arc<Peer>,
    service: &Service,
    limits: &Limits,
    progress: &Arc<Progress>,
    shutdown: &mut Shutdown,
) -> hyper::Result<Option<Rewind<S>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.header_timeout_ms))
        // Bounds the head of a request, and what of a body waits for TLS.
        .max_buf_size(limits.max_header_bytes as usize)
        // Chunks of a body go to rustls as they are, not through another buffer.
        // (Not with pipeline_flush: it lets hyper buffer a body without any limit.)
        .writev(true);
    let heard = AtomicBool::new(!stream.is_spent());
    let switched = OnceLock::new();
    let handler = service_fn(|request| {
        heard.store(false, Ordering::Relaxed);
        async {
            let mut response = answer(service, peer, request).await;
            if let Some(upstream) = response.extensions_mut().remove::<Switched>() {
                let _ = switched.set(upstream);
            }
            Ok::<_, Infallible>(response.map(|body| Paced {
                body,
                progress: progress.clone(),
                ahead: 0,
                writes: 0,
            }))
        }
    });
    let stream = Listened {
        stream,
        heard: &heard,
        framing: Framing::default(),
        refused: None,
    };
    let mut connection = builder.serve_connection(TokioIo::new(stream), handler);
    // While part of a head is there, hyper's own timer must go on.
    let idle = async {
        loop {
            peer.idle(DOZE_AFTER, progress).await;
            if !heard.load(Ordering::Relaxed) {
                return;
            }
            tokio::time::sleep(DOZE_AFTER).await;
        }
    };
    tokio::select! {
        // hyper first: when the others have their turn it has read and written all it can.
        biased;
        result = &mut connection => {
            result?;
            if let Some((upstream, received)) = switched.get().and_then(Switched::take) {
                let parts = connection.into_parts();
                let stream = Rewind::new(parts.read_buf, parts.io.into_inner().stream);
                let within = Duration::from_millis(limits.idle_timeout_ms);
                tunnel::join(stream, Rewind::new(received, upstream), within, shutdown.clone()).await;
            }
            return Ok(None);
        }
        () = shutdown.draining() => {}
        () = idle => {
            // Every answer is written: none is in flight, and the last write was not blocked. What may be left is the
            // beginning of a head that came together with the request before it.
            let parts = connection.into_parts();
            let mut stream = parts.io.into_inner().stream;
            stream.put_back(parts.read_buf);
            return Ok(Some(stream));
        }
    }
    Pin::new(&mut connection).graceful_shutdown();
    // hyper now waits for the rest of a request head that has begun; this is how long we do.
    tokio::select! {
        result = connection => result.map(|()| None),
        () = peer.silent(progress) => Ok(None),
        () = shutdown.aborted() => Ok(None),
    }
}

/// Wait for the first bytes of a request, which may have been put back; `None` when it is time to close.
async fn doze<S>(stream: &mut Rewind<S>, until: Instant, shutdown: &mut Shutdown) -> Option<Bytes>
where
    S: AsyncRead + Unpin,
{
    let first = std::future::poll_fn(|cx| {
        // On the stack, and only while there is something to read.
        let mut room = [std::mem::MaybeUninit::uninit(); FIRST_READ];
        let mut room = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut room))?;
        Poll::Ready(io::Result::Ok(Bytes::copy_from_slice(room.filled())))
    });
    tokio::select! {
        biased;
        first = first => first.ok().filter(|bytes| !bytes.is_empty()),
        () = tokio::time::sleep_until(until) => None,
        () = shutdown.draining() => None,
    }
}

/// What is asked for of a body before some of it was written. A client that is slow holds this much, and hyper would
/// fill its own buffers.
const AHEAD: usize = 32 * 1024;

/// A body of which no more is asked for while the client does not take what there is.
struct Paced<B> {
    body: B,
    progress: Arc<Progress>,
    /// Bytes since this many writes.
    ahead: usize,
    writes: u64,
}

impl<B> http_body::Body for Paced<B>
where
    B: http_body::Body<Data = Bytes, Error = io::Error> + Unpin,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let writes = self.progress.writes();
        if writes != self.writes {
            (self.writes, self.ahead) = (writes, 0);
        }
        // hyper writes what it has when it is given nothing more.
        if self.progress.is_blocked() || self.ahead >= AHEAD {
            self.progress.await_write(cx);
            return Poll::Pending;
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.ahead += frame.data_ref().map_or(0, Bytes::len);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What hyper reads from. It notes that something was read: a request clears the note, so that what remains noted is
/// part of the next head. And it keeps what is ambiguous from hyper.
struct Listened<'a, S> {
    stream: Rewind<S>,
    heard: &'a AtomicBool,
    framing: Framing,
    /// What is left to be said of a request that is refused.
    refused: Option<&'static [u8]>,
}

/// No part of any request: hyper answers 400 and closes.
const NO_HTTP: &[u8] = b"\0\n";

impl<S: AsyncRead + Unpin> AsyncRead for Listened<'_, S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.refused.is_none() {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
            self.heard.store(true, Ordering::Relaxed);
            match self.framing.follow(&buf.filled()[before..]) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(passed) => {
                    buf.set_filled(before + passed);
                    self.refused = Some(NO_HTTP);
                }
            }
        }
        // After it, the end.
        if let Some(words) = &mut self.refused {
            let (now, later) = words.split_at(words.len().min(buf.remaining()));
            buf.put_slice(now);
            *words = later;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listened<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
