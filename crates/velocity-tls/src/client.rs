//! The client's TLS: what to offer, whom to trust, and what to remember of the handshake.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn_proto::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::alpn;
use crate::certificate::Certificate;
use crate::chain::{self, Cause, ChainError, Demands, Level, Roots, Usage};
use crate::error::TlsError;
use crate::facts::Facts;
use crate::material;
use crate::profile::Profile;
use crate::provider::{Aead, WEB_CLASSICAL, WEB_HYBRID, provider};
use crate::quic::WatchedClientConfig;
use crate::scheme::{self, Scheme};
use crate::transcript::Transcript;

/// Servers whose sessions one configuration remembers: it is meant for one.
const TICKETS: usize = 8;

/// Whom a client believes.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The operating system's roots.
    System,
    /// The certificates of this PEM file, instead of the system's.
    Roots(PathBuf),
    /// Anybody. The handshake signature is still checked.
    Anyone,
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct Offer<'a> {
    /// ALPN names, preferred first; of one transport.
    pub protocols: &'a [&'a [u8]],
    /// Demanded under `velocity/1`, and its groups offered under the others.
    pub profile: Option<Profile>,
    pub trust: &'a Trust,
    /// Revocation lists, DER or PEM.
    pub revocation: &'a [PathBuf],
    /// What to show a server that asks who we are.
    pub certificate: Option<Arc<Certificate>>,
}

/// The TLS configuration for one connection at a time, and what its handshake reveals.
pub struct ClientTls {
    config: Arc<ClientConfig>,
    verifier: Verifier,
    judges: bool,
}

/// What the verifier has seen.
#[derive(Default)]
struct Seen {
    /// Of the CertificateVerify; 0 before there was one.
    scheme: AtomicU16,
    /// What the chain rests on, if it passed as a hybrid one.
    level: Mutex<Option<Level>>,
    failure: Mutex<Option<ChainError>>,
    /// Scheme and level of the last full handshake, which those that are resumed rest on.
    kept: Mutex<Option<(u16, Option<Level>)>>,
}

