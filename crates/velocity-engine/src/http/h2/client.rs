//! Requests over HTTP/2 (RFC 9113).
//!
//! A connection has a task of its own, which ends with it. Requests are written by those who make them; a body that does
//! not leave with its head has a task as well, for as long as somebody wants the answer.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{Ping, PingPong, Reason};
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, response};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::body::Received;
use super::outgoing::{SMALL, WRITE_BUFFER, pour, remove_fields_of_connections};
use crate::http::websocket::ByConnect;
use crate::http::{Body, says_that_it_is_empty};
use crate::net::duplex::BoxDuplex;

/// The largest header section of an answer, in bytes.
const MAX_FIELDS: u32 = 64 * 1024;
/// The largest DATA frame of a server, in bytes.
const MAX_FRAME: u32 = 64 << 10;
/// Interim answers to one request that are looked at.
const MAX_INTERIM: usize = 1000;
/// How often a server that owes an answer is asked whether it is still there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);
/// How long the settings of a server are awaited, counted from its connection, and how often they are looked at.
const SETTINGS: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(5);

/// A connection, for many requests at once. It lives for as long as one of these, or a body that came over it, does.
#[derive(Clone)]
pub struct Connection {
    sender: SendRequest<Bytes>,
    state: Arc<State>,
}

struct State {
    opened: Instant,
    /// It takes no more requests.
    closed: AtomicBool,
    /// Requests whose answers have not ended.
    under_way: AtomicUsize,
}

/// What a server may send before it was read, in bytes.
#[derive(Clone, Copy)]
pub struct Windows {
    /// Of one answer.
    pub stream: u32,
    /// Of all answers.
    pub connection: u32,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nothing was sent, or nobody looks at it any more (RFC 9113 section 6.8).
    #[error("the connection takes no more requests: {0}")]
    Closed(h2::Error),
    /// It did nothing with it (RFC 9113 section 8.7).
    #[error("the server refused the request")]
    Refused,
    #[error(transparent)]
    Broken(h2::Error),
    #[error("too many interim answers")]
    Interims,
    #[error("the server takes no extended CONNECT")]
    Unsupported,
}

impl Failure {
    /// Whether the server broke the protocol.
    pub fn is_protocol(&self) -> bool {
        match self {
            Failure::Broken(error) => error.is_library(),
            Failure::Interims => true,
            Failure::Closed(_) | Failure::Refused | Failure::Unsupported => false,
        }
    }
}

impl Connection {
    /// Begin a connection.
    pub async fn open(stream: BoxDuplex, windows: Windows) -> Result<Self, h2::Error> {
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(windows.stream)
            .initial_connection_window_size(windows.connection)
            .max_frame_size(MAX_FRAME)
            .max_header_list_size(MAX_FIELDS)
            .max_send_buffer_size(WRITE_BUFFER)
            .enable_push(false)
            .handshake(stream)
            .await?;
        let state = Arc::new(State {
            opened: Instant::now(),
            closed: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
        });
        tokio::spawn(drive(connection, state.clone()));
        Ok(Self { sender, state })
    }

