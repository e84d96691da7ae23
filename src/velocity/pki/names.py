"""Names in certificates: which one a certificate is good for, and which an authority may certify.

Matching follows RFC 9525 section 6 (no common names, a wildcard for one whole leftmost label),
constraints RFC 5280 section 4.2.1.10.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, TypeAlias

from cryptography import x509

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["alternative_names", "covers", "dns_matches", "names_of", "subtrees", "violation"]

_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def alternative_names(names: Iterable[str]) -> x509.SubjectAlternativeName:
    """The extension for DNS names and IP addresses.

    Raises:
        ValueError: a DNS name is not ASCII.
    """
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def subtrees(names: Iterable[str]) -> list[x509.GeneralName]:
    """Constraints for DNS domains and IP networks: `example.com` means it and all below.

    Raises:
        ValueError: a network has host bits set, or a domain is not ASCII.
    """
    return [x509.IPAddress(network) if (network := _network(name)) else x509.DNSName(name) for name in names]


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names and IP addresses a certificate bears, as people write them."""
    san = _alternative_names_of(certificate)
    if san is None:
        return ()
    return (*san.get_values_for_type(x509.DNSName), *map(str, san.get_values_for_type(x509.IPAddress)))


def covers(certificate: x509.Certificate, name: str) -> bool:
    """Whether a certificate is good for a DNS name or IP address."""
    san = _alternative_names_of(certificate)
    if san is None:
        return False
    try:
        return ipaddress.ip_address(name.strip("[]")) in san.get_values_for_type(x509.IPAddress)
    except ValueError:
        return any(dns_matches(pattern, name) for pattern in san.get_values_for_type(x509.DNSName))


def dns_matches(pattern: str, name: str) -> bool:
    """Whether a name is the one in a certificate, where `*.` stands for exactly one label."""
    pattern, name = pattern.lower().removesuffix("."), name.lower().removesuffix(".")
    if pattern.startswith("*."):
        label, dot, rest = name.partition(".")
        return bool(label) and bool(dot) and "." in rest and rest == pattern[2:]
    return bool(name) and pattern == name


def violation(constraints: x509.NameConstraints, certificate: x509.Certificate) -> str | None:
    """The first name of a certificate that constraints rule out; None where all are fine."""
    names: list[x509.GeneralName] = [*(_alternative_names_of(certificate) or ())]
    if certificate.subject.rdns:
        names.append(x509.DirectoryName(certificate.subject))
    permitted, excluded = constraints.permitted_subtrees or [], constraints.excluded_subtrees or []
    for name in names:
        of_this_kind = [subtree for subtree in permitted if type(subtree) is type(name)]
        if of_this_kind and not any(_within(name, subtree) for subtree in of_this_kind):
            return _written(name)
        if any(type(subtree) is type(name) and _touches(name, subtree) for subtree in excluded):
            return _written(name)
    return None


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _network(name: str) -> _Network | None:
    try:
        return ipaddress.ip_network(name)
    except ValueError:
        if "/" in name:
            raise
        return None


def _alternative_names_of(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _within(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    """Whether the whole of a name lies in a subtree. Kinds of names that cannot be compared do not."""
    match name, subtree:
        case x509.DNSName(), x509.DNSName():
            return _below(name.value.lower().removeprefix("*."), subtree.value)
        case x509.IPAddress(), x509.IPAddress():
            return _in_network(name, subtree)
        case x509.DirectoryName(), x509.DirectoryName():
            above = list(subtree.value.rdns)
            return list(name.value.rdns)[: len(above)] == above
        case _:
            return False


def _touches(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    """Whether any of what a name stands for lies in a subtree. Kinds that cannot be compared do."""
    match name, subtree:
        case x509.DNSName(), x509.DNSName():
            wildcard = name.value.startswith("*.")
            return _within(name, subtree) or (wildcard and dns_matches(name.value, subtree.value.removeprefix(".")))
        case (x509.IPAddress(), x509.IPAddress()) | (x509.DirectoryName(), x509.DirectoryName()):
            return _within(name, subtree)
        case _:
            return True


def _below(name: str, domain: str) -> bool:
    """Whether a name is a domain or in it; a domain with a leading dot means what is in it only."""
    domain = domain.lower().removesuffix(".")
    if not domain:
        return True
    return name.endswith(domain) if domain.startswith(".") else name == domain or name.endswith(f".{domain}")


def _in_network(name: x509.IPAddress, subtree: x509.IPAddress) -> bool:
    network = subtree.value
    if not isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return False
    return name.value in network


def _written(name: x509.GeneralName) -> str:
    if isinstance(name, x509.DirectoryName):
        return name.value.rfc4514_string()
    return str(getattr(name, "value", name))
