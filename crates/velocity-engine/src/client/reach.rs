//! A new connection to an origin: what is known of it decides where, QUIC and TCP race, and the winner speaks.
//!
//! QUIC has a head start (RFC 8305 section 5 has the idea, if not the protocols); the addresses of each are raced below, in
//! [`connect`](super::connect).

use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustc_hash::FxHashMap;
use velocity_tls::ClientTls;
use velocity_tls::client::{Trust, can_verify_hybrid};
use velocity_tls::fallback::Directive;

use super::alternatives::Alternative;
use super::carrier::{About, Lease, Sender, Shared};
use super::connect::{self, Opened, Tls};
use super::memory::Memory;
use super::pool::{Fallback, Place, Settings};
use super::proxy::Proxy;
use super::records::{Records, Service};
use super::target::Origin;
use super::upload::within;
use super::{Options, Protocol, Report};
use crate::error::{Error, Result};
use crate::proxy::h1;

/// How long QUIC is waited for before TCP is tried as well.
const HEAD_START: Duration = Duration::from_millis(150);
/// The same where QUIC was spoken before, or is announced.
const KNOWN_HEAD_START: Duration = Duration::from_millis(400);
/// What no other protocol would mend; trying one would only hide it.
const FINAL: [&str; 3] = ["CERTIFICATE_INVALID", "CERT_PQ_VALIDATION_FAILED", "RESOLVE_FAILED"];

/// Makes the connections of a pool.
pub struct Reach {
    settings: Settings,
    memory: Memory,
    records: Records,
    /// By what is offered.
    templates: Mutex<FxHashMap<Vec<u8>, Arc<ClientTls>>>,
    hybrid: OnceLock<bool>,
}

/// What connections to one origin have in common: their TLS sessions, by what is offered.
#[derive(Default)]
pub struct Ways(Mutex<FxHashMap<Vec<u8>, Arc<Tls>>>);

type Shaken = (Opened, Report);
/// And why it is not what was preferred, as far as that is known.
type Reached = (Shaken, Option<Error>);

impl Reach {
    pub fn new(settings: Settings) -> Result<Self> {
        let reach = Self {
            memory: Memory::new(settings.state.clone()),
            records: Records::new(settings.resolver),
            templates: Mutex::default(),
            hybrid: OnceLock::new(),
            settings,
        };
        // Whoever names files hears about them now; to read the system's roots takes longer and can wait.
        if !matches!(reach.settings.trust, Trust::System) || reach.settings.certificate.is_some() {
            let anywhere = Origin {
                secure: true,
                host: "localhost".into(),
                port: 443,
            };
            let mut options = reach.options(&anywhere);
            options.protocols.push(Protocol::H1);
            Tls::template(&options)?;
        }
        Ok(reach)
    }

    pub fn proxy(&self) -> Option<&Proxy> {
        self.settings.proxy.as_deref()
    }

    /// An origin said where else it is.
    pub fn learn(&self, origin: &Origin, alternatives: Vec<Alternative>) {
        if self.settings.discover {
            self.memory.learn(origin, alternatives);
        }
    }

    pub fn save(&self) {
        self.memory.save();
    }

    pub(super) async fn connect(
        &self,
        origin: &Origin,
        ways: &Ways,
        place: Place,
        patience: Option<Duration>,
    ) -> Result<Lease> {
        let options = self.options(origin);
        let made = within(patience, async {
            match origin.secure {
                true => self.secure(origin, options.clone(), ways, place).await,
                false => self.clear(&options, place).await,
            }
        });
        made.await.unwrap_or_else(|| {
            // An origin that answers nobody is not asked over QUIC first again.
            self.memory.silence(origin);
            Err(connect::late(&Options {
                protocols: self.settings.protocols.clone(),
                ..options
            }))
        })
    }