    /// Send a request and wait for the head of its answer; `informed` gets the heads of those before it. A request that is
    /// marked as [`ByConnect`] opens a WebSocket (RFC 8441), which is the two bodies. The body of one of which nothing was
    /// sent comes back.
    pub async fn send(
        &self,
        request: http::Request<Body>,
        mut informed: impl FnMut(response::Parts),
    ) -> Result<http::Response<Body>, (Failure, Option<Body>)> {
        let (mut head, body) = request.into_parts();
        if head.extensions.get::<ByConnect>().is_some() {
            if !self.takes_connect().await {
                return Err((Failure::Unsupported, Some(body)));
            }
            head.extensions.insert(Protocol::from_static("websocket"));
        }
        remove_fields_of_connections(&mut head.headers);
        let ends = body.is_end_stream();
        if let Some(length) = body.len()
            && (length > 0 || says_that_it_is_empty(&head.method))
            && !head.headers.contains_key(CONTENT_LENGTH)
        {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let sent = match self.sender.clone().ready().await {
            Ok(mut sender) => sender.send_request(http::Request::from_parts(head, ()), ends),
            Err(error) => Err(error),
        };
        let (mut answer, mut stream) = match sent {
            Ok(sent) => sent,
            Err(error) => {
                self.state.closed.store(true, Relaxed);
                return Err((Failure::Closed(error), Some(body)));
            }
        };
        let under_way = UnderWay::new(&self.state);
        let pouring = match body {
            _ if ends => None,
            Body::Memory(content) if content.len() <= SMALL => {
                // If it fails, so does the answer.
                let _ = stream.send_data(content, true);
                None
            }
            body => Some(AbortOnDropHandle::new(tokio::spawn(pour(body, stream, |_| {})))),
        };
        let mut interims = 0;
        let answered = poll_fn(|cx| {
            while let Poll::Ready(Some(Ok(interim))) = answer.poll_informational(cx) {
                interims += 1;
                if interims > MAX_INTERIM {
                    return Poll::Ready(Err(Failure::Interims));
                }
                informed(interim.into_parts().0);
            }
            Pin::new(&mut answer).poll(cx).map_err(|error| self.broken(error))
        });
        let (head, stream) = answered.await.map_err(|failure| (failure, None))?.into_parts();
        let body = match stream.is_end_stream() {
            true => Body::Empty,
            false => Body::stream(Answer {
                received: Received::answer(&head, stream),
                _pouring: pouring,
                _under_way: under_way,
            }),
        };
        Ok(http::Response::from_parts(head, body))
    }

    /// Whether it takes requests.
    pub fn is_open(&self) -> bool {
        !self.state.closed.load(Relaxed)
    }

    /// Whether the server takes extended CONNECT. Its settings say so (RFC 8441 section 3), which come some time after the
    /// connection, and h2 does not tell when.
    async fn takes_connect(&self) -> bool {
        while !self.sender.is_extended_connect_protocol_enabled() {
            if self.state.opened.elapsed() > SETTINGS {
                return false;
            }
            sleep(LOOK).await;
        }
        true
    }

    fn broken(&self, error: h2::Error) -> Failure {
        let refused = error.is_remote() && error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        // Who goes away in peace answers what it has begun, and says so of the others (RFC 9113 section 6.8).
        let left = error.is_remote() && error.is_go_away() && error.reason() == Some(Reason::NO_ERROR);
        if !error.is_reset() {
            self.state.closed.store(true, Relaxed);
        }
        match (refused, left) {
            (true, _) => Failure::Refused,
            (_, true) => Failure::Closed(error),
            _ => Failure::Broken(error),
        }
    }
}

/// Run a connection to its end.
async fn drive(mut connection: h2::client::Connection<BoxDuplex, Bytes>, state: Arc<State>) {
    let ping = connection.ping_pong();
    tokio::select! {
        // Those who have asked are told how it ends.
        _ = connection => {}
        () = gone(ping, &state) => {}
    }
    state.closed.store(true, Relaxed);
}

/// Ready when a server that owes an answer does not say that it is there.
async fn gone(ping: Option<PingPong>, state: &State) {
    let Some(mut ping) = ping else {
        return std::future::pending().await;
    };
    loop {
        sleep(PING).await;
        let asked = state.under_way.load(Relaxed) > 0;
        if asked && !matches!(timeout(PING, ping.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}

/// Counts a request for as long as it lives.
struct UnderWay(Arc<State>);

impl UnderWay {
    fn new(state: &Arc<State>) -> Self {
        state.under_way.fetch_add(1, Relaxed);
        Self(state.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

/// The body of an answer. Nobody wants the rest of the request once this is gone.
struct Answer {
    received: Received,
    _pouring: Option<AbortOnDropHandle<bool>>,
    _under_way: UnderWay,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.received).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.received.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.received.size_hint()
    }
}
