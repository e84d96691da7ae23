//! A certificate chain, verified twice: by its classical signatures, and by its ML-DSA signatures.
//!
//! Velocity/1 section 5.2: path validation is that of RFC 5280 section 6.1, with no policies, on a chain in the order
//! TLS 1.3 asks for (RFC 9846 section 4.4.2), up to a trusted root that has an ML-DSA key itself. A link passes only if
//! both of its signatures do; nothing falls back to one. What we pass, webpki has to pass too.
//!
//! Everything in a chain is a peer's to choose: certificates above 64 KiB and chains above 8 are not read, nothing
//! but DER is, and no octets make it panic.

mod certificate;
mod der;
mod names;
mod opinion;
mod path;
mod revocation;
mod signature;
mod signed;

use std::fmt;

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use thiserror::Error;
use x509_cert::der::asn1::ObjectIdentifier;

use certificate::Certificate;
use revocation::RevocationList;
pub use signature::{Level, verify_ml_dsa};

/// Certificates of a chain that is verified.
const MAX_LINKS: usize = 8;

/// Why a chain did not pass. The names are those of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    Malformed,
    MissingExtension,
    BadMlDsaSignature,
    BadClassicalSignature,
    UnknownRoot,
    Expired,
    NotYetValid,
    WrongName,
    CaAsLeaf,
    LeafAsCa,
    PathTooLong,
    NameConstraint,
    Revoked,
    BadRevocationList,
    WrongUsage,
    UnknownCriticalExtension,
    WeakKey,
}

impl Cause {
    pub const ALL: [Cause; 17] = [
        Cause::Malformed,
        Cause::MissingExtension,
        Cause::BadMlDsaSignature,
        Cause::BadClassicalSignature,
        Cause::UnknownRoot,
        Cause::Expired,
        Cause::NotYetValid,
        Cause::WrongName,
        Cause::CaAsLeaf,
        Cause::LeafAsCa,
        Cause::PathTooLong,
        Cause::NameConstraint,
        Cause::Revoked,
        Cause::BadRevocationList,
        Cause::WrongUsage,
        Cause::UnknownCriticalExtension,
        Cause::WeakKey,
    ];

    /// Stable, lower snake case: `missing_extension`.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Malformed => "malformed",
            Cause::MissingExtension => "missing_extension",
            Cause::BadMlDsaSignature => "bad_ml_dsa_signature",
            Cause::BadClassicalSignature => "bad_classical_signature",
            Cause::UnknownRoot => "unknown_root",
            Cause::Expired => "expired",
            Cause::NotYetValid => "not_yet_valid",
            Cause::WrongName => "wrong_name",
            Cause::CaAsLeaf => "ca_as_leaf",
            Cause::LeafAsCa => "leaf_as_ca",
            Cause::PathTooLong => "path_too_long",
            Cause::NameConstraint => "name_constraint",
            Cause::Revoked => "revoked",
            Cause::BadRevocationList => "bad_revocation_list",
            Cause::WrongUsage => "wrong_usage",
            Cause::UnknownCriticalExtension => "unknown_critical_extension",
            Cause::WeakKey => "weak_key",
        }
    }

    /// What to do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Cause::Malformed => "the file or what was received is damaged: fetch or issue it again",
            Cause::MissingExtension => {
                "it is an ordinary certificate: make a hybrid one with velocity cert issue or cert hybridize"
            }
            Cause::BadMlDsaSignature | Cause::BadClassicalSignature => {
                "it was not issued by that authority, or changed since: issue it again"
            }
            Cause::UnknownRoot => "pass the root of its authority with --cacert; velocity ca export-root prints it",
            Cause::Expired => "renew it; if it should still be valid, check the clock of this machine",
            Cause::NotYetValid => "check the clocks of this machine and of the authority",
            Cause::WrongName => "ask for a name that it bears, or issue one that bears this name",
            Cause::CaAsLeaf => "serve a certificate that the authority issued, not its own",
            Cause::LeafAsCa => "put the certificate of the authority after it, not one that may not issue",
            Cause::PathTooLong => "issue from an authority nearer to the root",
            Cause::NameConstraint => "the authority may not certify this name: use one that may",
            Cause::Revoked => "issue a new one with new keys",
            Cause::BadRevocationList => "fetch the authority's list again; velocity ca crl makes a fresh one",
            Cause::WrongUsage => "issue one for this purpose: velocity cert issue, with --client for clients",
            Cause::UnknownCriticalExtension => {
                "it demands something that Velocity does not know; use another certificate"
            }
            Cause::WeakKey => "issue the chain with a stronger profile: velocity cert issue --profile",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A chain did not pass: which link, and why.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
pub struct ChainError {
    /// Place in the chain, 0 being the leaf and the one after the last the root, if that was not sent.
    pub link: usize,
    /// Whom that certificate names; empty where it could not be read.
    pub subject: String,
    pub cause: Cause,
    /// One line, without a full stop.
    pub message: String,
}

/// What a leaf is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Usage {
    Server,
    Client,
}

impl Usage {
    /// Its extended key usage (RFC 5280 section 4.2.1.12).
    fn purpose(self) -> ObjectIdentifier {
        match self {
            Usage::Server => ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"),
            Usage::Client => ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2"),
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Usage::Server => "server",
            Usage::Client => "client",
        })
    }
}

