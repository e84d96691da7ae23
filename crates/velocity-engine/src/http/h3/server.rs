//! Answering requests over `h3` and `velocity/1`: QUIC connection → requests → [`Service`].

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use h3::error::{Code, StreamError};
use h3::server::{RequestResolver, RequestStream};
use http_body::Frame;
use tokio_util::task::TaskTracker;
use velocity_tls::Facts;

use super::transport::{Connection, RecvStream};
use crate::http::Body;
use crate::http::tcp::{log_failure, log_handshake};
use crate::log::{self, Level};
use crate::plan::Limits;
use crate::service::Service;
use crate::session::Peer;
use crate::shutdown::Shutdown;

/// How long a server that stops waits for a peer that owes it nothing but acknowledgements.
const SILENCE: Duration = Duration::from_secs(8);

/// Serve one connection to its end.
pub async fn serve(incoming: quinn::Incoming, service: Service, limits: Limits, shutdown: Shutdown) {
    let remote = incoming.remote_address();
    let within = Duration::from_millis(limits.handshake_timeout_ms);
    let connection = match incoming.accept() {
        Ok(connecting) => match shutdown.handshake(within, Box::pin(connecting)).await {
            Some(Ok(connection)) => connection,
            Some(Err(error)) => return log_failure(remote, &error.to_string()),
            None => return log_failure(remote, "the handshake took too long"),
        },
        Err(error) => return log_failure(remote, &error.to_string()),
    };
    let facts = connection
        .handshake_data()
        .and_then(|data| data.downcast::<Facts>().ok())
        .unwrap_or_default();
    let peer = Arc::new(Peer::new(remote, *facts));
    log_handshake(&peer);
    if let Err(error) = Box::pin(requests(connection, &peer, service, limits, shutdown)).await
        && log::enabled(Level::Debug)
    {
        let fields = [("connection_id", peer.id.into()), ("reason", error.to_string().into())];
        log::record(Level::Debug, "velocity::server", "connection_ended", "", &fields);
    }
}

async fn requests(
    quic: quinn::Connection,
    peer: &Arc<Peer>,
    service: Service,
    limits: Limits,
    mut shutdown: Shutdown,
) -> Result<(), h3::error::ConnectionError> {
    // Field sections plus frame headers and a little GREASE.
    let max_head = limits.max_header_bytes as usize + 4096;
    let (transport, unacknowledged) = Connection::new(quic.clone(), max_head);
    let mut connection = h3::server::builder()
        .max_field_section_size(limits.max_header_bytes.into())
        .send_grease(false)
        .build::<_, Bytes>(transport)
        .await?;
    let tasks = TaskTracker::new();
    let spawn = |resolver| drop(tasks.spawn(request(resolver, peer.clone(), service.clone())));

    {
        // Pinned over the loop: a request must not pay for watching the shutdown.
        let mut draining = pin!(shutdown.draining());
        loop {
            tokio::select! {
                accepted = connection.accept() => match accepted? {
                    Some(resolver) => spawn(resolver),
                    None => break,
                },
                () = draining.as_mut() => {
                    // GOAWAY names the first stream that will not be answered (RFC 9114 section 5.2). The
                    // h3 crate counts from the last one accepted, so 1 leaves every one under way whole.
                    connection.shutdown(1).await?;
                    break;
                },
            }
        }
    }
    tasks.close();
    let finished = async {
        tasks.wait().await;
        tokio::select! {
            () = unacknowledged.settled() => {},
            () = silence(&quic) => {},
        }
    };
    let mut finished = pin!(finished);
    let mut aborted = pin!(shutdown.aborted());
    loop {
        tokio::select! {
            () = finished.as_mut() => break,
            () = aborted.as_mut() => break,
            // Requests that were on their way when GOAWAY left.
            accepted = connection.accept() => match accepted {
                Ok(Some(resolver)) => spawn(resolver),
                Ok(None) => {
                    finished.as_mut().await;
                    break;
                }
                // The peer has closed: nobody is left to read the rest.
                Err(_) => break,
            },
        }
    }
    quic.close(quinn::VarInt::from_u32(0x100), b""); // H3_NO_ERROR
    Ok(())
}

/// Wait until the peer has sent nothing for [`SILENCE`]: it will not acknowledge anything any more.
async fn silence(quic: &quinn::Connection) {
    loop {
        let before = quic.stats().udp_rx.datagrams;
        tokio::time::sleep(SILENCE).await;
        if quic.stats().udp_rx.datagrams == before {
            return;
        }
    }
}

async fn request(resolver: RequestResolver<Connection, Bytes>, peer: Arc<Peer>, service: Service) {
    // What cannot be resolved was already answered by the h3 crate with the right error.
    let Ok((request, stream)) = resolver.resolve_request().await else {
        return;
    };
    let (mut send, receive) = stream.split();
    let request = request.map(|()| Body::stream(Received(receive)));
    let (response, mut access) = service.answer(&peer, request).await;
    let (head, body) = response.into_parts();
    if send.send_response(http::Response::from_parts(head, ())).await.is_err() {
        return;
    }
    let mut body = pin!(body);
    while let Some(frame) = poll_fn(|cx| http_body::Body::poll_frame(body.as_mut(), cx)).await {
        let Ok(frame) = frame else {
            send.stop_stream(Code::H3_INTERNAL_ERROR);
            return;
        };
        if let Ok(data) = frame.into_data() {
            let len = data.len();
            if send.send_data(data).await.is_err() {
                return;
            }
            access.sent(len);
        }
    }
    if send.finish().await.is_ok() {
        access.complete();
    }
}

/// A request body from h3 as one of ours.
struct Received(RequestStream<RecvStream, Bytes>);

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match ready!(self.0.poll_recv_data(cx)) {
            Ok(Some(mut data)) => Some(Ok(Frame::data(data.copy_to_bytes(data.remaining())))),
            Ok(None) => None,
            Err(error) => Some(Err(io_error(error))),
        })
    }
}

fn io_error(error: StreamError) -> io::Error {
    io::Error::other(error)
}
