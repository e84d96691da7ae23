//! One path from a leaf to a trusted root (RFC 5280 section 6.1), every link by both of its signatures.
//!
//! Signatures come first, from the root down, and what certificates say is looked at only then: nothing is reported
//! of a certificate that nobody vouched for, but that nobody did.

use std::fmt;
use std::time::Duration;

use x509_cert::der::DateTime;
use x509_cert::der::asn1::ObjectIdentifier;

use super::certificate::Certificate;
use super::names;
use super::revocation::RevocationList;
use super::{Cause, ChainError, Demands, Level, Usage};

const ANY_EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

type Checked = Result<(), ChainError>;

/// What is wrong with the certificate at `link`.
pub(super) fn error(cause: Cause, link: usize, certificate: &Certificate, what: impl fmt::Display) -> ChainError {
    let subject = certificate.subject.describe();
    ChainError {
        link,
        message: format!("certificate {link} of the chain ({subject}) {what}"),
        subject,
        cause,
    }
}

pub(super) fn refuse<T>(
    cause: Cause,
    link: usize,
    certificate: &Certificate,
    what: impl fmt::Display,
) -> Result<T, ChainError> {
    Err(error(cause, link, certificate, what))
}

/// A time for people; Unix seconds.
pub(super) fn date(seconds: u64) -> String {
    match DateTime::from_unix_duration(Duration::from_secs(seconds)) {
        Ok(time) => time.to_string().replace('T', " "),
        Err(_) => format!("{seconds} s after 1970"),
    }
}

/// Judge a path of at least one, leaf first and trusted root last; both are one where the leaf itself is trusted.
///
/// Returns the weakest parameter set that anything in it rests on.
pub(super) fn check(
    path: &[&Certificate],
    lists: &[RevocationList],
    demands: &Demands<'_>,
) -> Result<Level, ChainError> {
    let at = demands.at.as_secs();
    for (link, certificate) in path.iter().enumerate().rev() {
        check_signatures(link, certificate, path.get(link + 1).unwrap_or(certificate))?;
    }
    for (link, certificate) in path.iter().enumerate().rev() {
        check_critical(link, certificate)?;
        check_time(link, certificate, at)?;
        if link > 0 {
            check_issuer(link, path, demands.usage)?;
        }
    }
    check_leaf(path[0], demands)?;
    for (link, pair) in path.windows(2).enumerate().rev() {
        for list in lists {
            list.check(link, pair[0], pair[1], at)?;
        }
    }
    check_strength(path, demands.at_least)
}

fn check_signatures(link: usize, certificate: &Certificate, issuer: &Certificate) -> Checked {
    let by = || match std::ptr::eq(certificate, issuer) {
        true => "its own".to_owned(),
        false => format!("by {}", issuer.subject.describe()),
    };
    if !certificate.issuer.is(&issuer.subject) {
        let (other, next) = (certificate.issuer.describe(), issuer.subject.describe());
        let what = format!("was issued by {other}, but {next} comes next");
        return refuse(Cause::UnknownRoot, link, certificate, what);
    }
    if !certificate.is_classically_by(issuer) {
        let what = format!("has a classical signature that is not {}", by());
        return refuse(Cause::BadClassicalSignature, link, certificate, what);
    }
    let Some(level) = certificate.alternative.level() else {
        let lacks = certificate.alternative.lacks().join(" and no ");
        return refuse(Cause::MissingExtension, link, certificate, format!("has no {lacks}"));
    };
    if !certificate.is_alternatively_by(issuer) {
        let what = format!("has an {level} signature that is not {}", by());
        return refuse(Cause::BadMlDsaSignature, link, certificate, what);
    }
    Ok(())
}

fn check_critical(link: usize, certificate: &Certificate) -> Checked {
    match certificate.extensions.unknown_critical {
        Some(name) => {
            let what = format!("has a critical extension {name}");
            refuse(Cause::UnknownCriticalExtension, link, certificate, what)
        }
        None => Ok(()),
    }
}

