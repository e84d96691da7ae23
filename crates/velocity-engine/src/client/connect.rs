//! Resolving, connecting, shaking hands.
//!
//! Addresses are raced in the manner of RFC 8305: the next one starts when the last has had a
//! quarter of a second, and the first handshake that completes wins.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::{ClientConfig, ConnectionError, IdleTimeout, TokenMemoryCache, TokenStore, TransportConfig};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;
use velocity_tls::certificate::Certificate;
use velocity_tls::chain::ChainError;
use velocity_tls::client::Offer;
use velocity_tls::fallback::{Directive, Reason};
use velocity_tls::{ClientTls, Facts, TlsError, Transcript};

use super::{Options, Protocol, Report, names};
use crate::error::{Error, Result};
use crate::http::h3::client as h3;
use crate::quic::connected;

/// RFC 8305 section 5: connection attempt delay.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// What a handshake leads to.
pub(crate) enum Opened {
    /// The protocol is `h2` or `http/1.1`.
    Tcp(Box<TlsStream<TcpStream>>, Protocol),
    Quic(h3::Connection),
}

/// TLS for connections to one place over one transport: the files are read once, and sessions resumed.
pub(super) struct Tls {
    template: Arc<ClientTls>,
    /// One connection at a time has what remembers: what it saw is looked at when its handshake is done.
    remembering: Mutex<Option<Arc<ClientTls>>>,
}

impl Tls {
    /// What options ask for, for any number of [`Tls`].
    pub(super) fn template(options: &Options) -> Result<Arc<ClientTls>> {
        let protocols: Vec<&[u8]> = options.protocols.iter().map(|one| one.alpn().as_bytes()).collect();
        let certificate = match &options.certificate {
            Some(files) => Some(Arc::new(Certificate::load(files).map_err(trust_error)?)),
            None => None,
        };
        let template = ClientTls::new(&Offer {
            protocols: &protocols,
            profile: options.profile,
            trust: &options.trust,
            revocation: &options.revocation,
            certificate,
        });
        Ok(Arc::new(template.map_err(trust_error)?))
    }

    pub(super) fn new(template: Arc<ClientTls>, remembers: bool) -> Self {
        Self {
            remembering: Mutex::new(remembers.then(|| Arc::new(template.again(true)))),
            template,
        }
    }

    fn borrow(&self) -> Loan<'_> {
        let remembering = self.remembering().take();
        let home = remembering.is_some().then_some(self);
        let tls = remembering.unwrap_or_else(|| Arc::new(self.template.again(false)));
        tls.begin();
        Loan { tls, home }
    }

    fn remembering(&self) -> MutexGuard<'_, Option<Arc<ClientTls>>> {
        self.remembering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one handshake uses. What it remembers is lost with it, unless it is given back.
struct Loan<'a> {
    tls: Arc<ClientTls>,
    home: Option<&'a Tls>,
}

impl Loan<'_> {
    fn give_back(mut self) {
        if let Some(home) = self.home.take() {
            *home.remembering() = Some(self.tls.clone());
        }
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(home) = self.home {
            *home.remembering() = Some(Arc::new(home.template.again(true)));
        }
    }
}

/// Resolve, connect and shake hands before `options.timeout` is over.
pub(crate) async fn within(options: &Options) -> Result<(Opened, Report)> {
    let tls = Arc::new(Tls::new(Tls::template(options)?, false));
    match tokio::time::timeout(options.timeout, open(options, &tls)).await {
        Ok(result) => result,
        Err(_) => Err(late(options)),
    }
}

/// There was no time left.
pub(super) fn late(options: &Options) -> Error {
    Error::connect(
        "CONNECT_TIMEOUT",
        format!(
            "no answer from {}:{} over {}",
            options.host,
            options.port,
            names(&options.protocols)
        ),
    )
    .hint(match options.over_quic() {
        true => "is UDP open on that port? --http h2 goes over TCP",
        false => "is the server running, and is the port open?",
    })
}

/// Resolve, connect and shake hands.
pub(super) async fn open(options: &Options, tls: &Arc<Tls>) -> Result<(Opened, Report)> {
    let addresses = resolve(options).await?;
    let options = Arc::new(options.clone());
    first(addresses, |address| {
        let (options, tls) = (options.clone(), tls.clone());
        async move { attempt(&options, &tls, address).await }
    })
    .await
}

/// Connect over TCP alone, through a proxy if there is one for that.
pub(super) async fn clear(options: &Options) -> Result<(TcpStream, SocketAddr)> {
    let addresses = resolve(options).await?;
    first(addresses, |address| async move { Ok((dial(address).await?, address)) }).await
}

