//! A request on a connection: HTTP/1.1 one at a time (RFC 9112), HTTP/2 and HTTP/3 many (RFC 9113, RFC 9114).

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use http::Request;
use velocity_tls::fallback::Directive;

use super::answer::{Answer, Incoming, read_timeout};
use super::pool::{Kept, Patience, Place};
use super::target::Origin;
use super::upload::{Progress, within, write_timeout};
use super::{Protocol, Report};
use crate::error::{Error, chain};
use crate::http::Body;
use crate::http::h2::client as h2;
use crate::http::h3::client as h3;
use crate::net::duplex::BoxDuplex;
use crate::proxy::failure::{Failure, Reached};
use crate::proxy::h1;

/// What a server may send before it is read.
const WINDOWS: h2::Windows = h2::Windows {
    stream: 2 << 20,
    connection: 16 << 20,
};

/// What a connection is.
pub struct About {
    pub protocol: Protocol,
    pub remote: std::net::SocketAddr,
    /// Whether it goes through a proxy.
    pub proxied: bool,
    /// Of TLS.
    pub report: Option<Report>,
    /// Why this is not `velocity/1`: a code and a sentence.
    pub fallback: Option<(String, String)>,
}

/// A connection for one request.
pub(super) enum Lease {
    Single {
        connection: h1::Connection,
        about: Arc<About>,
        place: Place,
    },
    Many(Arc<Shared>),
}

/// A connection for many requests at once. Each holds it for as long as it lasts.
pub(super) struct Shared {
    sender: Sender,
    pub about: Arc<About>,
    requests: AtomicU64,
    /// It takes no more requests, as one of them has found out.
    retired: AtomicBool,
    _place: Place,
}

pub(super) enum Sender {
    H2(h2::Connection),
    H3(h3::Connection),
}

/// An HTTP/1.1 exchange whose body is still to come, and where its connection goes afterwards.
pub(super) struct Single {
    pub exchange: h1::Exchange,
    about: Arc<About>,
    place: Place,
    origin: Arc<Origin>,
    home: Weak<Kept>,
}

/// Why there is no answer.
pub(super) struct Broken {
    pub error: Error,
    pub reached: Reached,
    /// It is the connection that failed.
    pub lost: bool,
}

impl Single {
    pub fn release(self) {
        if let Some(connection) = self.exchange.into_connection()
            && let Some(home) = self.home.upgrade()
        {
            home.put_single(&self.origin, connection, self.about, self.place);
        }
    }
}

impl Sender {
    pub async fn h2(stream: BoxDuplex) -> Result<Self, Error> {
        let connection = h2::Connection::open(stream, WINDOWS).await;
        Ok(Sender::H2(
            connection.map_err(|error| of_h2(&h2::Failure::Broken(error)).error)?,
        ))
    }
}

impl Shared {
    pub fn new(sender: Sender, about: Arc<About>, place: Place) -> Self {
        Self {
            sender,
            about,
            requests: AtomicU64::new(0),
            retired: AtomicBool::new(false),
            _place: place,
        }
    }

    pub fn is_open(&self) -> bool {
        let open = match &self.sender {
            Sender::H2(connection) => connection.is_open(),
            Sender::H3(connection) => connection.is_open(),
        };
        open && !self.retired.load(Relaxed)
    }

    pub fn directive(&self) -> Option<Directive> {
        match &self.sender {
            Sender::H2(_) => None,
            Sender::H3(connection) => connection.directive(),
        }
    }
}

impl Lease {
    pub fn is_h1(&self) -> bool {
        matches!(self, Lease::Single { .. })
    }

    pub fn is_used(&self) -> bool {
        match self {
            Lease::Single { connection, .. } => connection.used,
            Lease::Many(shared) => shared.requests.load(Relaxed) > 0,
        }
    }

