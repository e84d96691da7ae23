//! The hello stage on QUIC, between quinn-proto and rustls.
//!
//! quinn starts a TLS session before a byte of CRYPTO data has come. The session here waits for
//! the whole ClientHello, shows it to [`ServerTls`], and only then starts rustls with the
//! configuration that was chosen. Both sides also watch the ServerHello pass (it is in clear at
//! the Initial level), which is where the negotiated group and cipher suite are read.

use std::any::Any;
use std::sync::Arc;

use quinn_proto::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use quinn_proto::crypto::{
    ClientConfig, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, ServerConfig, Session,
    UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectError, ConnectionId, Side, TransportError, TransportErrorCode};
use rustls::pki_types::CertificateDer;

use crate::alpn;
use crate::error::TlsError;
use crate::facts::Facts;
use crate::fallback::Reason;
use crate::hello::{Hello, MAX_HELLO, Malformed, Reader};
use crate::server::{Choice, ServerTls};
use crate::transcript::{Sender, Transcript};

/// TLS alerts (RFC 9846 section 6) that the hello stage itself sends.
const ALERT_DECODE_ERROR: u8 = 50;
const ALERT_NO_APPLICATION_PROTOCOL: u8 = 120;

/// A rustls configuration ready for QUIC.
pub struct QuicConfig(Arc<QuicServerConfig>);

impl QuicConfig {
    pub(crate) fn new(config: rustls::ServerConfig) -> Result<Self, TlsError> {
        let config = QuicServerConfig::try_from(config).map_err(|e| TlsError::Setup(e.to_string()))?;
        Ok(Self(Arc::new(config)))
    }
}

/// What a listener says at each handshake.
pub trait Listening: Send + Sync + 'static {
    /// The present configurations.
    fn tls(&self) -> Arc<ServerTls>;
    /// Whether new connections are turned away.
    fn is_draining(&self) -> bool;
    /// A client was turned away that had offered `velocity/1`.
    fn refused(&self, hello: &Hello, reason: Reason);
}

/// The configuration of a QUIC listener.
pub struct HelloServerConfig<L> {
    listening: Arc<L>,
    /// Initial keys and Retry tags do not depend on what is negotiated (RFC 9001 sections 5.2, 5.8).
    initial: Arc<QuicServerConfig>,
}

impl<L: Listening> HelloServerConfig<L> {
    /// `None` when the present configuration has no protocol over QUIC.
    pub fn new(listening: L) -> Option<Self> {
        let initial = listening.tls().any_quic()?.0.clone();
        Some(Self {
            listening: Arc::new(listening),
            initial,
        })
    }
}

impl<L: Listening> ServerConfig for HelloServerConfig<L> {
    fn initial_keys(&self, version: u32, dst_cid: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        self.initial.initial_keys(version, dst_cid)
    }

    fn retry_tag(&self, version: u32, orig_dst_cid: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.initial.retry_tag(version, orig_dst_cid, packet)
    }

    fn start_session(self: Arc<Self>, version: u32, params: &TransportParameters) -> Box<dyn Session> {
        let waiting = Waiting {
            listening: self.listening.clone(),
            initial: self.initial.clone(),
            version,
            params: *params,
            received: Vec::new(),
        };
        Box::new(HelloSession {
            state: State::Waiting(Box::new(waiting)),
            watch: Watch::default(),
            hello_len: 0,
            downgrade: None,
            transcript: None,
        })
    }
}

/// A client configuration whose sessions report [`Facts`], and leave a transcript where somebody wants one.
pub struct WatchedClientConfig {
    pub config: Arc<QuicClientConfig>,
    pub transcript: Option<Arc<Transcript>>,
}

impl ClientConfig for WatchedClientConfig {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        params: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let session = self.config.clone().start_session(version, server_name, params)?;
        Ok(Box::new(HelloSession {
            state: State::Running(session),
            watch: Watch::default(),
            hello_len: 0,
            downgrade: None,
            transcript: self.transcript.clone(),
        }))
    }
}

