//! Signature schemes of `velocity/1`: one CertificateVerify (RFC 9846 section 4.4.3) that carries two
//! signatures over the same content, one classical, one ML-DSA (docs/spec/velocity-1.md section 4).
//!
//! ```text
//! struct {
//!     opaque classical<1..2^16-1>;   as the classical scheme has it
//!     opaque ml_dsa[...];            FIPS 204, empty context; the rest
//! } HybridSignature;
//! ```

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{
    KeyPair, ML_DSA_44_SIGNING, ML_DSA_65_SIGNING, ML_DSA_87_SIGNING, PqdsaKeyPair, PqdsaSigningAlgorithm,
};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::CertificateDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{CertificateError, Error, PeerMisbehaved, SignatureAlgorithm, SignatureScheme};

use crate::chain::{self, Level};

/// A classical signature scheme and an ML-DSA parameter set under one private-use code point.
#[derive(Debug, PartialEq, Eq)]
pub struct Scheme {
    pub code: u16,
    pub name: &'static str,
    pub classical: SignatureScheme,
    pub level: Level,
}

/// Weakest first. rustls drops code points that end in 0, 1 or 2.
pub static ALL: [Scheme; 3] = [
    Scheme {
        code: 0xfe44,
        name: "ecdsa_secp256r1_sha256_mldsa44",
        classical: SignatureScheme::ECDSA_NISTP256_SHA256,
        level: Level::MlDsa44,
    },
    Scheme {
        code: 0xfe65,
        name: "ecdsa_secp256r1_sha256_mldsa65",
        classical: SignatureScheme::ECDSA_NISTP256_SHA256,
        level: Level::MlDsa65,
    },
    Scheme {
        code: 0xfe87,
        name: "ecdsa_secp384r1_sha384_mldsa87",
        classical: SignatureScheme::ECDSA_NISTP384_SHA384,
        level: Level::MlDsa87,
    },
];

impl Scheme {
    pub fn of_code(code: u16) -> Option<&'static Scheme> {
        ALL.iter().find(|scheme| scheme.code == code)
    }

    pub(crate) fn wire(&self) -> SignatureScheme {
        SignatureScheme::from(self.code)
    }
}

/// Code points of the schemes that are strong enough, the usual one first.
pub(crate) fn at_least(level: Level) -> Vec<SignatureScheme> {
    let mut schemes: Vec<&Scheme> = ALL.iter().filter(|scheme| scheme.level >= level).collect();
    schemes.sort_by_key(|scheme| (scheme.level != Level::MlDsa65, scheme.level));
    schemes.into_iter().map(Scheme::wire).collect()
}

pub(crate) fn signing(level: Level) -> &'static PqdsaSigningAlgorithm {
    match level {
        Level::MlDsa44 => &ML_DSA_44_SIGNING,
        Level::MlDsa65 => &ML_DSA_65_SIGNING,
        Level::MlDsa87 => &ML_DSA_87_SIGNING,
    }
}

/// The two keys of a hybrid certificate. It signs under its [`Scheme`] and nothing else.
pub(crate) struct HybridKey {
    pub scheme: &'static Scheme,
    classical: Arc<dyn SigningKey>,
    ml_dsa: Arc<PqdsaKeyPair>,
}

impl HybridKey {
    /// `pkcs8` is the ML-DSA key; `None` if it is none, or no scheme pairs the two.
    pub(crate) fn new(classical: Arc<dyn SigningKey>, level: Level, pkcs8: &[u8]) -> Option<Self> {
        let scheme = ALL
            .iter()
            .find(|scheme| scheme.level == level && classical.choose_scheme(&[scheme.classical]).is_some())?;
        let ml_dsa = Arc::new(PqdsaKeyPair::from_pkcs8(signing(level), pkcs8).ok()?);
        Some(Self {
            scheme,
            classical,
            ml_dsa,
        })
    }

    /// The raw ML-DSA public key.
    pub(crate) fn alternative_public_key(&self) -> &[u8] {
        self.ml_dsa.public_key().as_ref()
    }
}

impl fmt::Debug for HybridKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HybridKey")
            .field("scheme", &self.scheme.name)
            .finish_non_exhaustive()
    }
}

impl SigningKey for HybridKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        if !offered.contains(&self.scheme.wire()) {
            return None;
        }
        Some(Box::new(HybridSigner {
            scheme: self.scheme,
            classical: self.classical.choose_scheme(&[self.scheme.classical])?,
            ml_dsa: self.ml_dsa.clone(),
        }))
    }

    fn public_key(&self) -> Option<rustls::pki_types::SubjectPublicKeyInfoDer<'_>> {
        self.classical.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.classical.algorithm()
    }
}

struct HybridSigner {
    scheme: &'static Scheme,
    classical: Box<dyn Signer>,
    ml_dsa: Arc<PqdsaKeyPair>,
}

impl fmt::Debug for HybridSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HybridSigner").field(&self.scheme.name).finish()
    }
}

impl Signer for HybridSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let failed = || Error::General("signing with the ML-DSA key failed".into());
        let classical = self.classical.sign(message)?;
        let len = u16::try_from(classical.len()).map_err(|_| failed())?;
        let head = 2 + classical.len();
        let mut signature = Vec::with_capacity(head + signing(self.scheme.level).signature_len());
        signature.extend_from_slice(&len.to_be_bytes());
        signature.extend_from_slice(&classical);
        signature.resize(signature.capacity(), 0);
        let written = self
            .ml_dsa
            .sign(message, &mut signature[head..])
            .map_err(|_| failed())?;
        signature.truncate(head + written);
        Ok(signature)
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme.wire()
    }
}