/// The first of several attempts that comes through; the error of the one that failed first, if none does.
async fn first<T, F>(addresses: Vec<SocketAddr>, attempt: impl Fn(SocketAddr) -> F) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    // Most names lead to one place, and most first attempts go well: nobody else is needed then.
    if let [address] = addresses[..] {
        return attempt(address).await;
    }
    let mut attempts = JoinSet::new();
    let mut waiting = addresses.into_iter();
    let mut failure = None;
    loop {
        if let Some(address) = waiting.next() {
            attempts.spawn(attempt(address));
        }
        let joined = tokio::select! {
            joined = attempts.join_next() => joined,
            () = tokio::time::sleep(ATTEMPT_DELAY), if waiting.len() > 0 => continue,
        };
        match joined {
            Some(Ok(Ok(done))) => return Ok(done),
            Some(Ok(Err(error))) => {
                let _ = failure.get_or_insert(error);
            }
            Some(Err(panicked)) => return Err(Error::internal(panicked.to_string())),
            None if waiting.len() == 0 => {
                return Err(failure.unwrap_or_else(|| Error::connect("RESOLVE_FAILED", "the name has no address")));
            }
            None => {}
        }
    }
}

async fn resolve(options: &Options) -> Result<Vec<SocketAddr>> {
    if !options.addresses.is_empty() {
        return Ok(options.addresses.clone());
    }
    let (host, port) = options.place();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    match tokio::net::lookup_host((bare, port)).await {
        Ok(addresses) => Ok(interlaced(addresses.collect())),
        Err(error) if is_shortage(&error) => Err(unconnected(&error, format!("cannot resolve {host}: {error}"))),
        Err(error) => {
            Err(Error::connect("RESOLVE_FAILED", format!("cannot resolve {host}: {error}")).hint("check the host name"))
        }
    }
}

/// RFC 8305 section 4: the family that the system prefers first, then in turns.
pub(super) fn interlaced(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let preferred = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|one| one.is_ipv6() == preferred);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = Vec::with_capacity(first.len() + second.len());
    while first.len() + second.len() > 0 {
        turns.extend(first.next());
        turns.extend(second.next());
    }
    turns
}

async fn attempt(options: &Options, shared: &Tls, address: SocketAddr) -> Result<(Opened, Report)> {
    let name = options.server_name.as_deref().unwrap_or(&options.host);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let start = Instant::now();
    let loan = shared.borrow();
    let tls = &loan.tls;
    let shaken = match options.over_quic() {
        true => quic(options, address, name, tls, start).await,
        false => tcp(options, address, name, tls, start).await,
    };
    // The verifier knows better than the alert it caused.
    let (opened, mut report) = shaken.map_err(|error| match tls.failure() {
        Some(failure) => pq_error(options, &failure),
        None => error,
    })?;
    if let Err(failure) = tls.judge(&report.facts) {
        if let Opened::Quic(connection) = opened {
            connection.close().await;
        }
        return Err(pq_error(options, &failure));
    }
    report.signature_scheme = tls.signature_scheme();
    report.verified = !matches!(options.trust, velocity_tls::client::Trust::Anyone);
    report.level = tls.level();
    if tls.may_resume(&report.facts) {
        loan.give_back();
    }
    Ok((opened, report))
}

async fn dial(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await.map_err(|error| {
        unconnected(&error, format!("cannot connect to {address} over TCP: {error}"))
            .hint("is the server running, and is the port open?")
    })?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn tcp(
    options: &Options,
    address: SocketAddr,
    name: &str,
    tls: &ClientTls,
    start: Instant,
) -> Result<(Opened, Report)> {
    let mut stream = dial(address).await?;
    let lost = |error: io::Error| unconnected(&error, format!("cannot connect to {address} over TCP: {error}"));
    stream.write_all(&options.preamble).await.map_err(lost)?;
    if let Some(proxy) = &options.proxy {
        proxy.connect(&mut stream, &options.host, options.port).await?;
    }
    let name = ServerName::try_from(name.to_owned())
        .map_err(|e| Error::connect("RESOLVE_FAILED", format!("{name} is no host name: {e}")))?;
    let stream = tokio_rustls::TlsConnector::from(tls.tcp())
        .connect(name, stream)
        .await
        .map_err(
            |e| match e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                Some(error) => handshake_error(options, error),
                None => Error::connect("HANDSHAKE_FAILED", format!("the handshake with {address} failed: {e}")),
            },
        )?;
    let connection = stream.get_ref().1;
    let facts = Facts::of(connection, None);
    let alpn = facts.alpn.as_deref().unwrap_or(b"http/1.1");
    let Some(protocol) = options.protocols.iter().find(|one| one.alpn().as_bytes() == alpn) else {
        return Err(alpn_error(options));
    };
    let tls12 = facts.version == Some(0x0303);
    let report = Report {
        round_trips: 2 + u8::from(facts.hello_retry) + u8::from(tls12),
        handshake: start.elapsed(),
        chain: chain(connection.peer_certificates().unwrap_or_default()),
        remote: address,
        facts,
        signature_scheme: None,
        verified: false,
        level: None,
        bytes: None,
        transcript: Vec::new(),
    };
    Ok((Opened::Tcp(Box::new(stream), *protocol), report))
}