/// A server session before its ClientHello is complete.
struct Waiting {
    listening: Arc<dyn Listening>,
    initial: Arc<QuicServerConfig>,
    version: u32,
    params: TransportParameters,
    received: Vec<u8>,
}

impl Waiting {
    /// Collect CRYPTO data. Once the ClientHello is complete: the session that answers it, and the hello.
    fn advance(&mut self, bytes: &[u8]) -> Result<Option<Started>, TransportError> {
        self.received.extend_from_slice(bytes);
        let complete = Hello::complete_len(&self.received);
        if complete.is_some_and(|len| len > MAX_HELLO) {
            return Err(alert(ALERT_DECODE_ERROR, "the ClientHello is too large"));
        }
        if complete.is_none_or(|len| len > self.received.len()) {
            return Ok(None);
        }
        let received = std::mem::take(&mut self.received);
        let hello =
            Hello::parse(&received).map_err(|Malformed| alert(ALERT_DECODE_ERROR, "the ClientHello is malformed"))?;
        let tls = self.listening.tls();
        let choice = match self.listening.is_draining() {
            true => Err(hello.offers_alpn(alpn::VELOCITY).then_some(Reason::Draining)),
            false => tls.choose_quic(&hello),
        };
        match choice {
            Ok(Choice { config, downgrade }) => Ok(Some(Started {
                session: config.0.clone().start_session(self.version, &self.params),
                hello: received,
                downgrade,
            })),
            Err(Some(reason)) => {
                self.listening.refused(&hello, reason);
                let directive = tls.directive(reason).to_string();
                Err(alert(ALERT_NO_APPLICATION_PROTOCOL, &directive))
            }
            Err(None) if self.listening.is_draining() => Err(TransportError {
                code: TransportErrorCode::CONNECTION_REFUSED,
                frame: None,
                reason: "the server is going down".into(),
            }),
            Err(None) => Err(alert(ALERT_NO_APPLICATION_PROTOCOL, "no protocol in common")),
        }
    }
}

/// A session of the configuration that was chosen, and the ClientHello it has yet to read.
struct Started {
    session: Box<dyn Session>,
    hello: Vec<u8>,
    downgrade: Option<Reason>,
}

enum State {
    Waiting(Box<Waiting>),
    Running(Box<dyn Session>),
}

struct HelloSession {
    state: State,
    watch: Watch,
    hello_len: usize,
    downgrade: Option<Reason>,
    /// On a client that asked for one.
    transcript: Option<Arc<Transcript>>,
}

impl HelloSession {
    fn record(&self, sender: Sender, bytes: &[u8]) {
        if let Some(transcript) = &self.transcript {
            transcript.feed(sender, bytes);
        }
    }

    fn running(&self) -> Option<&dyn Session> {
        match &self.state {
            State::Waiting(_) => None,
            State::Running(session) => Some(session.as_ref()),
        }
    }
}

