//! From an upstream to a connection that speaks HTTP.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::{Request, response};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::address::{Place, Scheme};
use super::failure::{Failure, Reached};
use super::h1;
use super::pool::{self, Key};
use super::upstream::Upstream;
use crate::client::{self, Protocol, connect::Opened};
use crate::error::chain;
use crate::http::h2::client as h2;
use crate::http::h3::client as h3;
use crate::http::{Body, Response};
use crate::net::duplex::BoxDuplex;
use crate::net::proxy_protocol;

/// What an upstream may send before a client has taken it.
const WINDOWS: h2::Windows = h2::Windows {
    stream: 256 * 1024,
    connection: 4 << 20,
};

pub enum Connection {
    /// One request at a time.
    H1(h1::Connection),
    /// Many.
    Many(Shared),
}

/// A connection for many requests at once.
#[derive(Clone)]
pub enum Shared {
    H2(h2::Connection),
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
    let connection = h2::Connection::open(stream, WINDOWS).await;
    let connection = connection.map_err(|error| Failure::new(Reached::Nobody, "reset", chain(&error)))?;
    Ok(Connection::Many(Shared::H2(connection)))
}

impl Shared {
    /// Send a request and wait for the head of its answer; `informed` gets the heads of interim answers. The body of one of
    /// which nothing was sent comes back.
    pub async fn send(
        &self,
        request: Request<Body>,
        informed: impl FnMut(response::Parts),
    ) -> Result<Response, (Failure, Option<Body>)> {
        match self {
            Shared::H2(connection) => {
                let answer = connection.send(request, informed).await;
                answer.map_err(|(failure, body)| (Failure::over_h2(&failure), body))
            }
            Shared::H3(connection) => {
                let answer = connection.send(request, informed).await;
                answer.map_err(|failure| (Failure::over_h3(&failure), None))
            }
        }
    }

    pub fn is_open(&self) -> bool {
        match self {
            Shared::H2(connection) => connection.is_open(),
            Shared::H3(connection) => connection.is_open(),
        }
    }
}
