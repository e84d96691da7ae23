//! HTTP/1.1 (RFC 9112) and HTTP/2 (RFC 9113) over TLS over TCP.
//!
//! accept → PROXY header → hello stage → TLS → [`h1`] or [`h2`] → [`Service`]

mod batch;
mod h1;
mod h2;
#[cfg(test)]
pub(crate) mod testing;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use velocity_tls::fallback::Reason;
use velocity_tls::record::{self, Inspection};
use velocity_tls::{Facts, Hello, ServerTls};

use crate::log::{self, Level};
use crate::metrics::Metrics;
use crate::net::proxy_protocol::{self, Beginning};
use crate::net::rewind::Rewind;
use crate::net::stall::Stall;
use crate::plan::Limits;
use crate::service::Service;
use crate::session::Peer;
use crate::shutdown::Shutdown;

/// What rustls may hold for a client that does not read, in bytes.
const TLS_BUFFER: usize = 32 * 1024;

/// What TLS runs on: the socket, with a limit on blocked writes, and the ClientHello put back.
type Transport = Rewind<Stall<TcpStream>>;

/// A connection once its handshake is over. In an allocation of its own: it outlives every phase, and moves as a
/// pointer.
type Secure = Box<TlsStream<Transport>>;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What to say to somebody who speaks HTTP in clear to a TLS port.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 52\r\nConnection: close\r\n\r\nThis port speaks HTTPS: put https:// before the URL\n";

/// A connection that has come.
pub struct Accepted {
    pub stream: TcpStream,
    pub remote: SocketAddr,
    /// If its other end may say for whom it is: with what it begins.
    pub announced: Option<Beginning>,
}

/// Serve one connection to its end.
pub async fn serve(accepted: Accepted, tls: Arc<ServerTls>, service: Arc<Service>, limits: Limits, shutdown: Shutdown) {
    let Accepted {
        stream,
        mut remote,
        announced,
    } = accepted;
    let Ok(mut local) = stream.local_addr() else { return };
    let _ = stream.set_nodelay(true);
    let within = Duration::from_millis(limits.handshake_timeout_ms);
    let mut stream = Stall::new(stream, Duration::from_millis(limits.idle_timeout_ms));
    let progress = stream.progress();
    let mut received = Vec::with_capacity(2048);
    if let Some(beginning) = announced {
        let header = Box::pin(proxy_protocol::read(&mut stream, &mut received, beginning));
        match shutdown.handshake(within, header).await {
            Some(Ok(Some(client))) => (remote, local) = (client.source, client.destination),
            Some(Ok(None)) => {}
            Some(Err(reason)) => return log_refusal(&service.metrics, remote, &reason),
            None => return log_refusal(&service.metrics, remote, "its PROXY header took too long"),
        }
    }
    // Boxed, each phase by itself: an idle connection keeps what its protocol needs and nothing else.
    let (stream, downgrade) = match shutdown
        .handshake(within, Box::pin(handshake(stream, received, &tls)))
        .await
    {
        Some(Ok(done)) => done,
        Some(Err(error)) => return log_failure(&service.metrics, remote, &error.to_string()),
        None => return log_failure(&service.metrics, remote, "the handshake took too long"),
    };
    let connection = stream.get_ref().1;
    let mut facts = Facts::of(connection, connection.server_name());
    facts.downgrade = downgrade;
    facts.client_certificate = connection
        .peer_certificates()
        .and_then(|chain| Some(chain.first()?.to_vec()));
    let directive = downgrade.map(|reason| tls.directive(reason));
    drop(tls); // a connection outlives its snapshot
    let peer = Arc::new(Peer::new(remote, local, facts, directive));
    log_handshake(&service.metrics, &peer);
    let result = match peer.protocol {
        "h2" => Box::pin(h2::serve(stream, &peer, service, &limits, &progress, shutdown)).await,
        _ => Box::pin(h1::serve(stream, &peer, service, &limits, &progress, shutdown)).await,
    };
    if let Err(error) = result
        && log::enabled(Level::Debug)
    {
        let fields = [("connection_id", peer.id.into()), ("reason", error.to_string().into())];
        log::record(Level::Debug, "velocity::server", "connection_ended", "", &fields);
    }
}

/// Read the ClientHello, choose a configuration, and let rustls do the rest.
async fn handshake(
    mut stream: Stall<TcpStream>,
    mut received: Vec<u8>,
    tls: &ServerTls,
) -> io::Result<(Secure, Option<Reason>)> {
    let hello: Box<Hello> = loop {
        match record::inspect(&received) {
            Inspection::Hello(hello) => break hello,
            Inspection::Incomplete => {}
            Inspection::PlainHttp => {
                stream.write_all(PLAIN_HTTP).await?;
                return Err(io::Error::other("plain HTTP on a TLS port"));
            }
            Inspection::Malformed => return Err(io::Error::other("the ClientHello is malformed")),
        }
        if stream.read_buf(&mut received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let choice = tls
        .choose_tcp(&hello)
        .ok_or_else(|| io::Error::other("no protocol over TCP"))?;
    let mut stream = tokio_rustls::TlsAcceptor::from(choice.config)
        .accept(Rewind::new(received, stream))
        .await?;
    stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER));
    Ok((Box::new(stream), choice.downgrade))
}

/// Count a finished handshake, over any transport, and say at debug level what came of it.
pub(crate) fn log_handshake(metrics: &Metrics, peer: &Peer) {
    metrics.handshake(peer.protocol, peer.profile);
    if let Some(reason) = peer.facts.downgrade {
        metrics.downgrade(reason);
        log_downgrade(peer, reason);
    }
    if !log::enabled(Level::Debug) {
        return;
    }
    log::line(Level::Debug, "velocity::tls", "handshake", "", |line| {
        peer.identify(line);
        line.text("cipher", &peer.facts.cipher_name().unwrap_or_default());
        line.text("server_name", peer.facts.server_name.as_deref().unwrap_or_default());
        line.raw("hello_retry", peer.facts.hello_retry);
    });
}

/// A client that offered `velocity/1` got something else.
fn log_downgrade(peer: &Peer, reason: Reason) {
    log::line(Level::Info, "velocity::tls", downgrade_event(reason), "", |line| {
        peer.identify(line);
        line.text("reason", reason.as_str());
        line.text("server_name", peer.facts.server_name.as_deref().unwrap_or_default());
    });
}

/// The event that a downgrade is logged as: a breach of the profile policy has a name of its own.
pub(crate) fn downgrade_event(reason: Reason) -> &'static str {
    match reason {
        Reason::ClientProfile => "PROFILE_POLICY_VIOLATION",
        _ => "downgrade",
    }
}

/// One who is trusted to say for whom a connection is did not.
fn log_refusal(metrics: &Metrics, remote: SocketAddr, reason: &str) {
    metrics.handshake_failed(reason);
    let fields = [
        ("client", remote.to_string().into()),
        ("reason", reason.into()),
        (
            "hint",
            "does it send the PROXY protocol? proxy_protocol names its network".into(),
        ),
    ];
    log::record(Level::Warn, "velocity::server", "proxy_header_refused", "", &fields);
}

/// Count a handshake that failed, and say why.
pub(crate) fn log_failure(metrics: &Metrics, remote: SocketAddr, reason: &str) {
    metrics.handshake_failed(reason);
    let fields = [("client", remote.to_string().into()), ("reason", reason.into())];
    log::record(Level::Debug, "velocity::tls", "handshake_failed", "", &fields);
}