/// What is trusted: roots, or certificates that are signed by themselves; and what was taken back.
pub struct Roots {
    roots: Vec<(Certificate, TrustAnchor<'static>)>,
    lists: Vec<RevocationList>,
}

impl Roots {
    /// Read everything once.
    ///
    /// # Arguments
    ///
    /// * `certificates` - what is trusted.
    /// * `revocation` - revocation lists, DER. Where one is by the issuer of a link, it has to be current and to have
    ///   both signatures; lists of other authorities are passed over.
    ///
    /// # Errors
    ///
    /// `malformed` for a certificate and `bad_revocation_list` for a list that cannot be read; `link` is its place among
    /// its like.
    pub fn new(certificates: &[CertificateDer<'_>], revocation: &[Vec<u8>]) -> Result<Roots, ChainError> {
        let roots = certificates.iter().enumerate().map(|(place, der)| {
            let unreadable = |why: &dyn fmt::Display| ChainError {
                link: place,
                subject: String::new(),
                cause: Cause::Malformed,
                message: format!("trusted certificate {place} is malformed: {why}"),
            };
            let certificate = Certificate::read(der).map_err(|why| unreadable(&why))?;
            let anchor = webpki::anchor_from_trusted_cert(der).map_err(|why| unreadable(&why))?;
            Ok::<_, ChainError>((certificate, anchor.to_owned()))
        });
        let lists = revocation.iter().enumerate().map(|(place, der)| {
            RevocationList::read(der).map_err(|why| ChainError {
                link: place,
                subject: String::new(),
                cause: Cause::BadRevocationList,
                message: format!("a revocation list cannot be read: {why}"),
            })
        });
        Ok(Roots {
            roots: roots.collect::<Result<_, _>>()?,
            lists: lists.collect::<Result<_, _>>()?,
        })
    }

    /// Whether any root has an alternative key: without one no chain can pass.
    pub fn is_hybrid(&self) -> bool {
        self.roots.iter().any(|(root, _)| root.alternative.key.is_some())
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subjects = self.roots.iter().map(|(root, _)| root.subject.describe());
        f.debug_struct("Roots")
            .field("roots", &subjects.collect::<Vec<_>>())
            .field("lists", &self.lists.len())
            .finish()
    }
}

/// What is asked of a chain.
#[derive(Clone, Copy, Debug)]
pub struct Demands<'a> {
    /// For when it should be valid.
    pub at: UnixTime,
    /// DNS name or IP address the leaf must be good for; None looks at no name.
    pub name: Option<&'a str>,
    pub usage: Usage,
    /// The weakest ML-DSA parameter set to accept anywhere in the chain.
    pub at_least: Level,
}

/// A chain that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The weakest ML-DSA parameter set that anything in it rests on.
    pub level: Level,
    /// Whom the leaf names, for people: one line of bounded length.
    pub subject: String,
    /// The DNS names and then the IP addresses of the leaf.
    pub leaf_names: Vec<String>,
}

/// Verify a chain by both of its signatures.
///
/// # Arguments
///
/// * `chain` - leaf first, each issued by the next; the root may end it or be left out.
///
/// # Errors
///
/// Which link does not pass, and why. Where several roots of one name come into question, it is of the first.
pub fn verify(chain: &[CertificateDer<'_>], roots: &Roots, demands: &Demands<'_>) -> Result<Verified, ChainError> {
    if chain.len() > MAX_LINKS {
        return Err(wrong_length(chain.len()));
    }
    let links = chain.iter().enumerate().map(|(link, der)| read(der, link));
    let links = links.collect::<Result<Vec<_>, _>>()?;
    let (Some(leaf), Some(last)) = (links.first(), links.last()) else {
        return Err(wrong_length(0));
    };
    let sent = roots.roots.iter().find(|(root, _)| root.der() == last.der());
    let mut failure = None;
    for (root, anchor) in roots
        .roots
        .iter()
        .filter(|(root, _)| sent.is_none() && last.may_be_by(root))
        .chain(sent)
    {
        let above = sent.is_none().then_some(root);
        let path: Vec<&Certificate> = links.iter().chain(above).collect();
        let level = path::check(&path, &roots.lists, demands).and_then(|level| {
            opinion::ask(chain, anchor, demands)
                .map(|()| level)
                .map_err(|(cause, words)| path::error(cause, 0, leaf, format!("is refused by webpki: {words}")))
        });
        match level {
            Ok(level) => {
                return Ok(Verified {
                    level,
                    subject: leaf.subject.describe(),
                    leaf_names: names::written(&leaf.extensions.names),
                });
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| {
        let what = match last.is_self_issued() {
            true => "is signed by itself and not trusted".to_owned(),
            false => format!("was issued by {}, which is no trusted root", last.issuer.describe()),
        };
        path::error(Cause::UnknownRoot, links.len() - 1, last, what)
    }))
}

/// The alternative public key of one certificate, as FIPS 204 encodes it, and its level; None without one.
///
/// No chain is verified: whose key it is has to be known otherwise.
///
/// # Errors
///
/// `malformed`: the certificate cannot be read.
pub fn alternative_key(certificate: &[u8]) -> Result<Option<(Level, Vec<u8>)>, ChainError> {
    let key = read(certificate, 0)?.alternative.key;
    Ok(key.map(|key| (key.level, key.key.to_vec())))
}

fn read(der: &[u8], link: usize) -> Result<Certificate, ChainError> {
    Certificate::read(der).map_err(|why| ChainError {
        link,
        subject: String::new(),
        cause: Cause::Malformed,
        message: format!("certificate {link} of the chain is malformed: {why}"),
    })
}

fn wrong_length(links: usize) -> ChainError {
    ChainError {
        link: 0,
        subject: String::new(),
        cause: Cause::Malformed,
        message: format!("a chain of {links} certificates is not verified"),
    }
}
