//! The certificates of a server: loaded, checked against their keys, and chosen by SNI (RFC 6066 section 3).
//!
//! Each has up to two chains for one name and one classical key: a hybrid one for `velocity/1`, and a lean
//! one for everybody else, who would not read 9 KB of ML-DSA.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};

use crate::chain;
use crate::error::TlsError;
use crate::material;
use crate::scheme::{HybridKey, Scheme};

/// Where one certificate is.
#[derive(Clone, Debug)]
pub struct Files {
    /// PEM, leaf first: hybrid, or classical where there is no hybrid one.
    pub chain: PathBuf,
    /// The classical key.
    pub key: PathBuf,
    /// The ML-DSA key of a hybrid chain.
    pub alternative_key: Option<PathBuf>,
    /// A lean chain for the same classical key.
    pub classical_chain: Option<PathBuf>,
}

/// A certificate and its keys, for either side of a handshake.
#[derive(Debug)]
pub struct Certificate {
    /// Names of the subjectAltName, lower case.
    pub names: Vec<String>,
    /// For those who can verify both of its signatures.
    pub hybrid: Option<Hybrid>,
    /// For everybody else.
    pub lean: Arc<CertifiedKey>,
}

/// A chain that signs handshakes twice.
#[derive(Clone, Debug)]
pub struct Hybrid {
    pub scheme: &'static Scheme,
    pub key: Arc<CertifiedKey>,
}

impl Certificate {
    /// Read and check the files.
    ///
    /// A hybrid chain whose pair of keys no scheme of `velocity/1` signs with is served as a classical one.
    pub fn load(files: &Files) -> Result<Self, TlsError> {
        let chain = material::load_chain(&files.chain)?;
        let key = material::load_signing_key(&files.key)?;
        let certified = material::certify(chain.clone(), key.clone(), &files.chain, &files.key)?;
        let hybrid = Self::load_hybrid(files, &chain, key.clone())?;
        let lean = match &files.classical_chain {
            Some(path) => material::certify(material::load_chain(path)?, key, path, &files.key)?,
            None => certified,
        };
        let names = material::describe(&chain[0], &files.chain)?.names; // load_chain gives at least one
        Ok(Self {
            names: names.iter().map(|name| name.to_ascii_lowercase()).collect(),
            hybrid,
            lean,
        })
    }

    fn load_hybrid(
        files: &Files,
        chain: &[CertificateDer<'static>],
        classical: Arc<dyn SigningKey>,
    ) -> Result<Option<Hybrid>, TlsError> {
        let invalid = |what, path: &PathBuf, reason: String| TlsError::Invalid {
            what,
            path: path.clone(),
            reason,
        };
        let alternative =
            chain::alternative_key(&chain[0]).map_err(|e| invalid("certificate", &files.chain, e.to_string()))?;
        let (Some((level, public)), Some(path)) = (alternative, &files.alternative_key) else {
            return Ok(None);
        };
        let pkcs8 = material::load_key(path)?;
        let Some(key) = HybridKey::new(classical, level, pkcs8.secret_der()) else {
            return match material::is_ml_dsa(level, pkcs8.secret_der()) {
                true => Ok(None), // no scheme pairs the two keys
                false => Err(invalid("private key", path, format!("it is no {} key", level.as_str()))),
            };
        };
        if key.alternative_public_key() != public {
            return Err(TlsError::Mismatch {
                chain: files.chain.clone(),
                key: path.clone(),
            });
        }
        Ok(Some(Hybrid {
            scheme: key.scheme,
            key: Arc::new(CertifiedKey::new(chain.to_vec(), Arc::new(key))),
        }))
    }
}

/// All certificates of a server. Exact names win over wildcards; the first certificate answers for all others.
#[derive(Debug)]
pub struct Certificates {
    all: Vec<Certificate>,
    by_name: HashMap<String, usize>,
}

impl Certificates {
    /// Load every one of them, at least one.
    pub fn load(files: &[Files]) -> Result<Self, TlsError> {
        let all = files.iter().map(Certificate::load).collect::<Result<Vec<_>, _>>()?;
        if all.is_empty() {
            return Err(TlsError::Setup("there is no certificate".into()));
        }
        let mut by_name = HashMap::new();
        for (index, certificate) in all.iter().enumerate() {
            for name in &certificate.names {
                by_name.entry(name.clone()).or_insert(index);
            }
        }
        Ok(Self { all, by_name })
    }

    /// The certificate for a server name; that of a wildcard covers one label (RFC 9525 section 6.3).
    pub fn of(&self, server_name: Option<&str>) -> &Certificate {
        let wildcard = |name: &str| {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        };
        let name = server_name.map(str::to_ascii_lowercase);
        let index = name.and_then(|name| self.by_name.get(&name).or_else(|| wildcard(&name)));
        &self.all[index.copied().unwrap_or_default()]
    }

    /// Whether any of them is hybrid.
    pub fn any_hybrid(&self) -> bool {
        self.all.iter().any(|certificate| certificate.hybrid.is_some())
    }
}

/// Gives rustls the hybrid chain for a name.
pub(crate) struct ResolveHybrid(pub Arc<Certificates>);

/// Gives rustls the lean chain for a name.
pub(crate) struct ResolveLean(pub Arc<Certificates>);

impl ResolvesServerCert for ResolveHybrid {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.of(hello.server_name()).hybrid.as_ref()?.key.clone())
    }
}

impl ResolvesServerCert for ResolveLean {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.of(hello.server_name()).lean.clone())
    }
}

impl fmt::Debug for ResolveHybrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResolveHybrid")
    }
}

impl fmt::Debug for ResolveLean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResolveLean")
    }
}
