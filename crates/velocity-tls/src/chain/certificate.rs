//! One certificate (RFC 5280 section 4.1), read whole: what a chain is judged by, and the second key and signature.

use bytes::Bytes;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{Decode, Tag};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, NameConstraints, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::Time;

use super::der::{self, Malformed};
use super::names::{self, DistinguishedName};
use super::signature::PublicKey;
use super::signed::{self, Alternative, Extension, Kind, Signed};

/// Octets of a certificate that is read.
pub(super) const MAX_SIZE: usize = 1 << 16;

/// A certificate that is well formed, hybrid or not.
pub(super) struct Certificate {
    der: Bytes,
    signed: Signed,
    /// Content of the INTEGER.
    pub(super) serial: Bytes,
    pub(super) issuer: DistinguishedName,
    /// Unix seconds, of the first second in which it is valid.
    pub(super) not_before: u64,
    /// Unix seconds, of the last.
    pub(super) not_after: u64,
    pub(super) subject: DistinguishedName,
    pub(super) key: PublicKey,
    pub(super) alternative: Alternative,
    pub(super) extensions: Extensions,
}

/// The extensions that decide anything; those that do not are not looked into.
#[derive(Default)]
pub(super) struct Extensions {
    pub(super) basic: Option<BasicConstraints>,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) purposes: Option<Vec<ObjectIdentifier>>,
    /// Empty without subjectAltName.
    pub(super) names: Vec<GeneralName>,
    pub(super) constraints: Option<NameConstraints>,
    subject_key: Option<Bytes>,
    authority_key: Option<Bytes>,
    /// The first critical one that is not among these.
    pub(super) unknown_critical: Option<ObjectIdentifier>,
}

impl Certificate {
    pub(super) fn read(data: &[u8]) -> Result<Certificate, Malformed> {
        if data.len() > MAX_SIZE {
            return Err(Malformed(format!("it is larger than {MAX_SIZE} bytes")));
        }
        let whole = Bytes::copy_from_slice(data);
        let signed = Signed::read(&whole, Kind::Certificate)?;
        let fields = signed.fields()?;
        let [version, serial, _, issuer, validity, subject, key, rest @ ..] = fields.as_slice() else {
            return Err(Malformed::new("it lacks a field"));
        };
        let sequence = Tag::Sequence;
        let shape = [
            der::explicit(0),
            Tag::Integer,
            sequence,
            sequence,
            sequence,
            sequence,
            sequence,
        ];
        if !der::are(&fields[..shape.len()], &shape) || version.content != [2, 1, 2] {
            return Err(Malformed::new("it is not of version 3"));
        }
        der::exact::<SerialNumber>(serial.raw)?;
        if serial.content.first().is_none_or(|first| first & 0x80 != 0) || serial.content == [0] {
            return Err(Malformed::new("its serial number is not positive"));
        }
        let times = der::children(validity.content)?;
        let [not_before, not_after] = times.as_slice() else {
            return Err(Malformed::new("its validity is not two times"));
        };
        let key = PublicKey::read(&signed.share(key.raw))?;
        if !key.is_usable() {
            return Err(Malformed::new(
                "its key is of no kind that certificates are signed with, or is none",
            ));
        }
        let mut alternative = Alternative::default();
        let mut extensions = Extensions::default();
        match rest {
            [] => {}
            [field] if field.tag == der::explicit(3) => {
                for extension in signed::extensions(field)? {
                    if !alternative.take(&extension, &signed)? {
                        extensions.take(&extension)?;
                    }
                }
            }
            // The unique identifiers of RFC 5280 section 4.1.2.8, which MUST NOT be made.
            _ => return Err(Malformed::new("it has fields beyond its extensions")),
        }
        Ok(Certificate {
            serial: signed.share(serial.content),
            issuer: DistinguishedName::read(signed.share(issuer.raw))?,
            not_before: seconds(not_before.raw)?,
            not_after: seconds(not_after.raw)?,
            subject: DistinguishedName::read(signed.share(subject.raw))?,
            key,
            alternative,
            extensions,
            der: whole,
            signed,
        })
    }

    /// As it came.
    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether issuer and subject say the same (RFC 5280 section 3.2).
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer.says(&self.subject)
    }

    /// Whether names and, where both are given, key identifiers (section 4.2.1.1) allow `issuer` to be its issuer.
    pub(super) fn may_be_by(&self, issuer: &Certificate) -> bool {
        let identifiers = (&self.extensions.authority_key, &issuer.extensions.subject_key);
        self.issuer.is(&issuer.subject)
            && !matches!(identifiers, (Some(authority), Some(subject)) if authority != subject)
    }

    /// Whether the classical signature is that of the issuer's key.
    pub(super) fn is_classically_by(&self, issuer: &Certificate) -> bool {
        self.signed.is_by(&issuer.key)
    }

    /// Whether the alternative signature is there and that of the issuer's alternative key.
    pub(super) fn is_alternatively_by(&self, issuer: &Certificate) -> bool {
        let key = issuer.alternative.key.as_ref();
        key.is_some_and(|key| self.alternative.is_by(key, &self.signed))
    }
}

impl Extensions {
    fn take(&mut self, extension: &Extension<'_>) -> Result<(), Malformed> {
        let value = extension.value;
        match extension.name {
            BasicConstraints::OID => self.basic = Some(der::exact(value)?),
            KeyUsage::OID => self.key_usage = Some(der::exact(value)?),
            ExtendedKeyUsage::OID => self.purposes = Some(der::exact::<ExtendedKeyUsage>(value)?.0),
            SubjectAltName::OID => {
                self.names = der::exact::<SubjectAltName>(value)?.0;
                names::check_names(&self.names)?;
            }
            NameConstraints::OID => {
                let constraints = der::exact(value)?;
                names::check_constraints(&constraints)?;
                self.constraints = Some(constraints);
            }
            name => {
                if extension.critical {
                    self.unknown_critical.get_or_insert(name);
                }
                self.take_identifier(extension)?;
            }
        }
        Ok(())
    }

    fn take_identifier(&mut self, extension: &Extension<'_>) -> Result<(), Malformed> {
        let octets = |identifier: x509_cert::der::asn1::OctetString| Bytes::copy_from_slice(identifier.as_bytes());
        match extension.name {
            AuthorityKeyIdentifier::OID => {
                let identifier: AuthorityKeyIdentifier = der::exact(extension.value)?;
                self.authority_key = identifier.key_identifier.map(octets);
            }
            SubjectKeyIdentifier::OID => {
                self.subject_key = Some(octets(der::exact::<SubjectKeyIdentifier>(extension.value)?.0));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Unix seconds of a Time (RFC 5280 section 4.1.2.5).
pub(super) fn seconds(data: &[u8]) -> Result<u64, Malformed> {
    Ok(Time::from_der(data)?.to_unix_duration().as_secs())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn covers_what_the_test_vectors_say() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/hybrid-certificates.json");
        let vectors: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for vector in vectors["signatures"].as_array().unwrap() {
            let octets = |name: &str| {
                let text = vector[name].as_str().unwrap();
                let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
                CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
            };
            let certificate = Certificate::read(&octets("certificate")).unwrap();
            assert_eq!(certificate.signed.covered().unwrap(), octets("covered"));
            let signature = certificate.alternative.signature.as_ref().unwrap();
            assert_eq!(signature[..], octets("alternative_signature"));
        }
    }
}
