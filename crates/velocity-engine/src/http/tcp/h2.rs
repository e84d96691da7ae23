//! HTTP/2 (RFC 9113) on one connection, by hyper.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use http::Method;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::batch::{Batch, Handle};
use super::{BoxError, Secure, Transport, WRITE_BUFFER, answer};
use crate::net::rewind::Rewind;
use crate::net::stall::Progress;
use crate::net::tunnel;
use crate::plan::Limits;
use crate::proxy::Switched;
use crate::service::Service;
use crate::session::Peer;
use crate::shutdown::Shutdown;

/// What is written at once, and what a slow reader may make rustls hold. Twice as much saves 5 % of the time.
const BATCH: usize = 128 * 1024;

/// Serve a connection to its end.
pub async fn serve(
    stream: Secure,
    peer: &Arc<Peer>,
    service: Arc<Service>,
    limits: &Limits,
    progress: &Progress,
    mut shutdown: Shutdown,
) -> Result<(), BoxError> {
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(limits.max_header_bytes)
        .max_send_buf_size(WRITE_BUFFER)
        .max_frame_size(64 << 10)
        // WebSocket (RFC 8441).
        .enable_connect_protocol()
        // A peer that is gone without a word is found within two idle timeouts.
        .keep_alive_interval(Duration::from_millis(limits.idle_timeout_ms))
        .keep_alive_timeout(Duration::from_millis(limits.idle_timeout_ms));
    let for_requests = peer.clone();
    let head_timeout = Duration::from_millis(limits.header_timeout_ms);
    let (stopping, within) = (shutdown.clone(), Duration::from_millis(limits.idle_timeout_ms));
    let handler = service_fn(move |mut request| {
        let (service, peer) = (service.clone(), for_requests.clone());
        let stopping = (request.method() == Method::CONNECT).then(|| stopping.clone());
        async move {
            if !ends_as_declared(request.body_mut(), head_timeout).await {
                // Its stream is reset.
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            }
            let stream = stopping.map(|stopping| (hyper::upgrade::on(&mut request), stopping));
            let mut response = answer(&service, &peer, request).await;
            if let (Some((stream, stopping)), Some(switched)) = (stream, response.extensions_mut().remove::<Switched>())
            {
                tokio::spawn(async move {
                    if let (Ok(stream), Some((upstream, received))) = (stream.await, switched.take()) {
                        tunnel::join(TokioIo::new(stream), Rewind::new(received, upstream), within, stopping).await;
                    }
                });
            }
            Ok(response)
        }
    });
    let batch = Batch::new(stream, BATCH);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Handle(&batch)), handler));
    tokio::select! {
        result = drive(connection.as_mut(), &batch) => return result,
        () = shutdown.draining() => connection.as_mut().graceful_shutdown(),
        () = peer.idle(Duration::from_millis(limits.idle_timeout_ms), progress) => connection.as_mut().graceful_shutdown(),
    }
    // hyper now waits for the answer to a PING. A peer that gives none must not hold us.
    tokio::select! {
        result = drive(connection.as_mut(), &batch) => result,
        () = peer.silent(progress) => Ok(()),
        () = shutdown.aborted() => Ok(()),
    }
}

/// Whether a request with a length of 0 has no body. Until its stream ends there may be one (RFC 9113 section 8.1.1), and
/// by then somebody would have passed the request on.
async fn ends_as_declared(body: &mut Incoming, within: Duration) -> bool {
    if body.is_end_stream() || body.size_hint().exact() != Some(0) {
        return true;
    }
    let end = async {
        while let Some(frame) = body.frame().await {
            match frame.map(|frame| frame.into_data().is_ok_and(|data| !data.is_empty())) {
                Ok(false) => {}
                Ok(true) | Err(_) => return false,
            }
        }
        true
    };
    tokio::time::timeout(within, end).await.unwrap_or(false)
}

/// A connection that flushes what it has written each time it was polled.
async fn drive<C>(mut connection: Pin<&mut C>, batch: &Mutex<Batch<Transport>>) -> Result<(), BoxError>
where
    C: Future<Output = hyper::Result<()>>,
{
    std::future::poll_fn(|cx| {
        let polled = connection.as_mut().poll(cx);
        // A flush that must wait wakes this task, as everything else here does.
        let flushed = batch.lock().unwrap_or_else(PoisonError::into_inner).poll_finish(cx);
        match (polled, flushed) {
            (Poll::Ready(result), _) => Poll::Ready(result.map_err(BoxError::from)),
            (_, Poll::Ready(Err(error))) => Poll::Ready(Err(error.into())),
            _ => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests;