    fn options(&self, origin: &Origin) -> Options {
        let settings = &self.settings;
        let key = (origin.host.to_string(), origin.port);
        let host = origin.host.to_string();
        Options {
            profile: settings.profile,
            connect_to: settings.resolve.get(&key).cloned(),
            server_name: settings.server_name.clone(),
            revocation: settings.revocation.clone(),
            certificate: settings.certificate.clone(),
            proxy: settings.proxy.clone(),
            ..Options::new(host, origin.port, Vec::new(), settings.trust.clone(), Duration::MAX)
        }
    }

    async fn clear(&self, options: &Options, place: Place) -> Result<Lease> {
        let protocols = &self.settings.protocols;
        let h2 = protocols.contains(&Protocol::H2) && !protocols.contains(&Protocol::H1);
        if !h2 && !protocols.contains(&Protocol::H1) {
            return Err(Error::connect(
                "ALPN_REQUIRED",
                "http:// is HTTP/1.1 or HTTP/2, and neither is permitted",
            )
            .hint("use https://"));
        }
        let (stream, remote) = connect::clear(options).await?;
        let about = Arc::new(About {
            protocol: if h2 { Protocol::H2 } else { Protocol::H1 },
            remote,
            proxied: options.proxy.is_some(),
            report: None,
            fallback: Some(("not_offered".into(), "the connection is not encrypted".into())),
        });
        Ok(match h2 {
            true => Lease::Many(Arc::new(Shared::new(Sender::h2(Box::new(stream)).await?, about, place))),
            false => Lease::Single {
                connection: h1::Connection::new(Box::new(stream)),
                about,
                place,
            },
        })
    }

    async fn secure(&self, origin: &Origin, options: Options, ways: &Ways, place: Place) -> Result<Lease> {
        let (quic, tcp) = self.protocols(origin)?;
        let offered = quic.contains(&Protocol::Velocity);
        let ((opened, report), failure) = match (quic.is_empty(), tcp.is_empty()) {
            (false, true) => self.quic(origin, &options, &quic, ways).await?,
            (true, _) => (self.tcp(&options, &tcp, None, ways).await?, None),
            (false, false) => self.race(origin, &options, &quic, &tcp, ways).await?,
        };
        let spoken = spoken(&report);
        if !quic.is_empty() && matches!(opened, Opened::Tcp(..)) {
            self.memory.silence(origin);
        }
        self.memory.speaks(origin, spoken);
        self.memory.save();
        let fallback = match spoken {
            Protocol::Velocity => None,
            _ if !offered => Some(("not_offered".into(), "velocity/1 was not offered".into())),
            _ => Some(match failure {
                Some(error) => {
                    let said = directive(&error).map(|directive| directive.reason.as_str());
                    (said.unwrap_or(error.code).to_owned(), error.message)
                }
                None => (
                    "ALPN_REQUIRED".to_owned(),
                    format!("{} does not speak velocity/1", origin.host),
                ),
            }),
        };
        let about = Arc::new(About {
            protocol: spoken,
            remote: report.remote,
            proxied: options.proxy.is_some(),
            report: Some(report),
            fallback,
        });
        let sender = match opened {
            Opened::Tcp(stream, Protocol::H2) => Sender::h2(stream).await?,
            Opened::Tcp(stream, _) => {
                return Ok(Lease::Single {
                    connection: h1::Connection::new(stream),
                    about,
                    place,
                });
            }
            Opened::Quic(connection) => Sender::H3(connection),
        };
        Ok(Lease::Many(Arc::new(Shared::new(sender, about, place))))
    }

    /// What is offered over QUIC, and what over TCP.
    fn protocols(&self, origin: &Origin) -> Result<(Vec<Protocol>, Vec<Protocol>)> {
        let settings = &self.settings;
        let (mut quic, mut tcp): (Vec<_>, Vec<_>) = settings
            .protocols
            .iter()
            .copied()
            .partition(|protocol| protocol.over_quic());
        match settings.fallback {
            Fallback::Allow => {
                // Where nothing that is trusted has an ML-DSA key, no server could prove itself.
                if settings.protocols.len() > 1 && quic.contains(&Protocol::Velocity) && !self.can_verify_hybrid() {
                    quic.retain(|protocol| *protocol != Protocol::Velocity);
                }
            }
            Fallback::Directed | Fallback::Never => {
                quic.retain(|protocol| *protocol == Protocol::Velocity);
                tcp.clear();
            }
        }
        if settings.proxy.is_some() {
            quic.clear();
        }
        if !tcp.is_empty() && self.memory.is_silent(origin) && self.memory.spoke(origin) != Some(Protocol::Velocity) {
            quic.clear();
        }
        if quic.is_empty() && tcp.is_empty() {
            return Err(Error::connect(
                "ALPN_REQUIRED",
                "none of the protocols that are permitted can be spoken on this way",
            )
            .hint("a proxy carries h2 and http/1.1 only"));
        }
        Ok((quic, tcp))
    }

