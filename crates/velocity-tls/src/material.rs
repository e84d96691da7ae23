//! Certificates and private keys, from files to what rustls signs with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::signature::PqdsaKeyPair;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};

use crate::chain::{self, Level};
use crate::error::TlsError;
use crate::scheme;

/// The certificates of a PEM file, in order; at least one.
pub fn load_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let what = "certificate";
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|e| pem_error(what, path, e))?;
    if chain.is_empty() {
        Err(TlsError::Empty {
            what,
            path: path.to_owned(),
        })
    } else {
        Ok(chain)
    }
}

/// The private key of a PEM file. rustls zeroizes the DER when it is dropped.
pub fn load_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| pem_error("private key", path, e))
}

/// A classical private key, ready to sign.
pub fn load_signing_key(path: &Path) -> Result<Arc<dyn SigningKey>, TlsError> {
    any_supported_type(&load_key(path)?).map_err(|e| TlsError::Invalid {
        what: "private key",
        path: path.to_owned(),
        reason: e.to_string(),
    })
}

/// A chain with its key, checked to belong together; the paths are for the error text.
pub fn certify(
    chain: Vec<CertificateDer<'static>>,
    key: Arc<dyn SigningKey>,
    chain_file: &Path,
    key_file: &Path,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(Arc::new(certified)),
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::Mismatch {
            chain: chain_file.to_owned(),
            key: key_file.to_owned(),
        }),
        Err(e) => Err(TlsError::Invalid {
            what: "certificate",
            path: chain_file.to_owned(),
            reason: e.to_string(),
        }),
    }
}

/// Whether a PKCS#8 key is of this ML-DSA parameter set.
pub(crate) fn is_ml_dsa(level: Level, pkcs8: &[u8]) -> bool {
    PqdsaKeyPair::from_pkcs8(scheme::signing(level), pkcs8).is_ok()
}

/// Revocation lists, DER or PEM, as DER.
pub fn load_revocation_lists(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, TlsError> {
    let mut lists = Vec::new();
    for path in paths {
        let bytes = std::fs::read(path).map_err(|e| pem_error("revocation list", path, pem::Error::Io(e)))?;
        if bytes.starts_with(b"-----") {
            for list in CertificateRevocationListDer::pem_slice_iter(&bytes) {
                lists.push(list.map_err(|e| pem_error("revocation list", path, e))?.to_vec());
            }
        } else {
            lists.push(bytes);
        }
    }
    Ok(lists)
}

/// Lower-case hex SHA-256 of a certificate: what people call its fingerprint.
pub fn fingerprint(certificate: &[u8]) -> String {
    digest::digest(&digest::SHA256, certificate)
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn pem_error(what: &'static str, path: &Path, error: pem::Error) -> TlsError {
    let path = path.to_owned();
    match error {
        pem::Error::Io(source) => TlsError::Unreadable { what, path, source },
        pem::Error::NoItemsFound => TlsError::Empty { what, path },
        other => TlsError::Invalid {
            what,
            path,
            reason: other.to_string(),
        },
    }
}

/// What people want to know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Fingerprint, lower-case hex.
    pub sha256: String,
    /// As RFC 4514 writes it.
    pub subject: String,
    /// DNS names and IP addresses of the subject alternative name.
    pub names: Vec<String>,
    /// Unix seconds.
    pub not_before: u64,
    /// Unix seconds.
    pub not_after: u64,
    /// Of the alternative key; `None` for a classical certificate.
    pub level: Option<Level>,
}

/// Read the facts of one certificate; `path` is for the error text.
pub fn describe(certificate: &[u8], path: &Path) -> Result<Description, TlsError> {
    use x509_cert::Certificate;
    use x509_cert::der::Decode;
    use x509_cert::ext::pkix::SubjectAltName;
    use x509_cert::ext::pkix::name::GeneralName;

    let invalid = |e: x509_cert::der::Error| TlsError::Invalid {
        what: "certificate",
        path: path.to_owned(),
        reason: e.to_string(),
    };
    let parsed = Certificate::from_der(certificate).map_err(invalid)?;
    let tbs = parsed.tbs_certificate();
    let mut names = Vec::new();
    if let Some((_critical, san)) = tbs.get_extension::<SubjectAltName>().map_err(invalid)? {
        for name in &san.0 {
            match name {
                GeneralName::DnsName(name) => names.push(name.to_string()),
                GeneralName::IpAddress(address) => {
                    let bytes = address.as_bytes();
                    let v4 = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
                    let v6 = <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from);
                    names.extend(v4.or(v6).map(|address| address.to_string()));
                }
                _ => {}
            }
        }
    }
    let validity = tbs.validity();
    Ok(Description {
        sha256: fingerprint(certificate),
        subject: tbs.subject().to_string(),
        names,
        not_before: validity.not_before.to_unix_duration().as_secs(),
        not_after: validity.not_after.to_unix_duration().as_secs(),
        level: chain::alternative_key(certificate)
            .map_err(|e| TlsError::Invalid {
                what: "certificate",
                path: path.to_owned(),
                reason: e.to_string(),
            })?
            .map(|(level, _)| level),
    })
}
