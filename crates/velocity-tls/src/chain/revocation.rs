//! Revocation lists (RFC 5280 section 5) with both signatures: read once, asked of every link.

use std::collections::HashMap;
use std::sync::OnceLock;

use bytes::Bytes;
use x509_cert::der::Tag;

use super::certificate::{Certificate, seconds};
use super::der::{self, Malformed};
use super::names::DistinguishedName;
use super::path::{date, refuse};
use super::signature::{AlternativeKey, PublicKey};
use super::signed::{self, ALT_SIGNATURE, Alternative, Kind, Signed};
use super::{Cause, ChainError};

/// Octets of a list that is read.
const MAX_SIZE: usize = 64 << 20;

pub(super) struct RevocationList {
    signed: Signed,
    issuer: DistinguishedName,
    /// Unix seconds.
    this_update: u64,
    next_update: Option<u64>,
    /// When each serial number, the content of its INTEGER, was revoked.
    revoked: HashMap<Bytes, u64>,
    alternative: Alternative,
    /// Whether any extension is critical.
    is_critical: bool,
    /// The keys by which both signatures were found good: a list is long, and every handshake asks it.
    signers: OnceLock<(PublicKey, AlternativeKey)>,
}

impl RevocationList {
    pub(super) fn read(data: &[u8]) -> Result<RevocationList, Malformed> {
        if data.len() > MAX_SIZE {
            return Err(Malformed(format!("it is larger than {MAX_SIZE} bytes")));
        }
        let signed = Signed::read(&Bytes::copy_from_slice(data), Kind::RevocationList)?;
        let fields = signed.fields()?;
        let [version, _, issuer, this_update, rest @ ..] = fields.as_slice() else {
            return Err(Malformed::new("it lacks a field"));
        };
        if version.raw != [2, 1, 1] {
            return Err(Malformed::new("it is not of version 2"));
        }
        let mut rest = rest.iter().peekable();
        let next_update = rest.next_if(|field| matches!(field.tag, Tag::UtcTime | Tag::GeneralizedTime));
        let entries = rest.next_if(|field| field.tag == Tag::Sequence);
        let extensions = rest.next_if(|field| field.tag == der::explicit(0));
        if rest.next().is_some() {
            return Err(Malformed::new("it has fields beyond its extensions"));
        }
        let mut revoked = HashMap::new();
        for entry in entries.map_or(Ok(Vec::new()), |field| der::children(field.content))? {
            let (serial, at) = read_entry(entry.raw)?;
            revoked.entry(signed.share(serial)).or_insert(at);
        }
        let (mut alternative, mut is_critical) = (Alternative::default(), false);
        for extension in extensions.map_or(Ok(Vec::new()), signed::extensions)? {
            alternative.take(&extension, &signed)?;
            is_critical |= extension.critical;
        }
        Ok(RevocationList {
            issuer: DistinguishedName::read(signed.share(issuer.raw))?,
            this_update: seconds(this_update.raw)?,
            next_update: next_update.map(|field| seconds(field.raw)).transpose()?,
            revoked,
            alternative,
            is_critical,
            signers: OnceLock::new(),
            signed,
        })
    }

    /// Whether the list, where it is by the issuer of `certificate`, is good and does not revoke it.
    pub(super) fn check(
        &self,
        link: usize,
        certificate: &Certificate,
        issuer: &Certificate,
        at: u64,
    ) -> Result<(), ChainError> {
        if !self.issuer.is(&certificate.issuer) {
            return Ok(());
        }
        self.check_itself(issuer, at).map_err(|what| {
            let subject = issuer.subject.describe();
            ChainError {
                link: link + 1,
                message: format!("the revocation list of {subject} {what}"),
                subject,
                cause: Cause::BadRevocationList,
            }
        })?;
        match self.revoked.get(&certificate.serial) {
            Some(when) => refuse(
                Cause::Revoked,
                link,
                certificate,
                format!("was revoked at {}", date(*when)),
            ),
            None => Ok(()),
        }
    }

    /// Whether it is by `issuer`, and current (RFC 5280 section 6.3).
    fn check_itself(&self, issuer: &Certificate, at: u64) -> Result<(), String> {
        if issuer.extensions.key_usage.is_some_and(|usage| !usage.crl_sign()) {
            return Err("is by an authority that may not sign one".to_owned());
        }
        self.check_signatures(issuer)?;
        if self.is_critical {
            return Err("has a critical extension, so it may not be complete".to_owned());
        }
        if at < self.this_update {
            return Err(format!(
                "is from {}; the clock says {}",
                date(self.this_update),
                date(at)
            ));
        }
        match self.next_update {
            None => Err("does not say how long it is good".to_owned()),
            Some(end) if at > end => Err(format!("was good until {}", date(end))),
            Some(_) => Ok(()),
        }
    }

    fn check_signatures(&self, issuer: &Certificate) -> Result<(), String> {
        let alternative = issuer.alternative.key.as_ref();
        let known = self.signers.get();
        if known.is_some_and(|(key, other)| *key == issuer.key && Some(other) == alternative) {
            return Ok(());
        }
        if !self.signed.is_by(&issuer.key) {
            return Err("has a bad classical signature".to_owned());
        }
        if self.alternative.signature.is_none() {
            return Err(format!("has no altSignatureValue ({ALT_SIGNATURE})"));
        }
        match alternative {
            Some(key) if self.alternative.is_by(key, &self.signed) => {
                self.signers.get_or_init(|| (issuer.key.clone(), key.clone()));
                Ok(())
            }
            _ => Err("has a bad ML-DSA signature".to_owned()),
        }
    }
}

/// The serial number of an entry, the content of its INTEGER, and when it was revoked.
fn read_entry(entry: &[u8]) -> Result<(&[u8], u64), Malformed> {
    match der::children(der::only(entry, Tag::Sequence)?)?.as_slice() {
        [serial, at] | [serial, at, _] if serial.tag == Tag::Integer => Ok((serial.content, seconds(at.raw)?)),
        _ => Err(Malformed::new("an entry is not a serial number and a time")),
    }
}
