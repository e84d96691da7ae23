//! The client's TLS: which groups to offer, whom to trust, and what to remember of the handshake.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use quinn_proto::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::alpn;
use crate::error::TlsError;
use crate::material;
use crate::profile::Profile;
use crate::provider::{Aead, WEB_CLASSICAL, WEB_HYBRID, provider};
use crate::quic::WatchedClientConfig;

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

/// The TLS configuration for one connection, and what its handshake reveals.
pub struct ClientTls {
    config: Arc<ClientConfig>,
    scheme: Arc<AtomicU16>,
}

impl ClientTls {
    /// `protocol` is the only ALPN offered. Under `velocity/1` the groups are those of `profile`, or
    /// of all profiles with `balanced` first; other protocols offer the hybrids and then classical
    /// groups, or only the profile's where one is demanded.
    pub fn new(protocol: &[u8], profile: Option<Profile>, trust: &Trust) -> Result<Self, TlsError> {
        let groups: Vec<u16> = match profile {
            Some(profile) => profile.groups().to_vec(),
            None if protocol == alpn::VELOCITY => [Profile::Balanced, Profile::Secure, Profile::Light]
                .iter()
                .flat_map(|p| p.groups())
                .copied()
                .collect(),
            None => [&WEB_HYBRID[..1], &WEB_CLASSICAL[..]].concat(),
        };
        let aead = Aead::preferred(profile.unwrap_or_default(), false);
        let provider = provider(&groups, aead);
        let scheme = Arc::new(AtomicU16::new(0));
        let verifier = Verifier {
            inner: trusted(trust, &provider)?,
            provider: provider.clone(),
            scheme: scheme.clone(),
        };
        let builder = ClientConfig::builder_with_provider(provider);
        let over_quic = protocol == alpn::VELOCITY || protocol == alpn::H3;
        let builder = match over_quic {
            true => builder.with_protocol_versions(&[&rustls::version::TLS13])?,
            false => builder.with_safe_default_protocol_versions()?,
        };
        let mut config = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        // One connection a configuration: nothing could be resumed.
        config.resumption = Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            scheme,
        })
    }

    /// For TCP.
    pub fn tcp(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// For QUIC; sessions report [`Facts`](crate::Facts) as their handshake data.
    pub fn quic(&self) -> Result<Arc<WatchedClientConfig>, TlsError> {
        let config = QuicClientConfig::try_from(self.config.clone()).map_err(|e| TlsError::Setup(e.to_string()))?;
        Ok(Arc::new(WatchedClientConfig(Arc::new(config))))
    }

    /// The scheme of the server's CertificateVerify, once there was one.
    pub fn signature_scheme(&self) -> Option<u16> {
        match self.scheme.load(Ordering::Relaxed) {
            0 => None,
            code => Some(code),
        }
    }
}

/// The verifier behind a [`Trust`]; `None` believes anybody.
fn trusted(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Option<Arc<dyn ServerCertVerifier>>, TlsError> {
    Ok(match trust {
        Trust::Anyone => None,
        Trust::System => Some(Arc::new(rustls_platform_verifier::Verifier::new(provider.clone())?)),
        Trust::Roots(path) => {
            let invalid = |reason: String| TlsError::Invalid {
                what: "certificate",
                path: path.clone(),
                reason,
            };
            let mut roots = RootCertStore::empty();
            for certificate in material::load_chain(path)? {
                roots.add(certificate).map_err(|e| invalid(e.to_string()))?;
            }
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|e| invalid(e.to_string()))?;
            Some(verifier)
        }
    })
}

/// Delegates trust, checks signatures, and remembers which scheme signed.
struct Verifier {
    inner: Option<Arc<dyn ServerCertVerifier>>,
    provider: Arc<CryptoProvider>,
    scheme: Arc<AtomicU16>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("inner", &self.inner)
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
        match &self.inner {
            None => Ok(ServerCertVerified::assertion()),
            Some(inner) => inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.scheme.store(signed.scheme.into(), Ordering::Relaxed);
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.scheme.store(signed.scheme.into(), Ordering::Relaxed);
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
