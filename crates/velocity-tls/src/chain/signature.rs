//! Signatures and the keys they are verified with: classical ones (RFC 5480, RFC 8410, RFC 8017) and ML-DSA (FIPS 204,
//! RFC 9881), all by aws-lc-rs.

use std::fmt;

use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use bytes::Bytes;
use rustls::pki_types::{SignatureVerificationAlgorithm, alg_id};
use webpki::aws_lc_rs as algorithms;
use x509_cert::der::Tag;

use super::der::{self, Malformed};

/// Parameter sets of ML-DSA (FIPS 204 section 4), weakest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    MlDsa44,
    MlDsa65,
    MlDsa87,
}

impl Level {
    pub const ALL: [Level; 3] = [Level::MlDsa44, Level::MlDsa65, Level::MlDsa87];

    /// As FIPS 204 writes it: `ML-DSA-65`.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::MlDsa44 => "ML-DSA-44",
            Level::MlDsa65 => "ML-DSA-65",
            Level::MlDsa87 => "ML-DSA-87",
        }
    }

    /// Octets of a public key (FIPS 204 table 2).
    pub(super) fn key_len(self) -> usize {
        match self {
            Level::MlDsa44 => 1312,
            Level::MlDsa65 => 1952,
            Level::MlDsa87 => 2592,
        }
    }

    fn algorithm(self) -> &'static dyn SignatureVerificationAlgorithm {
        match self {
            Level::MlDsa44 => algorithms::ML_DSA_44,
            Level::MlDsa65 => algorithms::ML_DSA_65,
            Level::MlDsa87 => algorithms::ML_DSA_87,
        }
    }

    /// The level whose AlgorithmIdentifier, without parameters (RFC 9881 section 2), has this content.
    pub(super) fn of_identifier(content: &[u8]) -> Option<Level> {
        Level::ALL
            .into_iter()
            .find(|level| *level.algorithm().signature_alg_id() == *content)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether `signature` is the key's over `message`: ML-DSA, empty context.
///
/// `key` is the encoded public key of FIPS 204, not a SubjectPublicKeyInfo.
pub fn verify_ml_dsa(level: Level, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    // aws-lc-rs would read a SubjectPublicKeyInfo too.
    key.len() == level.key_len() && level.algorithm().verify_signature(key, message, signature).is_ok()
}

/// Signature algorithms that are still to be believed, with any curve that goes with them.
pub(super) const CLASSICAL: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P256_SHA512,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ECDSA_P384_SHA512,
    algorithms::ECDSA_P521_SHA256,
    algorithms::ECDSA_P521_SHA384,
    algorithms::ECDSA_P521_SHA512,
    algorithms::ED25519,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
    algorithms::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
    algorithms::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
];

/// SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7): content of the AlgorithmIdentifier, and the key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PublicKey {
    algorithm: Bytes,
    key: Bytes,
}

impl PublicKey {
    pub(super) fn read(info: &Bytes) -> Result<PublicKey, Malformed> {
        let parts = der::children(der::only(info, Tag::Sequence)?)?;
        let [algorithm, key] = parts.as_slice() else {
            return Err(Malformed::new("a public key is not an algorithm and a key"));
        };
        if !der::are(&parts, &[Tag::Sequence, Tag::BitString]) {
            return Err(Malformed::new("a public key is not an algorithm and a key"));
        }
        Ok(PublicKey {
            algorithm: info.slice_ref(algorithm.content),
            key: info.slice_ref(der::bit_string(key.content)?),
        })
    }

    /// Whether it is a key of a kind that signs: a point of its curve, a modulus of 2048 to 8192 bits.
    pub(super) fn is_usable(&self) -> bool {
        let (kind, form): (&'static dyn VerificationAlgorithm, bool) = match &self.algorithm {
            algorithm if *algorithm == *alg_id::ECDSA_P256 => (&ECDSA_P256_SHA256_ASN1, self.is_point()),
            algorithm if *algorithm == *alg_id::ECDSA_P384 => (&ECDSA_P384_SHA384_ASN1, self.is_point()),
            algorithm if *algorithm == *alg_id::ECDSA_P521 => (&ECDSA_P521_SHA512_ASN1, self.is_point()),
            algorithm if *algorithm == *alg_id::ED25519 => (&signature::ED25519, self.key.len() == 32),
            algorithm if *algorithm == *alg_id::RSA_ENCRYPTION => (&RSA_PKCS1_2048_8192_SHA256, true),
            _ => return false,
        };
        form && ParsedPublicKey::new(kind, &self.key).is_ok()
    }

    /// Compressed or not (RFC 5480 section 2.2); aws-lc-rs reads other forms too.
    fn is_point(&self) -> bool {
        matches!(self.key.first(), Some(2..=4))
    }

    /// The ML-DSA key this is, by RFC 9881 section 4.
    pub(super) fn ml_dsa(&self) -> Option<AlternativeKey> {
        let level = Level::of_identifier(&self.algorithm)?;
        (self.key.len() == level.key_len()).then(|| AlternativeKey {
            level,
            key: self.key.clone(),
        })
    }

    /// Whether `signature` is this key's over `message`, by an algorithm that goes with it.
    ///
    /// # Arguments
    ///
    /// * `algorithm` - content of the AlgorithmIdentifier of the signature.
    pub(super) fn has_signed(&self, algorithm: &[u8], message: &[u8], signature: &[u8]) -> bool {
        CLASSICAL
            .iter()
            .filter(|known| *known.public_key_alg_id() == *self.algorithm && *known.signature_alg_id() == *algorithm)
            .any(|known| known.verify_signature(&self.key, message, signature).is_ok())
    }
}

/// An ML-DSA public key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct AlternativeKey {
    pub(super) level: Level,
    /// As FIPS 204 encodes it.
    pub(super) key: Bytes,
}
