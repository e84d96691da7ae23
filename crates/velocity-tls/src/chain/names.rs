//! Names in certificates: which one a certificate is good for, and which an authority may certify.
//!
//! Matching follows RFC 9525 section 6 (no common names, a wildcard for one whole leftmost label), constraints
//! RFC 5280 section 4.2.1.10.

use std::mem::discriminant;
use std::net::IpAddr;

use bytes::Bytes;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{Any, ObjectIdentifier};
use x509_cert::der::{Tag, Tagged};
use x509_cert::ext::pkix::NameConstraints;
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::{Name, RelativeDistinguishedName};

use super::der::{self, Malformed};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// Characters of one name in a message.
const MAX_PRINTED: usize = 100;
/// Names in a message.
const MAX_LISTED: usize = 10;
/// Names of one certificate times the subtrees they are compared with. Without a limit an authority could
/// have a peer compare for seconds.
const MAX_COMPARISONS: usize = 250_000;

/// Name (RFC 5280 section 4.1.2.4).
pub(super) struct DistinguishedName {
    raw: Bytes,
    name: Name,
}

impl DistinguishedName {
    pub(super) fn read(raw: Bytes) -> Result<Self, Malformed> {
        let name: Name = der::exact(&raw)?;
        check_name(&name)?;
        Ok(DistinguishedName { raw, name })
    }

    /// Whether both are encoded alike, which is what makes a chain.
    pub(super) fn is(&self, other: &DistinguishedName) -> bool {
        self.raw == other.raw
    }

    /// Whether both say the same, in whatever kinds of strings.
    pub(super) fn says(&self, other: &DistinguishedName) -> bool {
        self.name.len() == other.name.len() && begins_with(&self.name, &other.name)
    }

    /// The common name where there is one, else the whole (RFC 4514); one line of bounded length.
    pub(super) fn describe(&self) -> String {
        let common = self.name.iter().find(|attribute| attribute.oid == COMMON_NAME);
        match common.and_then(|attribute| text(&attribute.value).ok().flatten()) {
            Some(common) => printable(&common),
            None if self.name.is_empty() => "(no subject)".to_owned(),
            None => printable(&self.name.to_string()),
        }
    }
}

/// `text` for a message: control characters escaped, cut where it is long.
pub(super) fn printable(text: &str) -> String {
    let mut printed = String::new();
    for (number, character) in text.chars().enumerate() {
        match character {
            _ if number == MAX_PRINTED => {
                printed.push('…');
                break;
            }
            '"' | '\'' | '\\' => printed.push(character),
            // Control and formatting characters, among them line ends and reversals of direction.
            _ => printed.extend(character.escape_debug()),
        }
    }
    printed
}

/// Names for a message.
pub(super) fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(MAX_LISTED).map(|name| printable(name)).collect();
    match names.len() - shown.len() {
        _ if names.is_empty() => "no name at all".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Refuse sets without members, and strings that are none.
fn check_name(name: &Name) -> Result<(), Malformed> {
    if name.iter_rdn().any(|attributes| attributes.is_empty()) {
        return Err(Malformed::new("a name has a part that says nothing"));
    }
    name.iter().try_for_each(|attribute| text(&attribute.value).map(|_| ()))
}

/// Refuse names that stand for nothing: addresses of other lengths, kinds that nobody reads.
pub(super) fn check_names(names: &[GeneralName]) -> Result<(), Malformed> {
    names.iter().try_for_each(|name| match name {
        GeneralName::IpAddress(octets) if address(octets.as_bytes()).is_none() => {
            Err(Malformed::new("an IP address has neither 4 nor 16 octets"))
        }
        GeneralName::EdiPartyName(_) => Err(Malformed::new("an ediPartyName is not read")),
        GeneralName::DirectoryName(name) => check_name(name),
        _ => Ok(()),
    })
}

/// Refuse subtrees that are no networks, or that are more than a name (RFC 5280 section 4.2.1.10).
pub(super) fn check_constraints(constraints: &NameConstraints) -> Result<(), Malformed> {
    subtrees(constraints).try_for_each(|subtree| {
        if subtree.minimum != 0 || subtree.maximum.is_some() {
            return Err(Malformed::new("a name constraint has a minimum or a maximum"));
        }
        match &subtree.base {
            GeneralName::IpAddress(octets) if network(octets.as_bytes()).is_none() => {
                Err(Malformed::new("a name constraint is no network"))
            }
            GeneralName::IpAddress(_) => Ok(()),
            other => check_names(std::slice::from_ref(other)),
        }
    })
}

/// The DNS names and then the IP addresses, as people write them.
pub(super) fn written(names: &[GeneralName]) -> Vec<String> {
    let dns = names.iter().filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        _ => None,
    });
    dns.chain(addresses(names).map(|address| address.to_string())).collect()
}

