//! HTTP/2 (RFC 9113) on one connection: frames and streams by h2, requests and answers by one task.
//!
//! [`Open::turn`] → [`Terms::begin`] → [`Service`] ⇄ [`Received`](crate::http::h2::body::Received), the body → [`Terms::run`]

mod alive;
mod bell;
mod exchange;

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::FuturesUnordered;
use h2::server::{Connection, SendResponse};

use self::bell::Bell;
use self::exchange::{Task, Terms};
use super::batch::{Batch, Handle};
use super::{BoxError, Secure, Transport};
use crate::http::h2::outgoing::WRITE_BUFFER;
use crate::net::stall::Progress;
use crate::plan::Limits;
use crate::service::Service;
use crate::session::Peer;
use crate::shutdown::Shutdown;

/// What is written at once, and what a slow reader may make rustls hold. Twice as much saves 5 % of the time.
const BATCH: usize = 128 * 1024;

/// The largest DATA frame of a client.
const MAX_FRAME: u32 = 64 << 10;

/// What a client may send before anybody has read it, on a stream, and on all of them.
const WINDOW: u32 = 1 << 20;

/// How often a turn begins again for what has come up in it, before others have theirs.
const ROUNDS: usize = 8;

/// Serve a connection to its end.
pub async fn serve(
    stream: Secure,
    peer: &Arc<Peer>,
    service: Arc<Service>,
    limits: &Limits,
    progress: &Progress,
    mut shutdown: Shutdown,
) -> Result<(), BoxError> {
    let idle = Duration::from_millis(limits.idle_timeout_ms);
    let batch = Batch::new(stream, BATCH);
    let greeting = h2::server::Builder::new()
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(limits.max_header_bytes)
        .max_send_buffer_size(WRITE_BUFFER)
        .max_frame_size(MAX_FRAME)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        // WebSocket (RFC 8441).
        .enable_connect_protocol()
        .handshake(Handle(&batch));
    let greeted = shutdown.handshake(idle, flushed(greeting, &batch)).await;
    // Without one there was no request either.
    let Some(connection) = greeted.transpose()? else {
        return Ok(());
    };
    let terms = Terms {
        peer,
        service: &service,
        head_timeout: Duration::from_millis(limits.header_timeout_ms),
    };
    let bell = Arc::new(Bell::default());
    let mut open = Open {
        connection: connection?,
        batch: &batch,
        terms: &terms,
        exchanges: FuturesUnordered::new(),
        run: |task, stream| terms.run(task, stream),
        waker: bell.clone().into(),
        bell,
    };
    let mut ping = open.connection.ping_pong();
    let mut gone = pin!(async {
        match &mut ping {
            Some(ping) => alive::gone(peer, ping, progress, idle).await,
            None => std::future::pending().await,
        }
    });
    tokio::select! {
        result = open.drive() => return result,
        () = gone.as_mut() => return Err("the client is gone".into()),
        () = shutdown.draining() => {}
        () = peer.idle(idle, progress) => {}
    }
    open.connection.graceful_shutdown();
    // h2 now waits for the answer to a PING. A peer that gives none must not hold us.
    tokio::select! {
        result = open.drive() => result,
        () = gone => Err("the client is gone".into()),
        () = peer.silent(progress) => Ok(()),
        () = shutdown.aborted() => Ok(()),
    }
}

/// A connection, and the exchanges on it.
struct Open<'a, R, F> {
    connection: Connection<Handle<'a, Transport>, Bytes>,
    batch: &'a Mutex<Batch<Transport>>,
    terms: &'a Terms<'a>,
    /// Those that have to wait for something.
    exchanges: FuturesUnordered<F>,
    /// Makes one of them.
    run: R,
    bell: Arc<Bell>,
    /// Rings it.
    waker: Waker,
}

impl<R, F> Open<'_, R, F>
where
    R: Fn(Task, SendResponse<Bytes>) -> F,
    F: Future<Output = ()>,
{
    async fn drive(&mut self) -> Result<(), BoxError> {
        std::future::poll_fn(|cx| self.turn(cx)).await
    }

    /// Do all that can be done now, and write it at once.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.bell.begin(cx.waker());
        let waker = self.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        for round in 1.. {
            let polled = self.accept(cx);
            if polled.is_ready() {
                return polled;
            }
            while let Poll::Ready(Some(())) = Pin::new(&mut self.exchanges).poll_next(cx) {}
            // What an answer gave to h2 goes out when that is polled again.
            if round == ROUNDS || !self.bell.rang() {
                break;
            }
        }
        // A flush that must wait rings, as everything else here does.
        let flushed = lock(self.batch).poll_finish(cx);
        self.bell.end();
        match flushed {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            _ => Poll::Pending,
        }
    }

    /// Read and write frames, and take every request there is; ready when the connection is over.
    fn accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            let (request, mut stream) = match std::task::ready!(self.connection.poll_accept(cx)).transpose()? {
                Some(accepted) => accepted,
                None => return Poll::Ready(Ok(())),
            };
            if let Some(task) = self.terms.begin(request, &mut stream) {
                self.exchanges.push((self.run)(task, stream));
            }
        }
    }
}

/// What becomes of a future that writes to a batch, which is flushed whenever it was polled.
async fn flushed<F>(future: F, batch: &Mutex<Batch<Transport>>) -> Result<F::Output, BoxError>
where
    F: Future,
{
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        let polled = future.as_mut().poll(cx);
        match lock(batch).poll_finish(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            _ => polled.map(Ok),
        }
    })
    .await
}

fn lock<T>(batch: &Mutex<Batch<T>>) -> MutexGuard<'_, Batch<T>> {
    batch.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
