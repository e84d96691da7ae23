//! What is signed twice, certificates and revocation lists alike (ITU-T X.509 (10/2019) sections 7.2.2 and 9.8):
//!
//! ```text
//! 2.5.29.72  subjectAltPublicKeyInfo   SubjectPublicKeyInfo of the subject's ML-DSA key (RFC 9881 section 4)
//! 2.5.29.73  altSignatureAlgorithm     AlgorithmIdentifier of the issuer's ML-DSA signature
//! 2.5.29.74  altSignatureValue         that signature, a BIT STRING
//! ```
//!
//! The alternative signature is over the DER of what is signed without its `signature` field and without .74; the
//! classical one then covers everything.

use std::collections::HashSet;

use bytes::Bytes;
use x509_cert::der::Tag;
use x509_cert::der::asn1::ObjectIdentifier;

use super::der::{self, Element, Malformed};
use super::signature::{AlternativeKey, Level, PublicKey};

pub(super) const ALT_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.72");
pub(super) const ALT_SIGNATURE_ALGORITHM: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.73");
pub(super) const ALT_SIGNATURE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.74");

/// Certificate or CertificateList (RFC 5280 sections 4.1 and 5.1) in its parts.
pub(super) struct Signed {
    /// TBSCertificate or TBSCertList, as it was encoded.
    tbs: Bytes,
    /// Content of the AlgorithmIdentifier.
    algorithm: Bytes,
    signature: Bytes,
    kind: Kind,
}

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Certificate,
    RevocationList,
}

impl Kind {
    /// Where the field `signature` stands, and the tag around the extensions.
    fn layout(self) -> (usize, Tag) {
        match self {
            Kind::Certificate => (2, der::explicit(3)),
            Kind::RevocationList => (1, der::explicit(0)),
        }
    }
}

/// One extension (RFC 5280 section 4.1.2.9).
pub(super) struct Extension<'a> {
    pub(super) name: ObjectIdentifier,
    pub(super) critical: bool,
    pub(super) value: &'a [u8],
}

/// What the three extensions say; None for one that is absent.
#[derive(Default)]
pub(super) struct Alternative {
    pub(super) key: Option<AlternativeKey>,
    pub(super) algorithm: Option<Level>,
    pub(super) signature: Option<Bytes>,
}

impl Signed {
    pub(super) fn read(whole: &Bytes, kind: Kind) -> Result<Signed, Malformed> {
        let parts = der::children(der::only(whole, Tag::Sequence)?)?;
        let [tbs, algorithm, signature] = parts.as_slice() else {
            return Err(Malformed::new("it is not what is signed, how, and the signature"));
        };
        if !der::are(&parts, &[Tag::Sequence, Tag::Sequence, Tag::BitString]) {
            return Err(Malformed::new("it is not what is signed, how, and the signature"));
        }
        let signed = Signed {
            tbs: whole.slice_ref(tbs.raw),
            algorithm: whole.slice_ref(algorithm.content),
            signature: whole.slice_ref(der::bit_string(signature.content)?),
            kind,
        };
        // RFC 5280 sections 4.1.1.2 and 5.1.1.2.
        let (place, _) = kind.layout();
        if signed
            .fields()?
            .get(place)
            .is_none_or(|field| field.raw != algorithm.raw)
        {
            return Err(Malformed::new("it names two signature algorithms"));
        }
        Ok(signed)
    }

    /// The fields of what is signed.
    pub(super) fn fields(&self) -> Result<Vec<Element<'_>>, Malformed> {
        der::children(der::only(&self.tbs, Tag::Sequence)?)
    }

    /// The octets of a part, held without a copy.
    pub(super) fn share(&self, part: &[u8]) -> Bytes {
        self.tbs.slice_ref(part)
    }

    /// Whether the classical signature is that of `key`.
    pub(super) fn is_by(&self, key: &PublicKey) -> bool {
        key.has_signed(&self.algorithm, &self.tbs, &self.signature)
    }

    /// What the alternative signature is made over: no field `signature`, no altSignatureValue.
    pub(super) fn covered(&self) -> Result<Vec<u8>, Malformed> {
        let (place, tag) = self.kind.layout();
        let fields = self.fields()?;
        let Some((last, fields)) = fields.split_last().filter(|(last, _)| last.tag == tag) else {
            return Err(Malformed::new("it has no extensions"));
        };
        let mut kept = Vec::with_capacity(self.tbs.len());
        for extension in der::children(der::only(last.content, Tag::Sequence)?)? {
            if Extension::read(&extension)?.name != ALT_SIGNATURE {
                kept.extend_from_slice(extension.raw);
            }
        }
        let extensions = der::wrap(tag, &der::wrap(Tag::Sequence, &kept)?)?;
        kept.clear();
        for (number, field) in fields.iter().enumerate() {
            if number != place {
                kept.extend_from_slice(field.raw);
            }
        }
        kept.extend_from_slice(&extensions);
        der::wrap(Tag::Sequence, &kept)
    }
}

