//! What can be wrong with certificates, keys and trust anchors, before any handshake.

use std::path::PathBuf;

use thiserror::Error;

#[derive(Debug, Error)]
pub enum TlsError {
    #[error("cannot read {what} {path}: {source}", path = path.display())]
    Unreadable {
        what: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} holds no PEM {what}", path = path.display())]
    Empty { what: &'static str, path: PathBuf },
    #[error("{path} is not a usable {what}: {reason}", path = path.display())]
    Invalid {
        what: &'static str,
        path: PathBuf,
        reason: String,
    },
    #[error("the private key {key} does not belong to the certificate {chain}", key = key.display(), chain = chain.display())]
    Mismatch { chain: PathBuf, key: PathBuf },
    #[error("{0}")]
    Setup(String),
}

impl TlsError {
    /// Stable code, the same in logs, exceptions and documentation.
    pub fn code(&self) -> &'static str {
        match self {
            TlsError::Unreadable { .. } => "CERT_UNREADABLE",
            TlsError::Empty { .. } | TlsError::Invalid { .. } => "CERT_INVALID",
            TlsError::Mismatch { .. } => "CERT_KEY_MISMATCH",
            TlsError::Setup(_) => "TLS_SETUP",
        }
    }

    /// What to try next.
    pub fn hint(&self) -> &'static str {
        match self {
            TlsError::Unreadable { .. } => "check the path and that this user may read it",
            TlsError::Empty {
                what: "private key", ..
            } => "a key file begins with -----BEGIN PRIVATE KEY-----",
            TlsError::Empty { .. } => "a chain file begins with -----BEGIN CERTIFICATE-----, leaf first",
            TlsError::Invalid { .. } => "re-export the file as PEM; ECDSA, Ed25519 and RSA keys are understood",
            TlsError::Mismatch { .. } => "pass the key that was used for the certificate request, or issue both again",
            TlsError::Setup(_) => "",
        }
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        TlsError::Setup(error.to_string())
    }
}