impl ClientTls {
    /// With `velocity/1` the groups are those of the profile, or of all profiles with `balanced` first; other
    /// protocols add X25519MLKEM768 and then classical groups, unless a profile is demanded.
    pub fn new(offer: &Offer<'_>) -> Result<Self, TlsError> {
        let velocity = offer.protocols.contains(&alpn::VELOCITY);
        let others = offer.protocols.iter().any(|protocol| *protocol != alpn::VELOCITY);
        let mut groups: Vec<u16> = Vec::new();
        match offer.profile {
            Some(profile) => groups.extend(profile.groups()),
            None => {
                if velocity {
                    let profiles = [Profile::Balanced, Profile::Secure, Profile::Light];
                    groups.extend(profiles.iter().flat_map(|profile| profile.groups()));
                }
                if others {
                    if !velocity {
                        groups.push(WEB_HYBRID[0]); // `balanced` is the same group
                    }
                    groups.extend(WEB_CLASSICAL);
                }
            }
        }
        let aead = Aead::preferred(offer.profile.unwrap_or_default(), false);
        let provider = provider(&groups, aead);
        let seen = Arc::new(Seen::default());
        let lists = material::load_revocation_lists(offer.revocation)?;
        let level = offer
            .profile
            .filter(|_| velocity)
            .map_or(Level::MlDsa44, Profile::level);
        let verifier = Verifier {
            classical: classical(offer.trust, &lists, &provider)?,
            hybrid: match velocity {
                true => hybrid(offer.trust, &lists)?.map(Arc::new),
                false => None,
            },
            schemes: [
                if velocity { scheme::at_least(level) } else { Vec::new() },
                match others {
                    true => provider.signature_verification_algorithms.supported_schemes(),
                    false => Vec::new(),
                },
            ]
            .concat(),
            velocity,
            others,
            level,
            provider: provider.clone(),
            seen,
        };
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = match velocity || offer.protocols.contains(&alpn::H3) {
            true => builder.with_protocol_versions(&[&rustls::version::TLS13])?,
            false => builder.with_safe_default_protocol_versions()?,
        };
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier.clone()));
        let mut config = match &offer.certificate {
            Some(certificate) => builder.with_client_cert_resolver(Arc::new(Identify(certificate.clone()))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = offer.protocols.iter().map(|protocol| protocol.to_vec()).collect();
        // One connection a configuration: nothing could be resumed.
        config.resumption = Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            verifier,
            judges: !matches!(offer.trust, Trust::Anyone),
        })
    }

    /// The same for another connection, without reading files again. One that `remembers` can be used for several, one
    /// after the other, each of which may resume what an earlier one began.
    #[must_use]
    pub fn again(&self, remembers: bool) -> Self {
        let verifier = Verifier {
            seen: Arc::default(),
            ..self.verifier.clone()
        };
        let mut config = ClientConfig::clone(&self.config);
        config.dangerous().set_certificate_verifier(Arc::new(verifier.clone()));
        config.resumption = match remembers {
            true => Resumption::in_memory_sessions(TICKETS),
            false => Resumption::disabled(),
        };
        Self {
            config: Arc::new(config),
            verifier,
            judges: self.judges,
        }
    }

    /// Forget what the handshake before has revealed.
    pub fn begin(&self) {
        let seen = &self.verifier.seen;
        seen.scheme.store(0, Ordering::Relaxed);
        *lock(&seen.level) = None;
        *lock(&seen.failure) = None;
    }

    /// Whether what a judged connection leaves behind may be resumed: a ticket does not say which protocol it is from, so
    /// one that was had without `velocity/1` must not open it later.
    pub fn may_resume(&self, facts: &Facts) -> bool {
        !self.verifier.velocity || facts.alpn.as_deref() == Some(alpn::VELOCITY)
    }

    /// For TCP.
    pub fn tcp(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// For QUIC; sessions report [`Facts`](crate::Facts) as their handshake data, and fill the transcript.
    pub fn quic(&self, transcript: Option<&Arc<Transcript>>) -> Result<Arc<WatchedClientConfig>, TlsError> {
        let config = QuicClientConfig::try_from(self.config.clone()).map_err(|e| TlsError::Setup(e.to_string()))?;
        Ok(Arc::new(WatchedClientConfig {
            config: Arc::new(config),
            transcript: transcript.cloned(),
        }))
    }

    /// The scheme of the server's CertificateVerify, once there was one.
    pub fn signature_scheme(&self) -> Option<u16> {
        match self.verifier.seen.scheme.load(Ordering::Relaxed) {
            0 => None,
            code => Some(code),
        }
    }

    /// The weakest ML-DSA parameter set of the chain, if it passed as a hybrid one.
    pub fn level(&self) -> Option<Level> {
        *lock(&self.verifier.seen.level)
    }

    /// Why the hybrid chain did not pass.
    pub fn failure(&self) -> Option<ChainError> {
        lock(&self.verifier.seen.failure).clone()
    }

    /// Whether a finished handshake kept the promises of its protocol. Nothing may be sent before.
    ///
    /// TLS settles the protocol before the verifier is asked, and does not tell it: where several were offered,
    /// what `velocity/1` demands can only be looked at here.
    pub fn judge(&self, facts: &Facts) -> Result<(), ChainError> {
        let seen = &self.verifier.seen;
        if facts.resumed {
            let (scheme, level) = lock(&seen.kept).unwrap_or_default();
            seen.scheme.store(scheme, Ordering::Relaxed);
            *lock(&seen.level) = level;
        } else {
            *lock(&seen.kept) = self.signature_scheme().map(|scheme| (scheme, self.level()));
        }
        if facts.alpn.as_deref() != Some(alpn::VELOCITY) {
            return Ok(());
        }
        let Some(profile) = facts.profile() else {
            return Err(broken(Cause::WeakKey, "velocity/1 with a key exchange of no profile"));
        };
        let Some(scheme) = self.signature_scheme().and_then(Scheme::of_code) else {
            return Err(broken(
                Cause::MissingExtension,
                "velocity/1 without a hybrid signature: the certificate is classical only",
            ));
        };
        let level = match self.judges {
            true => self.level(),
            false => Some(scheme.level),
        };
        match level {
            Some(level) if level >= profile.level() => Ok(()),
            Some(level) => Err(broken(
                Cause::WeakKey,
                format!(
                    "the chain rests on {}, below {}",
                    level.as_str(),
                    profile.level().as_str()
                ),
            )),
            None => Err(broken(
                Cause::MissingExtension,
                "velocity/1 with a chain that is classical only",
            )),
        }
    }
}

