//! A second opinion on the classical half of a chain: webpki, which rustls has judge ordinary ones.
//!
//! It was written by others and shares no code with ours but the arithmetic of signatures, so a mistake has to be
//! made twice to let a chain pass.

use std::net::IpAddr;

use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor};
use webpki::{
    EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext,
};

use super::names::printable;
use super::signature::CLASSICAL;
use super::{Cause, Demands, Usage};

const SERVER: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 1]);
const CLIENT: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]);
/// anyExtendedKeyUsage (RFC 5280 section 4.2.1.12), which webpki alone takes for one purpose among others.
const ANY_PURPOSE: KeyPurposeId<'static> = KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0x00]);

/// Whether webpki passes what we have passed; else the nearest cause, and its own words.
///
/// A leaf that is trusted itself passes as one issued by its own key.
pub(super) fn ask(
    chain: &[CertificateDer<'_>],
    root: &TrustAnchor<'_>,
    demands: &Demands<'_>,
) -> Result<(), (Cause, String)> {
    judge(chain, root, demands).map_err(|error| (cause(&error), printable(&format!("{error:?}"))))
}

fn judge(chain: &[CertificateDer<'_>], root: &TrustAnchor<'_>, demands: &Demands<'_>) -> Result<(), Error> {
    let (leaf, others) = chain.split_first().ok_or(Error::UnknownIssuer)?;
    let leaf = EndEntityCert::try_from(leaf)?;
    let roots = std::slice::from_ref(root);
    leaf.verify_for_usage(CLASSICAL, roots, others, demands.at, Purpose(demands.usage), None, None)?;
    let Some(name) = demands.name else {
        return Ok(());
    };
    let name = match name.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => ServerName::IpAddress(address.into()),
        Err(_) => ServerName::try_from(name).map_err(|_| Error::UnsupportedNameType)?,
    };
    leaf.verify_is_valid_for_subject_name(&name)
}

fn cause(error: &Error) -> Cause {
    match error {
        Error::CertExpired { .. } => Cause::Expired,
        Error::CertNotValidYet { .. } => Cause::NotYetValid,
        Error::CertNotValidForName(_) | Error::UnsupportedNameType => Cause::WrongName,
        Error::CaUsedAsEndEntity => Cause::CaAsLeaf,
        Error::EndEntityUsedAsCa => Cause::LeafAsCa,
        Error::PathLenConstraintViolated | Error::MaximumPathDepthExceeded => Cause::PathTooLong,
        Error::NameConstraintViolation
        | Error::MalformedNameConstraint
        | Error::MaximumNameConstraintComparisonsExceeded => Cause::NameConstraint,
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => Cause::WrongUsage,
        Error::UnsupportedCriticalExtension => Cause::UnknownCriticalExtension,
        Error::InvalidSignatureForPublicKey
        | Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Cause::BadClassicalSignature,
        Error::UnknownIssuer => Cause::UnknownRoot,
        _ => Cause::Malformed,
    }
}

struct Purpose(Usage);

impl ExtendedKeyUsageValidator for Purpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let (wanted, required) = match self.0 {
            Usage::Server => (SERVER, KeyUsage::server_auth()),
            Usage::Client => (CLIENT, KeyUsage::client_auth()),
        };
        let mut present = Vec::new();
        for purpose in purposes {
            let purpose = purpose?;
            if purpose == wanted || purpose == ANY_PURPOSE {
                return Ok(());
            }
            present.push(purpose.to_decoded_oid());
        }
        match present.is_empty() {
            true => Ok(()),
            false => Err(Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext {
                required,
                present,
            })),
        }
    }
}