async fn quic(
    options: &Options,
    address: SocketAddr,
    name: &str,
    tls: &ClientTls,
    start: Instant,
) -> Result<(Opened, Report)> {
    let socket = connected(address)
        .map_err(|error| unconnected(&error, format!("cannot open a UDP socket for {address}: {error}")))?;
    let transcript = options.transcript.then(Arc::<Transcript>::default);
    let mut config = ClientConfig::new(tls.quic(transcript.as_ref()).map_err(trust_error)?);
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window((8u32 << 20).into())
        .receive_window((16u32 << 20).into())
        .max_concurrent_bidi_streams(0u32.into())
        .max_concurrent_uni_streams(8u32.into())
        .max_idle_timeout(IdleTimeout::try_from(options.patience).ok())
        // So that it has to say something thrice in that time.
        .keep_alive_interval(Some(options.patience / 3));
    config.transport_config(Arc::new(transport));
    let tokens = Arc::new(Tokens::default());
    config.token_store(tokens.clone());
    let (connection, established) = h3::Connection::open(socket, config, address, name)
        .await
        .map_err(|error| quic_failure(options, address, error))?;
    let report = Report {
        round_trips: 1 + u8::from(established.facts.hello_retry) + u8::from(!tokens.given() && outgrows(&established)),
        handshake: start.elapsed(),
        chain: chain(&established.chain),
        remote: address,
        facts: established.facts,
        signature_scheme: None,
        verified: false,
        level: None,
        bytes: Some(established.bytes),
        transcript: transcript.map(|one| one.messages()).unwrap_or_default(),
    };
    Ok((Opened::Quic(connection), report))
}

/// Whether the server had to stop and wait for us: before it knows our address, it may send three times what it
/// has received (RFC 9000 section 8.1), and every datagram of our first flight was 1200 bytes long.
fn outgrows(established: &h3::Established) -> bool {
    /// What packet headers, frame headers and the AEAD leave for CRYPTO data.
    const ROOM: usize = 1140;
    let first_flight = 1200 * established.facts.hello_len.div_ceil(ROOM) as u64;
    established.bytes.1 > 3 * first_flight
}

/// Address validation tokens (RFC 9000 section 8.1.3) of this process, as one connection sees them.
#[derive(Default)]
struct Tokens {
    given: AtomicBool,
}

impl Tokens {
    fn given(&self) -> bool {
        self.given.load(Ordering::Relaxed)
    }

    fn all() -> &'static TokenMemoryCache {
        static ALL: OnceLock<TokenMemoryCache> = OnceLock::new();
        ALL.get_or_init(TokenMemoryCache::default)
    }
}

impl TokenStore for Tokens {
    fn insert(&self, server_name: &str, token: Bytes) {
        Self::all().insert(server_name, token);
    }

    fn take(&self, server_name: &str) -> Option<Bytes> {
        let token = Self::all().take(server_name);
        self.given.store(token.is_some(), Ordering::Relaxed);
        token
    }
}

/// The kernel makes no connection: for want of descriptors here, or because of what is there.
fn unconnected(error: &io::Error, message: String) -> Error {
    let code = match is_shortage(error) {
        true => "DESCRIPTORS_EXHAUSTED",
        false => "CONNECT_FAILED",
    };
    Error::connect(code, message)
}

/// Whether there are no file descriptors left.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

