//! From an upstream to a connection that speaks HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::address::{Place, Scheme};
use super::failure::{Failure, Reached};
use super::h1;
use super::pool::{self, Key};
use super::upstream::Upstream;
use crate::client::{self, Protocol, connect::Opened};
use crate::http::Body;
use crate::http::h3::client as h3;
use crate::net::duplex::BoxDuplex;
use crate::net::proxy_protocol;

/// What an upstream may send of one answer before it was read, and over all answers of a connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// How long an HTTP/2 connection may say nothing before it is asked whether it is still there.
const PING: Duration = Duration::from_secs(20);

/// How long the settings of an upstream are awaited, counted from its connection, and how often they are looked at.
const SETTINGS: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(5);

pub enum Connection {
    /// One request at a time.
    H1(h1::Connection),
    /// Many.
    Many(Shared),
}

/// A connection for many requests at once.
#[derive(Clone)]
pub enum Shared {
    H2(http2::SendRequest<Body>, Extended),
    H3(Arc<h3::Connection>),
}

/// Make a connection.
pub async fn connect(upstream: &Upstream, key: &Key) -> Result<Connection, Failure> {
    let preamble = match upstream.proxy_protocol {
        Some(version) => proxy_protocol::header(version, key.client)
            .map_err(|error| Failure::new(Reached::Nobody, "connect", error.to_string()))?,
        None => Vec::new(),
    };
    let Some(tls) = &upstream.tls else {
        let stream = match timeout(upstream.connect_timeout, clear(upstream, &preamble)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if client::connect::is_shortage(&error) => {
                pool::make_room();
                return Err(Failure::exhausted(format!("cannot connect: {error}")));
            }
            Ok(Err(error)) => {
                return Err(Failure {
                    hint: "is it running, and does it listen there?".to_owned(),
                    ..Failure::new(Reached::Nobody, "connect", format!("cannot connect: {error}"))
                });
            }
            Err(_) => return Err(Failure::timeout(Reached::Nobody, "no connection in time")),
        };
        return match upstream.address.scheme {
            Scheme::H2c => h2(stream).await,
            _ => Ok(Connection::H1(h1::Connection::new(stream))),
        };
    };
    let mut options = tls.clone();
    options.preamble = preamble;
    if options.server_name.is_none() {
        options.server_name = key.name.as_deref().map(str::to_owned);
    }
    if let Place::Host(host, port) = &upstream.address.place {
        options.addresses = timeout(upstream.connect_timeout, upstream.names.resolve(host, *port))
            .await
            .map_err(|_| Failure::timeout(Reached::Nobody, "its name was not resolved in time"))?
            .map_err(|error| unresolved(host, &error))?;
    }
    if key.upgrade {
        options.protocols.retain(|protocol| *protocol == Protocol::H1);
    }
    let opened = client::connect::within(&options).await;
    let (opened, _) = opened.map_err(|error| {
        if key.upgrade && error.code == "ALPN_REQUIRED" {
            upstream.lacks_h1.store(true, Relaxed);
        }
        let failure = Failure::connect(&error);
        if failure.is_ours() {
            pool::make_room();
        }
        failure
    })?;
    match opened {
        Opened::Tcp(stream, Protocol::H2) => h2(stream).await,
        Opened::Tcp(stream, _) => Ok(Connection::H1(h1::Connection::new(stream))),
        Opened::Quic(connection) => Ok(Connection::Many(Shared::H3(Arc::new(connection)))),
    }
}

fn unresolved(host: &str, error: &std::io::Error) -> Failure {
    let reason = format!("cannot resolve {host}: {error}");
    match client::connect::is_shortage(error) {
        true => Failure::exhausted(reason),
        false => Failure::new(Reached::Nobody, "connect", reason),
    }
}

async fn clear(upstream: &Upstream, preamble: &[u8]) -> std::io::Result<BoxDuplex> {
    let mut stream: BoxDuplex = match &upstream.address.place {
        Place::Host(host, port) => {
            let addresses = upstream.names.resolve(host, *port).await?;
            let stream = TcpStream::connect(addresses.as_slice()).await?;
            stream.set_nodelay(true)?;
            Box::new(stream)
        }
        Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
    };
    stream.write_all(preamble).await?;
    Ok(stream)
}

async fn h2(stream: BoxDuplex) -> Result<Connection, Failure> {
    let (sender, driver) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(64 * 1024)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Failure::exchange(Reached::Nobody, &error))?;
    let extended = Extended::default();
    tokio::spawn(extended.clone().drive(driver));
    Ok(Connection::Many(Shared::H2(sender, extended)))
}

/// Whether an upstream over HTTP/2 takes extended CONNECT. Its settings say so (RFC 8441 section 3), which come some time
/// after the connection, and hyper does not tell when.
#[derive(Clone)]
pub struct Extended(Arc<Settings>);

struct Settings {
    connected: Instant,
    allowed: AtomicBool,
    /// Somebody wants to know.
    asked: Notify,
}

impl Default for Extended {
    fn default() -> Self {
        Self(Arc::new(Settings {
            connected: Instant::now(),
            allowed: AtomicBool::new(false),
            asked: Notify::new(),
        }))
    }
}

impl Extended {
    pub async fn is_allowed(&self) -> bool {
        loop {
            if self.0.allowed.load(Relaxed) {
                return true;
            }
            if self.0.connected.elapsed() > SETTINGS {
                return false;
            }
            self.0.asked.notify_one();
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Run a connection, and look when somebody asks.
    async fn drive(self, mut connection: http2::Connection<TokioIo<BoxDuplex>, Body, TokioExecutor>) {
        loop {
            tokio::select! {
                _ = &mut connection => return,
                () = self.0.asked.notified() => {
                    self.0.allowed.store(connection.is_extended_connect_protocol_enabled(), Relaxed);
                }
            }
        }
    }
}

impl Shared {
    pub fn is_open(&self) -> bool {
        match self {
            Shared::H2(sender, _) => !sender.is_closed(),
            Shared::H3(connection) => connection.is_open(),
        }
    }
}