    fn can_verify_hybrid(&self) -> bool {
        *self
            .hybrid
            .get_or_init(|| can_verify_hybrid(&self.settings.trust).unwrap_or(false))
    }

    async fn race(
        &self,
        origin: &Origin,
        options: &Options,
        quic: &[Protocol],
        tcp: &[Protocol],
        ways: &Ways,
    ) -> Result<Reached> {
        let known = self.memory.spoke(origin).is_some_and(Protocol::over_quic)
            || self.settings.discover && self.memory.alternative(origin, quic).is_some();
        let head_start = if known { KNOWN_HEAD_START } else { HEAD_START };
        let mut over_quic = pin!(self.quic(origin, options, quic, ways));
        match tokio::time::timeout(head_start, over_quic.as_mut()).await {
            Ok(Ok(reached)) => return Ok(reached),
            Ok(Err(error)) if FINAL.contains(&error.code) => return Err(error),
            Ok(Err(error)) => {
                let directive = directive(&error).filter(|one| self.permits(one, tcp));
                let shaken = self.tcp(options, tcp, directive.as_ref(), ways).await?;
                return Ok((shaken, Some(error)));
            }
            Err(_) => {}
        }
        let mut over_tcp = pin!(self.tcp(options, tcp, None, ways));
        let (mut quic_failure, mut tcp_failure) = (None, None);
        loop {
            tokio::select! {
                reached = over_quic.as_mut(), if quic_failure.is_none() => match (reached, &tcp_failure) {
                    (Ok(reached), _) => return Ok(reached),
                    (Err(error), None) if !FINAL.contains(&error.code) => quic_failure = Some(error),
                    (Err(error), _) => return Err(error),
                },
                shaken = over_tcp.as_mut(), if tcp_failure.is_none() => match (shaken, &quic_failure) {
                    (Ok(shaken), _) => return Ok((shaken, Some(quic_failure.unwrap_or_else(slower)))),
                    (Err(error), None) if !FINAL.contains(&error.code) => tcp_failure = Some(error),
                    (Err(error), _) => return Err(error),
                },
            }
        }
    }

    async fn quic(&self, origin: &Origin, options: &Options, protocols: &[Protocol], ways: &Ways) -> Result<Reached> {
        let mut options = Options {
            protocols: protocols.to_vec(),
            ..options.clone()
        };
        let here = options.connect_to.clone();
        let mut elsewhere = false;
        if self.settings.discover {
            let announced = if let Some((host, port)) = self.memory.alternative(origin, protocols) {
                elsewhere = true;
                Some((host.unwrap_or_else(|| origin.host.to_string()), port))
            } else if let Some(service) = self.records.look_up(&origin.host, origin.port).await {
                announced(&service, origin, protocols)?
            } else {
                None
            };
            if let Some(place) = announced {
                options.connect_to = Some(self.settings.resolve.get(&place).cloned().unwrap_or(place));
            }
        }
        let tls = self.tls(&options, ways)?;
        let shaken = connect::open(&options, &tls).await;
        let error = match shaken {
            Err(error) if elsewhere && !FINAL[..2].contains(&error.code) => {
                // An alternative is no more than that (RFC 7838 section 2.4).
                self.memory.forget(origin);
                options.connect_to = here;
                match connect::open(&options, &tls).await {
                    Ok(shaken) => return Ok((shaken, None)),
                    Err(error) => error,
                }
            }
            Err(error) => error,
            Ok(shaken) => return Ok((shaken, None)),
        };
        // Nobody but the host that was asked for is believed, wherever that is.
        match directive(&error).filter(|one| self.permits(one, &self.settings.protocols)) {
            Some(directive) if self.settings.fallback == Fallback::Directed => {
                Ok((self.follow(&options, &directive, ways).await?, Some(error)))
            }
            _ => Err(error),
        }
    }