impl Session for HelloSession {
    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        match &self.state {
            // A server derives its Initial keys through the ServerConfig; only after a Retry, which is
            // a client's affair, are they asked of a session.
            State::Waiting(waiting) => match waiting.initial.initial_keys(waiting.version, dst_cid) {
                Ok(keys) => keys,
                Err(_) => waiting
                    .initial
                    .clone()
                    .start_session(waiting.version, &waiting.params)
                    .initial_keys(dst_cid, side),
            },
            State::Running(session) => session.initial_keys(dst_cid, side),
        }
    }

    /// [`Facts`], once ALPN is settled.
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let data = self.running()?.handshake_data()?.downcast::<HandshakeData>().ok()?;
        Some(Box::new(Facts {
            alpn: data.protocol,
            server_name: data.server_name,
            group: self.watch.group,
            cipher: self.watch.cipher,
            hello_retry: self.watch.hello_retry,
            resumed: self.watch.resumed,
            version: Some(0x0304),
            hello_len: self.hello_len,
            downgrade: self.downgrade,
            client_certificate: self
                .running()?
                .peer_identity()
                .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
                .and_then(|chain| Some(chain.first()?.to_vec())),
        }))
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.running()?.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.running()?.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.running()?.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.running().is_none_or(Session::is_handshaking)
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        self.record(Sender::Server, bytes);
        match &mut self.state {
            State::Waiting(waiting) => match waiting.advance(bytes)? {
                None => Ok(false),
                Some(mut started) => {
                    let ready = started.session.read_handshake(&started.hello);
                    self.state = State::Running(started.session);
                    self.hello_len = started.hello.len();
                    self.downgrade = started.downgrade;
                    ready
                }
            },
            State::Running(session) => {
                self.watch.feed(bytes);
                session.read_handshake(bytes)
            }
        }
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        match self.running() {
            None => Ok(None),
            Some(session) => session.transport_parameters(),
        }
    }

    fn write_handshake(&mut self, out: &mut Vec<u8>) -> Option<Keys> {
        let State::Running(session) = &mut self.state else {
            return None;
        };
        let before = out.len();
        let keys = session.write_handshake(out);
        if self.hello_len == 0 {
            self.hello_len = out.len() - before; // a client writes it first
        }
        self.watch.feed(&out[before..]);
        self.record(Sender::Client, &out[before..]);
        keys
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        match &mut self.state {
            State::Waiting(_) => None,
            State::Running(session) => session.next_1rtt_keys(),
        }
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.running()
            .is_some_and(|session| session.is_valid_retry(orig_dst_cid, header, payload))
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.running()
            .ok_or(ExportKeyingMaterialError)?
            .export_keying_material(output, label, context)
    }
}

/// The random value that makes a ServerHello a HelloRetryRequest (RFC 9846 section 4.1.3).
const HELLO_RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Reads group, cipher suite and resumption from the ServerHello as it passes, in either direction.
#[derive(Default)]
struct Watch {
    /// Handshake bytes until the ServerHello was seen; a ServerHello is below 2 KiB.
    pending: Vec<u8>,
    done: bool,
    group: Option<u16>,
    cipher: Option<u16>,
    hello_retry: bool,
    resumed: bool,
}

impl Watch {
    fn feed(&mut self, bytes: &[u8]) {
        const SERVER_HELLO: u8 = 2;
        if self.done || bytes.is_empty() {
            return;
        }
        self.pending.extend_from_slice(bytes);
        while let Some(len) = Hello::complete_len(&self.pending) {
            if len > MAX_HELLO {
                self.done = true;
            }
            if len > self.pending.len() || self.done {
                break;
            }
            let message: Vec<u8> = self.pending.drain(..len).collect();
            if message.first() == Some(&SERVER_HELLO) && self.server_hello(&message).is_err() {
                self.done = true;
            }
        }
        if self.done {
            self.pending = Vec::new();
        }
    }

    fn server_hello(&mut self, message: &[u8]) -> Result<(), Malformed> {
        let mut message = Reader(message);
        message.u8()?;
        let mut body = message.vec24()?;
        body.u16()?; // legacy_version
        let retry = body.take(32)? == HELLO_RETRY_RANDOM;
        body.vec8()?; // legacy_session_id_echo
        self.cipher = Some(body.u16()?);
        body.u8()?; // legacy_compression_method
        let mut extensions = body.vec16()?;
        while !extensions.0.is_empty() {
            let kind = extensions.u16()?;
            let mut content = extensions.vec16()?;
            match kind {
                41 => self.resumed = true, // pre_shared_key
                51 => self.group = Some(content.u16()?),
                _ => {}
            }
        }
        self.hello_retry |= retry;
        self.done = !retry;
        Ok(())
    }
}

fn alert(code: u8, reason: &str) -> TransportError {
    TransportError {
        code: TransportErrorCode::crypto(code),
        frame: None,
        reason: reason.into(),
    }
}