    /// Send a request and wait for the head of its answer.
    pub async fn send(
        self,
        request: Request<Body>,
        progress: Option<&Progress>,
        patience: &Patience,
        origin: &Arc<Origin>,
        home: &Arc<Kept>,
    ) -> Result<Answer, Broken> {
        let reused = self.is_used();
        let mut answer = match self {
            Lease::Single {
                connection,
                about,
                place,
            } => {
                let sending = connection.send(request, |_| {});
                let (head, exchange) = waited(sending, progress, patience)
                    .await?
                    .map_err(|(failure, _)| of_h1(&failure))?;
                let single = Single {
                    exchange,
                    about: about.clone(),
                    place,
                    origin: origin.clone(),
                    home: Arc::downgrade(home),
                };
                Answer::new(head, about, reused, Incoming::Single(Box::new(single)))
            }
            Lease::Many(shared) => {
                shared.requests.fetch_add(1, Relaxed);
                let response = match &shared.sender {
                    Sender::H2(connection) => waited(connection.send(request, |_| {}), progress, patience)
                        .await?
                        .map_err(|(failure, _)| of_h2(&failure))?,
                    Sender::H3(connection) => waited(connection.send(request, |_| {}), progress, patience)
                        .await?
                        .map_err(|failure| of_h3(&failure))?,
                };
                let (mut head, body) = response.into_parts();
                if matches!(shared.sender, Sender::H3(_)) {
                    head.version = http::Version::HTTP_3;
                }
                let about = shared.about.clone();
                Answer::new(head, about, reused, Incoming::Many(body, shared))
            }
        };
        answer.patience(patience.read);
        Ok(answer)
    }
}

/// The outcome, as long as there is progress: first of the request on its way out, then of the answer.
async fn waited<T>(
    future: impl Future<Output = T>,
    progress: Option<&Progress>,
    patience: &Patience,
) -> Result<T, Broken> {
    let mut future = pin!(future);
    let stuck = |error| Broken {
        error,
        reached: Reached::Perhaps,
        lost: false,
    };
    let mut before = 0;
    loop {
        let sent = progress.is_none_or(Progress::is_sent);
        let limit = if sent { patience.read } else { patience.write };
        if let Some(outcome) = within(limit, future.as_mut()).await {
            return Ok(outcome);
        }
        let Some(progress) = progress.filter(|_| !sent) else {
            return Err(stuck(read_timeout(limit)));
        };
        // Whoever writes piece by piece looks after that alone until it is done.
        let pieces = progress.pieces();
        if progress.is_complete() && !progress.is_sent() && pieces == before {
            return Err(stuck(write_timeout(limit)));
        }
        before = pieces;
    }
}

fn of_h1(failure: &Failure) -> Broken {
    let large = failure.reason.contains("too large") || failure.reason.contains("too many");
    let code = match failure.kind {
        "reset" => "CONNECTION_LOST",
        "protocol" if large => "HEADERS_TOO_LARGE",
        "protocol" => "PROTOCOL_ERROR",
        _ => "REQUEST_FAILED",
    };
    Broken {
        error: failed(code, &failure.reason),
        reached: failure.reached,
        lost: failure.kind == "reset",
    }
}

fn of_h2(failure: &h2::Failure) -> Broken {
    let (code, reached) = match failure {
        h2::Failure::Closed(_) => ("CONNECTION_LOST", Reached::Nobody),
        h2::Failure::Refused => ("STREAM_RESET", Reached::Nobody),
        h2::Failure::Broken(error) if error.is_reset() && error.is_remote() => ("STREAM_RESET", Reached::Perhaps),
        _ if failure.is_protocol() => ("PROTOCOL_ERROR", Reached::Perhaps),
        _ => ("CONNECTION_LOST", Reached::Perhaps),
    };
    Broken {
        error: failed(code, &chain(failure)),
        reached,
        lost: code == "CONNECTION_LOST",
    }
}

fn of_h3(failure: &h3::Failure) -> Broken {
    let (code, reached) = match failure {
        h3::Failure::Closed => ("CONNECTION_LOST", Reached::Nobody),
        h3::Failure::Refused => ("STREAM_RESET", Reached::Nobody),
        h3::Failure::Reset(_) => ("STREAM_RESET", Reached::Perhaps),
        h3::Failure::Protocol(reason) => {
            let large = reason.contains("beyond the limits");
            (
                if large { "HEADERS_TOO_LARGE" } else { "PROTOCOL_ERROR" },
                Reached::Perhaps,
            )
        }
        _ => ("CONNECTION_LOST", Reached::Perhaps),
    };
    Broken {
        error: failed(code, failure),
        reached,
        lost: code == "CONNECTION_LOST",
    }
}

fn failed(code: &'static str, reason: &dyn std::fmt::Display) -> Error {
    Error::request(code, format!("the request failed: {reason}")).hint("the server may say more in its log")
}