    /// Go where a server points that does not speak `velocity/1` with us.
    async fn follow(&self, options: &Options, directive: &Directive, ways: &Ways) -> Result<Shaken> {
        let protocol = Protocol::parse(&directive.alpn)
            .ok_or_else(|| Error::connect("ALPN_REQUIRED", "the server points to a protocol that is not known"))?;
        let options = Options {
            protocols: vec![protocol],
            connect_to: Some(place(options, directive)),
            ..options.clone()
        };
        let tls = self.tls(&options, ways)?;
        connect::open(&options, &tls).await
    }

    async fn tcp(
        &self,
        options: &Options,
        protocols: &[Protocol],
        directive: Option<&Directive>,
        ways: &Ways,
    ) -> Result<Shaken> {
        let mut options = Options {
            protocols: protocols.to_vec(),
            ..options.clone()
        };
        if let Some(directive) = directive {
            options.connect_to = Some(place(&options, directive));
        }
        let tls = self.tls(&options, ways)?;
        connect::open(&options, &tls).await
    }

    fn permits(&self, directive: &Directive, protocols: &[Protocol]) -> bool {
        Protocol::parse(&directive.alpn).is_some_and(|protocol| protocols.contains(&protocol))
    }

    fn tls(&self, options: &Options, ways: &Ways) -> Result<Arc<Tls>> {
        let key: Vec<u8> = options.protocols.iter().map(|protocol| *protocol as u8).collect();
        let mut known = ways.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tls) = known.get(&key) {
            return Ok(tls.clone());
        }
        let mut templates = self.templates.lock().unwrap_or_else(PoisonError::into_inner);
        let template = match templates.get(&key) {
            Some(template) => template.clone(),
            None => {
                let template = Tls::template(options)?;
                templates.insert(key.clone(), template.clone());
                template
            }
        };
        drop(templates);
        let tls = Arc::new(Tls::new(template, true));
        known.insert(key, tls.clone());
        Ok(tls)
    }
}

/// What was learnt since the last connection.
impl Drop for Reach {
    fn drop(&mut self) {
        self.memory.save();
    }
}

/// Where a record says that an origin is over QUIC.
fn announced(service: &Service, origin: &Origin, protocols: &[Protocol]) -> Result<Option<(String, u16)>> {
    if !service.protocols.iter().any(|protocol| protocols.contains(protocol)) {
        return Err(Error::connect(
            "ALPN_REQUIRED",
            format!("{} does not speak {}, says DNS", origin.host, super::names(protocols)),
        ));
    }
    let moved = service.target.is_some() || service.port.is_some();
    let host = || service.target.clone().unwrap_or_else(|| origin.host.to_string());
    Ok(moved.then(|| (host(), service.port.unwrap_or(origin.port))))
}

fn spoken(report: &Report) -> Protocol {
    let alpn = report.facts.alpn.as_deref().unwrap_or(b"http/1.1");
    let known = Protocol::ALL.into_iter().find(|one| one.alpn().as_bytes() == alpn);
    known.unwrap_or(Protocol::H1)
}

fn directive(error: &Error) -> Option<Directive> {
    let said = error.details.iter().find(|(name, _)| *name == "fallback");
    said.and_then(|(_, text)| text.parse().ok())
}

fn place(options: &Options, directive: &Directive) -> (String, u16) {
    let host = directive.host.clone().unwrap_or_else(|| options.host.clone());
    (host, directive.port.unwrap_or(options.port))
}

fn slower() -> Error {
    Error::connect("CONNECT_TIMEOUT", "QUIC did not answer as long as TCP took")
}