fn check_time(link: usize, certificate: &Certificate, at: u64) -> Checked {
    let (begin, end, clock) = (certificate.not_before, certificate.not_after, date(at));
    if at < begin {
        let what = format!("is not valid before {}; the clock says {clock}", date(begin));
        return refuse(Cause::NotYetValid, link, certificate, what);
    }
    if at > end {
        let what = format!("expired at {}; the clock says {clock}", date(end));
        return refuse(Cause::Expired, link, certificate, what);
    }
    Ok(())
}

/// Whether the certificate at `link` may have issued those below it.
fn check_issuer(link: usize, path: &[&Certificate], usage: Usage) -> Checked {
    let certificate = path[link];
    let extensions = &certificate.extensions;
    let Some(basic) = extensions.basic.as_ref().filter(|basic| basic.ca) else {
        let what = "is not one of an authority, but another was issued with it";
        return refuse(Cause::LeafAsCa, link, certificate, what);
    };
    if extensions.key_usage.is_some_and(|usage| !usage.key_cert_sign()) {
        return refuse(Cause::WrongUsage, link, certificate, "may not sign certificates");
    }
    let below = path[1..link].iter().filter(|one| !one.is_self_issued()).count();
    if let Some(most) = basic.path_len_constraint.filter(|most| below > usize::from(*most)) {
        let is = if below == 1 { "is" } else { "are" };
        let what = format!("allows {most} authorities below it, and there {is} {below}");
        return refuse(Cause::PathTooLong, link, certificate, what);
    }
    check_purpose(link, certificate, usage)?;
    let Some(constraints) = &extensions.constraints else {
        return Ok(());
    };
    for (lower, one) in path[..link].iter().enumerate().rev() {
        if lower > 0 && one.is_self_issued() {
            continue;
        }
        if let Some(name) = names::violation(constraints, &one.extensions.names, &one.subject) {
            let what = format!("bears {name}, which {} may not certify", certificate.subject.describe());
            return refuse(Cause::NameConstraint, lower, one, what);
        }
    }
    Ok(())
}

fn check_leaf(leaf: &Certificate, demands: &Demands<'_>) -> Checked {
    let extensions = &leaf.extensions;
    if extensions.basic.as_ref().is_some_and(|basic| basic.ca) {
        let what = "is one of an authority and cannot stand for a server or client";
        return refuse(Cause::CaAsLeaf, 0, leaf, what);
    }
    if extensions.key_usage.is_some_and(|usage| !usage.digital_signature()) {
        return refuse(Cause::WrongUsage, 0, leaf, "may not sign handshakes");
    }
    check_purpose(0, leaf, demands.usage)?;
    match demands.name {
        Some(name) if !names::covers(&extensions.names, name) => {
            let borne = names::listed(&names::written(&extensions.names));
            let what = format!("is not for {}; it bears {borne}", names::printable(name));
            refuse(Cause::WrongName, 0, leaf, what)
        }
        _ => Ok(()),
    }
}

fn check_purpose(link: usize, certificate: &Certificate, usage: Usage) -> Checked {
    match &certificate.extensions.purposes {
        Some(purposes) if !purposes.contains(&ANY_EXTENDED_KEY_USAGE) && !purposes.contains(&usage.purpose()) => {
            refuse(Cause::WrongUsage, link, certificate, format!("is not for {usage}s"))
        }
        _ => Ok(()),
    }
}

/// The weakest level in the path, unless it is below `at_least`.
fn check_strength(path: &[&Certificate], at_least: Level) -> Result<Level, ChainError> {
    let mut weakest = Level::MlDsa87;
    for (link, certificate) in path.iter().enumerate() {
        let alternative = &certificate.alternative;
        let levels = alternative.key.iter().map(|key| key.level).chain(alternative.algorithm);
        let level = levels.min().unwrap_or(Level::MlDsa44);
        if level < at_least {
            return refuse(
                Cause::WeakKey,
                link,
                certificate,
                format!("rests on {level}, below {at_least}"),
            );
        }
        weakest = weakest.min(level);
    }
    Ok(weakest)
}