/// Whether a certificate that bears `names` is good for a DNS name or IP address.
pub(super) fn covers(names: &[GeneralName], name: &str) -> bool {
    match name.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(wanted) => addresses(names).any(|address| address == wanted),
        Err(_) => names
            .iter()
            .any(|one| matches!(one, GeneralName::DnsName(pattern) if dns_matches(pattern.as_str(), name))),
    }
}

/// Whether a name is the one in a certificate, where `*.` stands for exactly one label.
fn dns_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (lower(pattern), lower(name));
    let (pattern, name) = (without_end(&pattern), without_end(&name));
    match pattern.strip_prefix("*.") {
        Some(domain) => name
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.contains('.') && rest == domain),
        None => !name.is_empty() && pattern == name,
    }
}

/// The first name of a certificate that constraints rule out, as people write it; None where all are fine.
pub(super) fn violation(
    constraints: &NameConstraints,
    names: &[GeneralName],
    subject: &DistinguishedName,
) -> Option<String> {
    let count = names.len() + 1;
    if count.saturating_mul(subtrees(constraints).count()) > MAX_COMPARISONS {
        return Some(format!("{count} names, more than are compared"));
    }
    let subject = (!subject.name.is_empty()).then(|| GeneralName::DirectoryName(subject.name.clone()));
    let permitted = constraints.permitted_subtrees.as_deref().unwrap_or_default();
    let excluded = constraints.excluded_subtrees.as_deref().unwrap_or_default();
    names
        .iter()
        .chain(&subject)
        .find(|name| {
            let mut of_this_kind = permitted
                .iter()
                .filter(|subtree| are_alike(name, &subtree.base))
                .peekable();
            let outside = of_this_kind.peek().is_some() && !of_this_kind.any(|subtree| is_within(name, &subtree.base));
            outside || excluded.iter().any(|subtree| touches(name, &subtree.base))
        })
        .map(write)
}

fn subtrees(constraints: &NameConstraints) -> impl Iterator<Item = &GeneralSubtree> {
    let (permitted, excluded) = (&constraints.permitted_subtrees, &constraints.excluded_subtrees);
    permitted.iter().chain(excluded).flatten()
}

fn are_alike(name: &GeneralName, subtree: &GeneralName) -> bool {
    discriminant(name) == discriminant(subtree)
}

/// Whether the whole of a name lies in a subtree of its kind. Kinds that cannot be compared do not.
fn is_within(name: &GeneralName, subtree: &GeneralName) -> bool {
    match (name, subtree) {
        (GeneralName::DnsName(name), GeneralName::DnsName(domain)) => {
            let name = lower(name.as_str());
            is_below(name.strip_prefix("*.").unwrap_or(&name), domain.as_str())
        }
        (GeneralName::IpAddress(address), GeneralName::IpAddress(range)) => {
            network(range.as_bytes()).is_some_and(|(base, mask)| {
                let address = address.as_bytes();
                address.len() == base.len()
                    && address
                        .iter()
                        .zip(mask)
                        .map(|(octet, mask)| octet & mask)
                        .eq(base.iter().copied())
            })
        }
        (GeneralName::DirectoryName(name), GeneralName::DirectoryName(above)) => begins_with(name, above),
        _ => false,
    }
}