fn broken(cause: Cause, message: impl Into<String>) -> ChainError {
    ChainError {
        link: 0,
        subject: String::new(),
        cause,
        message: message.into(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The classical verifier behind a [`Trust`]; `None` believes anybody.
fn classical(
    trust: &Trust,
    lists: &[Vec<u8>],
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ServerCertVerifier>>, TlsError> {
    let path = match trust {
        Trust::Anyone => return Ok(None),
        Trust::System => {
            return Ok(Some(Arc::new(rustls_platform_verifier::Verifier::new(
                provider.clone(),
            )?)));
        }
        Trust::Roots(path) => path,
    };
    let invalid = |e: &dyn fmt::Display| unusable(path, e);
    let mut roots = RootCertStore::empty();
    for certificate in material::load_chain(path)? {
        roots.add(certificate).map_err(|e| invalid(&e))?;
    }
    let mut builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .with_crls(lists.iter().map(|list| list.clone().into()));
    if !lists.is_empty() {
        // A list says who is revoked, and nothing about authorities that it is not from.
        builder = builder.allow_unknown_revocation_status();
    }
    Ok(Some(builder.build().map_err(|e| invalid(&e))?))
}

/// What hybrid chains are verified against; `None` believes anybody.
fn hybrid(trust: &Trust, lists: &[Vec<u8>]) -> Result<Option<Roots>, TlsError> {
    let (path, certificates) = match trust {
        Trust::Anyone => return Ok(None),
        Trust::System => (Path::new("the system's roots"), hybrid_roots_of_the_system()),
        Trust::Roots(path) => (path.as_path(), material::load_chain(path)?),
    };
    let roots = Roots::new(&certificates, lists).map_err(|e| unusable(path, &e))?;
    Ok(Some(roots))
}

fn unusable(path: &Path, reason: &dyn fmt::Display) -> TlsError {
    TlsError::Invalid {
        what: "root",
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// The system's roots that have an ML-DSA key. What cannot be read is none.
fn hybrid_roots_of_the_system() -> Vec<CertificateDer<'static>> {
    let mut roots = rustls_native_certs::load_native_certs().certs;
    roots.retain(|root| matches!(chain::alternative_key(root), Ok(Some(_))));
    roots
}

/// Whether hybrid chains could be verified at all: what is trusted has an ML-DSA key, or anything is.
pub fn can_verify_hybrid(trust: &Trust) -> Result<bool, TlsError> {
    Ok(match trust {
        Trust::System => !hybrid_roots_of_the_system().is_empty(),
        _ => hybrid(trust, &[])?.is_none_or(|roots| roots.is_hybrid()),
    })
}

/// Verify a chain by its classical signatures, its name and the present time alone: why it does not pass.
pub fn verify_classical(chain: &[Vec<u8>], host: &str, trust: &Trust) -> Result<Option<String>, TlsError> {
    let provider = provider(&WEB_CLASSICAL, Aead::Aes128);
    let Some(verifier) = classical(trust, &[], &provider)? else {
        return Ok(None);
    };
    let links: Vec<CertificateDer<'_>> = chain.iter().map(|link| CertificateDer::from(link.as_slice())).collect();
    let (Some((leaf, rest)), Ok(name)) = (links.split_first(), ServerName::try_from(host)) else {
        return Ok(Some("there is no chain, or no name".into()));
    };
    let verdict = verifier.verify_server_cert(leaf, rest, &name, &[], UnixTime::now());
    Ok(verdict.err().map(|error| error.to_string()))
}

/// Shows a server the hybrid chain if it can verify one, else the lean one.
#[derive(Debug)]
struct Identify(Arc<Certificate>);

impl ResolvesClientCert for Identify {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        match &self.0.hybrid {
            Some(hybrid) if schemes.contains(&hybrid.scheme.wire()) => Some(hybrid.key.clone()),
            _ => Some(self.0.lean.clone()),
        }
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Checks chains and signatures, each in both ways where `velocity/1` is offered, and remembers what it saw.
#[derive(Clone)]
struct Verifier {
    classical: Option<Arc<dyn ServerCertVerifier>>,
    hybrid: Option<Arc<Roots>>,
    schemes: Vec<SignatureScheme>,
    velocity: bool,
    others: bool,
    level: Level,
    provider: Arc<CryptoProvider>,
    seen: Arc<Seen>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("classical", &self.classical)
            .finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(classical) = &self.classical else {
            return Ok(ServerCertVerified::assertion());
        };
        if let Some(roots) = &self.hybrid
            && (!self.others || matches!(chain::alternative_key(end_entity), Ok(Some(_))))
        {
            let chain: Vec<CertificateDer<'_>> = [end_entity].into_iter().chain(intermediates).cloned().collect();
            let name = server_name.to_str();
            let demands = Demands {
                at: now,
                name: Some(&name),
                usage: Usage::Server,
                at_least: self.level,
            };
            let verified = chain::verify(&chain, roots, &demands).map_err(|error| {
                *lock(&self.seen.failure) = Some(error.clone());
                scheme::invalid(error)
            })?;
            *lock(&self.seen.level) = Some(verified.level);
            return Ok(ServerCertVerified::assertion());
        }
        classical.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.seen.scheme.store(signed.scheme.into(), Ordering::Relaxed);
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.seen.scheme.store(signed.scheme.into(), Ordering::Relaxed);
        let algorithms = &self.provider.signature_verification_algorithms;
        match Scheme::of_code(signed.scheme.into()).filter(|_| self.velocity) {
            Some(scheme) => {
                scheme::verify(scheme, message, certificate, signed.signature(), algorithms).inspect_err(|_| {
                    *lock(&self.seen.failure) = Some(broken(
                        Cause::BadMlDsaSignature,
                        "the handshake is not signed with both keys of the certificate",
                    ));
                })
            }
            None => rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