impl<'a> Extension<'a> {
    fn read(element: &Element<'a>) -> Result<Self, Malformed> {
        element.tag.assert_eq(Tag::Sequence)?;
        let parts = der::children(element.content)?;
        let (name, critical, value) = match parts.as_slice() {
            [name, value] => (name, false, value),
            // FALSE is the default, which DER leaves out.
            [name, critical, value] if critical.raw == [1, 1, 0xff] => (name, true, value),
            _ => return Err(Malformed::new("an extension is not a name and a value")),
        };
        value.tag.assert_eq(Tag::OctetString)?;
        Ok(Extension {
            name: der::object_identifier(name)?,
            critical,
            value: value.content,
        })
    }
}

/// The extensions in the field around them, each there once.
pub(super) fn extensions<'a>(field: &Element<'a>) -> Result<Vec<Extension<'a>>, Malformed> {
    let mut names = HashSet::new();
    let mut found = Vec::new();
    for element in der::children(der::only(field.content, Tag::Sequence)?)? {
        let extension = Extension::read(&element)?;
        if !names.insert(extension.name) {
            return Err(Malformed(format!("its extension {} is there twice", extension.name)));
        }
        found.push(extension);
    }
    Ok(found)
}

impl Alternative {
    /// Take in one of the three extensions of `signed`; false for any other.
    pub(super) fn take(&mut self, extension: &Extension<'_>, signed: &Signed) -> Result<bool, Malformed> {
        let value = signed.share(extension.value);
        match extension.name {
            ALT_KEY => {
                self.key = PublicKey::read(&value)?.ml_dsa();
                if self.key.is_none() {
                    return Err(Malformed::new("its alternative key is not an ML-DSA key"));
                }
            }
            ALT_SIGNATURE_ALGORITHM => {
                self.algorithm = Level::of_identifier(der::only(&value, Tag::Sequence)?);
                if self.algorithm.is_none() {
                    return Err(Malformed::new("its alternative signature algorithm is not ML-DSA"));
                }
            }
            ALT_SIGNATURE => {
                self.signature = Some(value.slice_ref(der::bit_string(der::only(&value, Tag::BitString)?)?));
            }
            _ => return Ok(false),
        }
        if extension.critical {
            return Err(Malformed(format!("its extension {} is critical", extension.name)));
        }
        Ok(true)
    }

    /// The extensions that are absent, as people write them; empty for a hybrid certificate.
    pub(super) fn lacks(&self) -> Vec<String> {
        [
            (self.key.is_none(), "subjectAltPublicKeyInfo", ALT_KEY),
            (
                self.algorithm.is_none(),
                "altSignatureAlgorithm",
                ALT_SIGNATURE_ALGORITHM,
            ),
            (self.signature.is_none(), "altSignatureValue", ALT_SIGNATURE),
        ]
        .into_iter()
        .filter(|(absent, ..)| *absent)
        .map(|(_, name, dotted)| format!("{name} ({dotted})"))
        .collect()
    }

    /// The level of the signature; None where any of the three is absent.
    pub(super) fn level(&self) -> Option<Level> {
        self.algorithm
            .filter(|_| self.key.is_some() && self.signature.is_some())
    }

    /// Whether the signature is there and that of `key` over what `signed` covers.
    pub(super) fn is_by(&self, key: &AlternativeKey, signed: &Signed) -> bool {
        let (Some(signature), Ok(covered)) = (&self.signature, signed.covered()) else {
            return false;
        };
        self.algorithm == Some(key.level) && super::verify_ml_dsa(key.level, &key.key, &covered, signature)
    }
}