/// Whether any of what a name stands for lies in a subtree. Of one kind that cannot be compared, it does.
fn touches(name: &GeneralName, subtree: &GeneralName) -> bool {
    match (name, subtree) {
        (GeneralName::DnsName(pattern), GeneralName::DnsName(domain)) => {
            let (pattern, domain) = (pattern.as_str(), domain.as_str());
            is_within(name, subtree)
                || (pattern.starts_with("*.") && dns_matches(pattern, domain.strip_prefix('.').unwrap_or(domain)))
        }
        (GeneralName::IpAddress(_), GeneralName::IpAddress(_))
        | (GeneralName::DirectoryName(_), GeneralName::DirectoryName(_)) => is_within(name, subtree),
        _ => are_alike(name, subtree),
    }
}

/// Whether a name is a domain or in it; a domain with a leading dot means what is in it only.
fn is_below(name: &str, domain: &str) -> bool {
    let domain = lower(domain);
    let domain = without_end(&domain);
    match name.strip_suffix(domain) {
        Some(rest) => domain.is_empty() || domain.starts_with('.') || rest.is_empty() || rest.ends_with('.'),
        None => false,
    }
}

fn lower(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// `name` without the dot that makes it absolute.
fn without_end(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

fn addresses(names: &[GeneralName]) -> impl Iterator<Item = IpAddr> {
    names.iter().filter_map(|name| match name {
        GeneralName::IpAddress(octets) => address(octets.as_bytes()),
        _ => None,
    })
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(octets).map(IpAddr::from);
    v4.or(v6).ok()
}

/// Base and mask of a network: ones, then zeros, and no bit of the base where the mask has none.
fn network(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (base, mask) = octets.split_at(octets.len() / 2);
    address(base)?;
    let bits = |octets: &[u8]| octets.iter().fold(0u128, |bits, octet| bits << 8 | u128::from(*octet));
    let (hosts, width) = (!bits(mask), 8 * mask.len());
    let hosts = if width < 128 { hosts & ((1 << width) - 1) } else { hosts };
    let contiguous = hosts & hosts.wrapping_add(1) == 0;
    (base.len() == mask.len() && contiguous && bits(base) & hosts == 0).then_some((base, mask))
}

fn begins_with(name: &Name, above: &Name) -> bool {
    name.len() >= above.len()
        && name
            .iter_rdn()
            .zip(above.iter_rdn())
            .all(|(one, other)| says_the_same(one, other))
}

fn says_the_same(one: &RelativeDistinguishedName, other: &RelativeDistinguishedName) -> bool {
    let same = |one: &AttributeTypeAndValue, other: &AttributeTypeAndValue| {
        let (left, right) = (text(&one.value).ok().flatten(), text(&other.value).ok().flatten());
        one.oid == other.oid
            && if left.is_some() {
                left == right
            } else {
                one.value == other.value
            }
    };
    one.len() == other.len() && one.iter().all(|one| other.iter().any(|other| same(one, other)))
}

/// The text of a string; None for the bits of an identifier. Nothing else is in a name.
fn text(value: &Any) -> Result<Option<String>, Malformed> {
    let octets = value.value();
    let text = match value.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::TeletexString
        | Tag::VisibleString
        | Tag::NumericString => String::from_utf8(octets.to_vec()).ok(),
        Tag::BmpString if octets.len().is_multiple_of(2) => {
            let units = octets
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<String, _>>().ok()
        }
        // x500UniqueIdentifier (ITU-T X.520 section 6.2.7).
        Tag::BitString => return Ok(None),
        _ => None,
    };
    text.map(Some)
        .ok_or_else(|| Malformed::new("a name holds a string that is none"))
}

fn write(name: &GeneralName) -> String {
    printable(&match name {
        GeneralName::DnsName(name) | GeneralName::Rfc822Name(name) | GeneralName::UniformResourceIdentifier(name) => {
            name.to_string()
        }
        GeneralName::IpAddress(octets) => address(octets.as_bytes()).map_or_else(String::new, |one| one.to_string()),
        GeneralName::DirectoryName(name) => name.to_string(),
        GeneralName::RegisteredId(dotted) => dotted.to_string(),
        GeneralName::OtherName(_) => "an otherName".to_owned(),
        GeneralName::EdiPartyName(_) => "an ediPartyName".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use x509_cert::der::Encode;
    use x509_cert::der::asn1::{Ia5String, OctetString};

    use super::*;

    fn dns(name: &str) -> GeneralName {
        GeneralName::DnsName(Ia5String::new(name).unwrap())
    }

    fn excluding(names: Vec<GeneralName>) -> NameConstraints {
        let subtree = |base| GeneralSubtree {
            base,
            minimum: 0,
            maximum: None,
        };
        NameConstraints {
            permitted_subtrees: None,
            excluded_subtrees: Some(names.into_iter().map(subtree).collect()),
        }
    }

    fn subject(text: &str) -> DistinguishedName {
        let der = Name::from_str(text).unwrap().to_der().unwrap();
        DistinguishedName::read(der.into()).unwrap()
    }

    #[test]
    fn messages_stay_on_their_line_and_end() {
        assert_eq!(printable("a\nb\u{1b}[31m\u{202e}c"), "a\\nb\\u{1b}[31m\\u{202e}c");
        assert_eq!(printable("O'Neil, \"x\" \\ Zürich"), "O'Neil, \"x\" \\ Zürich");
        assert_eq!(printable(&"x".repeat(70_000)).chars().count(), MAX_PRINTED + 1);
        assert_eq!(listed(&vec!["x".to_owned(); 12]).matches('x').count(), MAX_LISTED);
        assert!(listed(&vec!["x".to_owned(); 12]).ends_with(" and 2 more"));
    }

    #[test]
    fn comparisons_are_limited() {
        let many = |count: usize| {
            (0..count)
                .map(|number| dns(&format!("{number}.example")))
                .collect::<Vec<_>>()
        };
        let nobody = DistinguishedName::read(Bytes::from_static(&[0x30, 0])).unwrap();
        assert_eq!(violation(&excluding(vec![dns("x.test")]), &many(20_000), &nobody), None);
        let found = violation(&excluding(many(600)), &many(600), &nobody);
        assert_eq!(found.as_deref(), Some("601 names, more than are compared"));
    }

    #[test]
    fn networks_are_ones_and_then_zeros() {
        assert!(network(&[10, 0, 0, 0, 255, 0, 0, 0]).is_some());
        assert!(network(&[0; 8]).is_some());
        assert!(network(&[255; 32]).is_some());
        assert!(network(&[10, 0, 0, 1, 255, 0, 0, 0]).is_none());
        assert!(network(&[0, 0, 0, 0, 0, 0, 0, 255]).is_none());
        for size in [0, 1, 4, 7, 9, 16, 31, 33, 200] {
            assert!(network(&vec![0; size]).is_none(), "{size}");
        }
    }

    #[test]
    fn addresses_of_the_other_family_are_outside() {
        let v6 = GeneralName::IpAddress(OctetString::new(vec![0; 32]).unwrap());
        let v4 = GeneralName::IpAddress(OctetString::new(vec![0; 4]).unwrap());
        assert!(!is_within(&v4, &v6));
    }

    #[test]
    fn names_say_the_same_in_other_strings() {
        let (one, other) = (subject("CN=a,O=b"), subject("CN=b,O=b"));
        assert!(one.says(&one) && !one.says(&other) && !one.is(&other));
        let mut printable = one.raw.to_vec();
        printable
            .iter_mut()
            .filter(|octet| **octet == 0x0c)
            .for_each(|tag| *tag = 0x13);
        let printable = DistinguishedName::read(printable.into()).unwrap();
        assert!(one.says(&printable) && !one.is(&printable));
    }
}
