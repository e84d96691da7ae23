//! Client certificates (RFC 9846 section 4.3.2): under `velocity/1` a hybrid chain verified twice, elsewhere
//! a classical one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, RootCertStore, SignatureScheme};

use crate::chain::{self, Demands, Level, Roots, Usage};
use crate::error::TlsError;
use crate::material;
use crate::scheme::{self, Scheme};

/// Whose certificates a server takes.
#[derive(Debug)]
pub struct ClientAuth {
    classical: Arc<dyn ClientCertVerifier>,
    hybrid: Arc<Roots>,
}

impl ClientAuth {
    /// Read the roots, and revocation lists in DER or PEM. With `require` nobody comes without a certificate.
    pub fn load(roots_file: &Path, revocation_files: &[PathBuf], require: bool) -> Result<Arc<Self>, TlsError> {
        let setup = |e: &dyn fmt::Display| TlsError::Invalid {
            what: "client root",
            path: roots_file.to_owned(),
            reason: e.to_string(),
        };
        let roots = material::load_chain(roots_file)?;
        let lists = material::load_revocation_lists(revocation_files)?;
        let mut store = RootCertStore::empty();
        for root in &roots {
            store.add(root.clone()).map_err(|e| setup(&e))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider)
            .with_crls(lists.iter().map(|list| list.clone().into()));
        if !lists.is_empty() {
            // A list says who is revoked, and nothing about authorities that it is not from.
            builder = builder.allow_unknown_revocation_status();
        }
        if !require {
            builder = builder.allow_unauthenticated();
        }
        Ok(Arc::new(Self {
            classical: builder.build().map_err(|e| setup(&e))?,
            hybrid: Arc::new(Roots::new(&roots, &lists).map_err(|e| setup(&e))?),
        }))
    }

    /// The verifier for one kind of configuration; `hybrid` is that of `velocity/1`.
    pub(crate) fn verifier(&self, hybrid: bool) -> Arc<dyn ClientCertVerifier> {
        match hybrid {
            false => self.classical.clone(),
            true => Arc::new(HybridVerifier {
                classical: self.classical.clone(),
                roots: self.hybrid.clone(),
            }),
        }
    }
}

#[derive(Debug)]
struct HybridVerifier {
    classical: Arc<dyn ClientCertVerifier>,
    roots: Arc<Roots>,
}

impl ClientCertVerifier for HybridVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.classical.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.classical.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<CertificateDer<'_>> = [end_entity].into_iter().chain(intermediates).cloned().collect();
        let demands = Demands {
            at: now,
            name: None,
            usage: Usage::Client,
            at_least: Level::MlDsa44,
        };
        chain::verify(&chain, &self.roots, &demands).map_err(scheme::invalid)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(UNADVERTISED)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let scheme = Scheme::of_code(signed.scheme.into()).ok_or(UNADVERTISED)?;
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        scheme::verify(scheme, message, certificate, signed.signature(), &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        scheme::at_least(Level::MlDsa44)
    }
}

const UNADVERTISED: Error = Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme);

/// Whom a client certificate stands for, once it was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The subject, as RFC 4514 writes it.
    pub subject: String,
    /// DNS names and IP addresses of the subjectAltName.
    pub names: Vec<String>,
    /// Fingerprint, lower-case hex SHA-256.
    pub sha256: String,
}

impl Identity {
    /// Read a certificate that was verified; `None` if it is not readable after all.
    pub fn of(leaf: &[u8]) -> Option<Self> {
        let facts = material::describe(leaf, Path::new("")).ok()?;
        Some(Self {
            subject: facts.subject,
            names: facts.names,
            sha256: facts.sha256,
        })
    }
}