fn chain(certificates: &[CertificateDer<'_>]) -> Vec<Vec<u8>> {
    certificates.iter().map(|certificate| certificate.to_vec()).collect()
}

fn trust_error(error: TlsError) -> Error {
    // Roots and certificates are read for each connection.
    if let TlsError::Unreadable { source, .. } = &error
        && is_shortage(source)
    {
        return unconnected(source, error.to_string());
    }
    Error::config(error.code(), error.to_string()).hint(error.hint())
}

fn alpn_error(options: &Options) -> Error {
    Error::connect(
        "ALPN_REQUIRED",
        format!("{} does not speak {}", options.host, names(&options.protocols)),
    )
    .hint("velocity client probe shows what it speaks")
}

/// A hybrid chain or signature did not pass.
fn pq_error(options: &Options, failure: &ChainError) -> Error {
    Error::connect(
        velocity_tls::scheme::PQ_VALIDATION_FAILED,
        format!(
            "{} is not who it says, to a quantum adversary: {}",
            options.host, failure.message
        ),
    )
    .hint(failure.cause.hint())
    .detail("cause", failure.cause.as_str())
    .detail("link", failure.link.to_string())
}

/// A server that has `velocity/1` for others said why not for us, and where to go.
fn directed(options: &Options, directive: &Directive) -> Error {
    let code = match directive.reason {
        Reason::ClientProfile => "PROFILE_POLICY_VIOLATION",
        _ => "ALPN_REQUIRED",
    };
    let what = match directive.reason {
        Reason::NoHybridCert => "it has no hybrid certificate for that name",
        Reason::PolicyDisabled => "it is switched off there",
        Reason::ClientProfile => "it permits other profiles only",
        Reason::ClientSigalg => "its certificate needs a signature scheme that was not offered",
        Reason::Draining => "the server is going down",
    };
    Error::connect(code, format!("{} refuses velocity/1: {what}", options.host))
        .hint(format!("it points to {}; --http auto follows", directive.alpn))
        .detail("fallback", directive.to_string())
}

/// Why TLS failed, in the terms of the command line.
fn handshake_error(options: &Options, error: &rustls::Error) -> Error {
    use rustls::{AlertDescription, CertificateError};
    match error {
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => alpn_error(options),
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure) => Error::connect(
            "HANDSHAKE_FAILED",
            "the server accepts none of the key exchange groups offered",
        )
        .hint("try another --profile, or --http h3"),
        rustls::Error::InvalidCertificate(reason) => {
            let what = match reason {
                CertificateError::UnknownIssuer => "it is signed by nobody trusted here".to_owned(),
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    format!(
                        "it is for another name than {}",
                        options.server_name.as_ref().unwrap_or(&options.host)
                    )
                }
                other => other.to_string(),
            };
            Error::connect(
                "CERTIFICATE_INVALID",
                format!("the certificate of {} is not valid: {what}", options.host),
            )
            .hint("--cacert FILE trusts another root; --insecure trusts anybody")
        }
        other => Error::connect(
            "HANDSHAKE_FAILED",
            format!("the handshake with {} failed: {other}", options.host),
        ),
    }
}

fn quic_failure(options: &Options, address: SocketAddr, failure: h3::Failure) -> Error {
    match failure {
        h3::Failure::Lost(error) => quic_error(options, address, &error),
        h3::Failure::Socket(error) => {
            let message = format!("cannot open a UDP socket for {address}: {error}");
            unconnected(&error, message)
        }
        h3::Failure::Config(error) => {
            Error::connect("CONNECT_FAILED", format!("cannot connect to {}: {error}", options.host))
        }
        other => quic_refused(address, &other),
    }
}

fn quic_refused(address: SocketAddr, reason: &dyn std::fmt::Display) -> Error {
    Error::connect(
        "CONNECT_FAILED",
        format!("cannot connect to {address} over QUIC: {reason}"),
    )
    .hint("is UDP open on that port? --http h2 goes over TCP")
}

fn quic_error(options: &Options, address: SocketAddr, error: &ConnectionError) -> Error {
    use ConnectionError::{ConnectionClosed, TransportError};
    let alert = match error {
        TransportError(e) => {
            // A verdict of our own verifier comes as the text of the rustls error behind the alert.
            if u64::from(e.code) >> 8 == 1 && !e.reason.is_empty() {
                return certificate_or_alert(options, u64::from(e.code) as u8, &e.reason);
            }
            Some(u64::from(e.code))
        }
        ConnectionClosed(close) => {
            let reason = std::str::from_utf8(&close.reason).unwrap_or_default();
            if let Ok(directive) = reason.parse::<Directive>() {
                return directed(options, &directive);
            }
            Some(u64::from(close.error_code))
        }
        _ => None,
    };
    match alert {
        Some(code) if code >> 8 == 1 => certificate_or_alert(options, code as u8, ""),
        Some(_) | None => quic_refused(address, error),
    }
}

/// CRYPTO_ERROR of RFC 9001 section 4.8: a TLS alert.
fn certificate_or_alert(options: &Options, alert: u8, reason: &str) -> Error {
    use rustls::AlertDescription as Alert;
    let alert = Alert::from(alert);
    // Whatever the alert: a certificate whose issuer merely has a trusted name fails as decrypt_error.
    if reason.contains("invalid peer certificate") {
        return certificate_error(options, reason);
    }
    match alert {
        Alert::UnknownCA
        | Alert::BadCertificate
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::CertificateRevoked
        | Alert::UnsupportedCertificate => certificate_error(options, &format!("{alert:?}")),
        other => handshake_error(options, &rustls::Error::AlertReceived(other)),
    }
}

fn certificate_error(options: &Options, reason: &str) -> Error {
    let reason = reason.trim_start_matches("invalid peer certificate: ");
    Error::connect(
        "CERTIFICATE_INVALID",
        format!("the certificate of {} is not valid: {reason}", options.host),
    )
    .hint("--cacert FILE trusts another root; --insecure trusts anybody")
}