/// Check both halves of the signature in a CertificateVerify with the two keys of `certificate`.
pub(crate) fn verify(
    scheme: &Scheme,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &[u8],
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let bad = || Error::InvalidCertificate(CertificateError::BadSignature);
    let misused = Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme);
    let (&len, rest) = signature.split_first_chunk::<2>().ok_or_else(bad)?;
    let (classical, ml_dsa) = rest
        .split_at_checked(usize::from(u16::from_be_bytes(len)))
        .ok_or_else(bad)?;

    let algorithm = algorithms
        .mapping
        .iter()
        .find(|(known, _)| *known == scheme.classical)
        // In TLS 1.3 a scheme names one curve, which is the first of those that TLS 1.2 would take.
        .and_then(|(_, algorithms)| algorithms.first())
        .ok_or_else(bad)?;
    webpki::EndEntityCert::try_from(certificate)
        .and_then(|leaf| leaf.verify_signature(*algorithm, message, classical))
        .map_err(|_| bad())?;

    match chain::alternative_key(certificate) {
        Ok(Some((level, key))) if level == scheme.level => match chain::verify_ml_dsa(level, &key, message, ml_dsa) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(bad()),
        },
        Ok(_) => Err(misused),
        Err(error) => Err(invalid(error)),
    }
}

/// The code of every failure to verify a hybrid chain or signature: in errors, logs and counters.
pub const PQ_VALIDATION_FAILED: &str = "CERT_PQ_VALIDATION_FAILED";

/// A chain that did not pass, as rustls reports it.
pub(crate) fn invalid(error: chain::ChainError) -> Error {
    Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(Arc::new(Failed(error)))))
}

/// rustls shows the Debug form of what it does not know itself.
struct Failed(chain::ChainError);

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PQ_VALIDATION_FAILED}: {}", self.0)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Failed {}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The vectors of the specification, signed by another implementation.
    fn vectors() -> Vec<(&'static Scheme, CertificateDer<'static>, Vec<u8>, Vec<u8>)> {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/vectors/handshake-signatures.json"
        );
        let json: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let vectors = json["signatures"].as_array().unwrap().iter().map(|vector| {
            let bytes = |name: &str| rustls_pki_base64(vector[name].as_str().unwrap());
            let code = u16::from_str_radix(&vector["scheme"].as_str().unwrap()[2..], 16).unwrap();
            (
                Scheme::of_code(code).unwrap(),
                bytes("certificate").into(),
                bytes("message"),
                bytes("signature"),
            )
        });
        vectors.collect()
    }

    /// Base64 by way of PEM, which is there anyway.
    fn rustls_pki_base64(text: &str) -> Vec<u8> {
        use rustls::pki_types::pem::PemObject;
        let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
    }

    fn passes(scheme: &Scheme, message: &[u8], certificate: &CertificateDer<'_>, signature: &[u8]) -> bool {
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
        verify(scheme, message, certificate, signature, &algorithms).is_ok()
    }

    #[test]
    fn the_vectors_of_the_specification_pass() {
        let vectors = vectors();
        assert_eq!(vectors.len(), 2 * ALL.len());
        for (scheme, certificate, message, signature) in vectors {
            assert!(passes(scheme, &message, &certificate, &signature), "{}", scheme.name);
        }
    }

    #[test]
    fn half_a_signature_is_none() {
        for (scheme, certificate, message, signature) in vectors() {
            let classical = 2 + usize::from(u16::from_be_bytes([signature[0], signature[1]]));
            let stripped = [
                &signature[..classical],
                &signature[classical..],
                &[&[0, 0], &signature[classical..]].concat(),
                &signature[..signature.len() - 1],
                &[&signature[..], &[0]].concat(),
                &[],
            ];
            for part in stripped {
                assert!(!passes(scheme, &message, &certificate, part), "{}", scheme.name);
            }
            for at in (0..signature.len()).step_by(37).chain([1, 2, classical - 1, classical]) {
                let mut flipped = signature.clone();
                flipped[at] ^= 4;
                assert!(
                    !passes(scheme, &message, &certificate, &flipped),
                    "{} {at}",
                    scheme.name
                );
            }
        }
    }

    #[test]
    fn a_signature_is_good_for_its_message_scheme_and_certificate_alone() {
        let vectors = vectors();
        for (index, (scheme, certificate, message, signature)) in vectors.iter().enumerate() {
            for (other, (another, stranger, elsewhere, _)) in vectors.iter().enumerate() {
                if message != elsewhere {
                    assert!(!passes(scheme, elsewhere, certificate, signature), "{index} {other}");
                }
                if scheme != another {
                    assert!(!passes(another, message, certificate, signature), "{index} {other}");
                    assert!(!passes(scheme, message, stranger, signature), "{index} {other}");
                }
            }
        }
    }

    #[test]
    fn a_key_signs_under_its_own_scheme_only() {
        let schemes: Vec<SignatureScheme> = ALL.iter().map(Scheme::wire).collect();
        assert_eq!(at_least(Level::MlDsa44), [schemes[1], schemes[0], schemes[2]]);
        assert_eq!(at_least(Level::MlDsa65), schemes[1..]);
        assert_eq!(at_least(Level::MlDsa87), schemes[2..]);
    }
}
