//! The client: one connection over one protocol and requests on it, or a [`Pool`] of as many as are needed.
//!
//! Of single connections, Python decides which protocol to try and what to do when it fails; a pool does so by itself.
//!
//! - [`target`]: where a URL leads
//! - [`pool`]: connections that are kept, within limits
//! - [`reach`]: a new one: QUIC and TCP raced, through [`connect`]
//! - [`carrier`]: a request on one of them, [`answer`]: what comes back, [`upload`]: what goes there piece by piece
//! - [`memory`]: what is known of origins; [`alternatives`], [`records`]: how they make themselves known
//! - [`proxy`]: through another server

mod alternatives;
pub mod answer;
mod carrier;
pub(crate) mod connect;
mod memory;
pub mod pool;
pub mod proxy;
mod reach;
mod records;
mod request;
mod target;
pub mod upload;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use velocity_tls::chain::Level;
use velocity_tls::client::Trust;
use velocity_tls::fallback::Directive;
use velocity_tls::transcript::Message;
use velocity_tls::{Facts, Profile, certificate};

pub use self::answer::Answer;
pub use self::pool::{Order, Patience, Payload, Pool, Settings};
pub use self::proxy::Proxy;
use crate::error::{Error, Result};
use crate::http::Body;

/// What to connect to, and on which conditions.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name or IP address.
    pub host: String,
    pub port: u16,
    /// Where that is; resolved if empty.
    pub addresses: Vec<SocketAddr>,
    /// Offered together, preferred first: all over QUIC, or all over TCP.
    pub protocols: Vec<Protocol>,
    /// Groups to offer; `None` leaves the choice to the server.
    pub profile: Option<Profile>,
    /// Another place that must still authenticate as `host`; `None` is `host` itself.
    pub connect_to: Option<(String, u16)>,
    /// SNI and the name the certificate must bear; `host` where absent.
    pub server_name: Option<String>,
    pub trust: Trust,
    /// Revocation lists, DER or PEM.
    pub revocation: Vec<PathBuf>,
    /// Chain and key to show a server that asks who we are.
    pub certificate: Option<certificate::Files>,
    /// Whether to record the messages of the handshake. There are none over TCP.
    pub transcript: bool,
    /// For connecting and the handshake, all addresses together.
    pub timeout: Duration,
    /// Sent over TCP before the handshake, in clear: a PROXY header.
    pub preamble: Vec<u8>,
    /// Over QUIC, how long the other end may be silent, although it is asked, before it is taken to be gone.
    pub patience: Duration,
    /// To go through; over TCP only.
    pub proxy: Option<Arc<Proxy>>,
}

/// As long as RFC 9000 section 10.1 leaves it to both ends, and what most of them take.
const PATIENCE: Duration = Duration::from_secs(30);

impl Options {
    /// Nothing asked for but this.
    pub fn new(host: String, port: u16, protocols: Vec<Protocol>, trust: Trust, timeout: Duration) -> Self {
        Self {
            host,
            port,
            addresses: Vec::new(),
            protocols,
            profile: None,
            connect_to: None,
            server_name: None,
            trust,
            revocation: Vec::new(),
            certificate: None,
            transcript: false,
            timeout,
            preamble: Vec::new(),
            patience: PATIENCE,
            proxy: None,
        }
    }

    /// Where to connect.
    fn place(&self) -> (&str, u16) {
        if let Some(proxy) = &self.proxy {
            return (&proxy.host, proxy.port);
        }
        let elsewhere = self.connect_to.as_ref();
        elsewhere.map_or((&self.host, self.port), |(host, port)| (host, *port))
    }

    fn over_quic(&self) -> bool {
        self.protocols.first().is_some_and(|protocol| protocol.over_quic())
    }

    /// `ca_file` and `insecure` as a [`Trust`].
    pub fn trust(ca_file: Option<PathBuf>, insecure: bool) -> Trust {
        match ca_file {
            _ if insecure => Trust::Anyone,
            Some(path) => Trust::Roots(path),
            None => Trust::System,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Velocity,
    H3,
    H2,
    H1,
}

impl Protocol {
    pub const ALL: [Protocol; 4] = [Protocol::Velocity, Protocol::H3, Protocol::H2, Protocol::H1];

    /// The ALPN identifier.
    pub fn alpn(self) -> &'static str {
        match self {
            Protocol::Velocity => "velocity/1",
            Protocol::H3 => "h3",
            Protocol::H2 => "h2",
            Protocol::H1 => "http/1.1",
        }
    }

    pub fn parse(alpn: &str) -> Option<Self> {
        Protocol::ALL.into_iter().find(|protocol| protocol.alpn() == alpn)
    }

    fn over_quic(self) -> bool {
        matches!(self, Protocol::Velocity | Protocol::H3)
    }
}

/// `velocity/1 or h3`.
fn names(protocols: &[Protocol]) -> String {
    let names: Vec<&str> = protocols.iter().map(|protocol| protocol.alpn()).collect();
    names.join(" or ")
}

/// A connection whose handshake is done.
pub struct Connection {
    pub report: Report,
    sender: request::Sender,
    authority: String,
}

/// What the handshake revealed.
#[derive(Clone, Debug)]
pub struct Report {
    pub facts: Facts,
    pub remote: std::net::SocketAddr,
    pub signature_scheme: Option<u16>,
    /// Flights of the handshake that waited for an answer, TCP's included.
    pub round_trips: u8,
    pub handshake: Duration,
    /// DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// Whether the chain led to whom we trust.
    pub verified: bool,
    /// What the chain rests on, where both of its signatures were verified.
    pub level: Option<Level>,
    /// Over QUIC: UDP payload until the handshake was done, in bytes, sent and received.
    pub bytes: Option<(u64, u64)>,
    /// The messages of the handshake, where they were asked for.
    pub transcript: Vec<Message>,
}

/// A response head, and a body that is read chunk by chunk.
pub struct Response {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Body,
}

impl Connection {
    /// Resolve, connect and finish the handshake.
    pub async fn open(options: &Options) -> Result<Self> {
        let (opened, report) = connect::within(options).await?;
        Ok(Self {
            report,
            sender: request::Sender::new(opened).await?,
            authority: request::authority(options),
        })
    }

    /// Send a request and wait for the response head.
    pub async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: Option<Bytes>,
    ) -> Result<Response> {
        let request = request::build(&self.authority, self.sender.is_h1(), method, path, headers, body)?;
        self.sender.send(request).await
    }

    /// Why there is no `velocity/1`, as far as the server has said so.
    pub fn directive(&self) -> Option<Directive> {
        self.sender.directive()
    }

    /// Close politely. Dropping does the same without waiting.
    pub async fn close(&mut self) {
        self.sender.close().await;
    }
}

/// The next chunk of a body; `None` at its end.
pub async fn next_chunk(body: &mut Body) -> Result<Option<Bytes>> {
    use http_body_util::BodyExt;
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Ok(Some(data)),
                Err(_trailers) => {}
            },
            Some(Err(error)) => {
                return Err(
                    Error::request("BODY_TRUNCATED", format!("the body ended early: {error}"))
                        .hint("try again; with -o a download resumes where it stopped"),
                );
            }
        }
    }
}
