//! The handshake's part of the Plan.

use std::path::PathBuf;

use serde::Deserialize;
use velocity_tls::{Profile, certificate};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// At least one. Each is for the names it bears; the first answers for all others.
    pub certificates: Vec<Certificate>,
    pub profiles: Profiles,
    pub client_auth: Option<ClientAuth>,
    pub fallback: Fallback,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// PEM, leaf first: hybrid, or classical where there is no hybrid one.
    pub chain_file: PathBuf,
    /// PEM. Read here and only here: key bytes never pass through Python.
    pub key_file: PathBuf,
    /// The ML-DSA key of a hybrid chain.
    pub alternative_key_file: Option<PathBuf>,
    /// A lean chain for the same classical key; without it everybody gets `chain_file`.
    pub classical_chain_file: Option<PathBuf>,
}

impl Certificate {
    pub fn files(&self) -> certificate::Files {
        certificate::Files {
            chain: self.chain_file.clone(),
            key: self.key_file.clone(),
            alternative_key: self.alternative_key_file.clone(),
            classical_chain: self.classical_chain_file.clone(),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profiles {
    pub default: Profile,
    pub permit: Vec<Profile>,
}

/// Client certificates (RFC 9846 section 4.3.2).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientAuth {
    pub roots_file: PathBuf,
    pub mode: ClientAuthMode,
    /// Revocation lists, DER or PEM.
    pub revocation_files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuthMode {
    Request,
    Require,
}

/// Where a client that offers `velocity/1` and does not get it should go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    pub alpn: String,
    /// `None` is the host it asked for.
    pub host: Option<String>,
    /// `None` is the port it came to.
    pub port: Option<u16>,
}
