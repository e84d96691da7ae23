"""What an authority may issue: names, lifetimes, key types and profiles, read from one YAML file (`ca.yaml`).

Name constraints (RFC 5280 section 4.2.1.10) are written into the authority's own certificates when it is made,
so that everybody enforces them; the rest is enforced here, whenever something is issued.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from velocity.errors import ConfigError, PkiError
from velocity.pki.chain import Usage
from velocity.pki.keys import KEY_TYPES, PROFILES, KeyType, Profile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["TEMPLATE", "Policy", "load", "parse"]

TEMPLATE = """\
# What this authority may issue. Changes count from the next command on.

names:
  # Domains (each with everything below it) and networks. Leave a list empty to allow any.
  dns: []
  ip: []
  wildcards: true

lifetime:
  default: 7d
  max: 90d

keys: [p256, p384, ed25519]
profiles: [light, balanced, secure]
usages: [server, client]

# Written into the authority's own certificates when it is made; later changes here do nothing.
constraints:
  permit: []
  exclude: []

revocation:
  crl_lifetime: 7d
  crl_urls: []
  ocsp_urls: []

authority:
  root_lifetime: 3650d
  intermediate_lifetime: 1095d
"""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_MAX_SIZE = 1 << 16


def duration(value: object) -> dt.timedelta:
    """A length of time such as `7d`, `36h`, `30m` or `90s`.

    Raises:
        ValueError: anything else, or nothing at all, or more than 100 years.
    """
    if isinstance(value, dt.timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= 36_525 * 86_400:
        raise ValueError("write a length of time such as 7d, 36h or 30m, of at most 100 years")
    return dt.timedelta(seconds=seconds)


def _domain(value: str) -> str:
    name = value.lower().removesuffix(".")
    if not re.fullmatch(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", name):
        raise ValueError("write a domain such as example.com; it stands for everything below it too")
    return name


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        raise ValueError("write a network such as 10.0.0.0/8 or 2001:db8::/32") from None


def _subtree(value: str) -> str:
    return _network(value) if "/" in value else _domain(value)


_Duration = Annotated[dt.timedelta, BeforeValidator(duration)]
_Domains = tuple[Annotated[str, AfterValidator(_domain)], ...]
_Networks = tuple[Annotated[str, AfterValidator(_network)], ...]
_Subtrees = tuple[Annotated[str, AfterValidator(_subtree)], ...]
_Urls = tuple[Annotated[str, Field(pattern=r"^https?://[!-~]+$")], ...]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Names(_Section):
    """Which names may be certified; an empty list allows any of its kind."""

    dns: _Domains = ()
    ip: _Networks = ()
    wildcards: bool = True


class Lifetime(_Section):
    """How long what is issued is good."""

    default: _Duration = dt.timedelta(days=7)
    max: _Duration = dt.timedelta(days=90)


class Constraints(_Section):
    """Domains and networks for the name constraints of the authority's own certificates."""

    permit: _Subtrees = ()
    exclude: _Subtrees = ()


class Revocation(_Section):
    """Revocation lists, and where certificates say that status is to be had."""

    crl_lifetime: _Duration = dt.timedelta(days=7)
    crl_urls: _Urls = ()
    ocsp_urls: _Urls = ()


class Lifetimes(_Section):
    """How long the authority's own certificates are good."""

    root_lifetime: _Duration = dt.timedelta(days=3650)
    intermediate_lifetime: _Duration = dt.timedelta(days=1095)


class Policy(_Section):
    """What an authority may issue. The default allows every name for at most 90 days."""

    names: Names = Names()
    lifetime: Lifetime = Lifetime()
    keys: tuple[KeyType, ...] = KEY_TYPES
    profiles: tuple[Profile, ...] = tuple(PROFILES)
    usages: tuple[Usage, ...] = get_args(Usage)
    constraints: Constraints = Constraints()
    revocation: Revocation = Revocation()
    authority: Lifetimes = Lifetimes()

    def check(
        self, names: Sequence[str], *, lifetime: dt.timedelta, key: KeyType, profile: Profile, usage: Usage
    ) -> None:
        """Refuse what may not be issued.

        Raises:
            PkiError: what the policy forbids, and what it allows instead (`CA_POLICY_VIOLATION`).
        """
        for what, value, allowed in (
            ("key type", key, self.keys), ("profile", profile, self.profiles), ("usage", usage, self.usages)
        ):  # fmt: skip
            if value not in allowed:
                _refuse(f"the {what} {value}", f"it allows {', '.join(allowed) or 'none'}")
        if lifetime > self.lifetime.max:
            _refuse(f"a lifetime of {_days(lifetime)}", f"it allows up to {_days(self.lifetime.max)}")
        if not names:
            _refuse("a certificate without names", "name what it is for with --dns or --ip")
        for name in names:
            self._check_name(name)

    def _check_name(self, name: str) -> None:
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            pass
        else:
            if self.names.ip and not any(address in ipaddress.ip_network(network) for network in self.names.ip):
                _refuse(f"the address {name}", f"it allows {', '.join(self.names.ip)}")
            return
        if name.startswith("*.") and not self.names.wildcards:
            _refuse(f"the wildcard {name}", "name each host")
        host = name.lower().removeprefix("*.")
        if self.names.dns and not any(host == domain or host.endswith(f".{domain}") for domain in self.names.dns):
            _refuse(f"the name {name}", f"it allows {', '.join(self.names.dns)} and what is below")


def _days(span: dt.timedelta) -> str:
    return f"{span / dt.timedelta(days=1):g} days"


def _refuse(what: str, hint: str) -> None:
    raise PkiError("CA_POLICY_VIOLATION", f"the policy of this authority does not allow {what}", hint)


def load(path: Path) -> Policy:
    """The policy in a YAML file.

    Raises:
        ConfigError: it cannot be read, or says what cannot be, and at which line and column (`CA_POLICY_INVALID`).
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MAX_SIZE)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError("CA_POLICY_INVALID", f"cannot read the policy {path}: {why}") from error
    return parse(text, str(path))


def parse(text: str, source: str = "ca.yaml") -> Policy:
    """The policy in a YAML text.

    Raises:
        ConfigError: as `load`; `source` is what it calls the text.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        data = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _invalid(source, (mark.line, mark.column) if mark else (0, 0), str(error.problem)) from error
    except YAMLError as error:
        raise _invalid(source, (0, 0), "it is not YAML") from error
    try:
        return Policy.model_validate({} if data is None else data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise _invalid(source, _position(data, first["loc"]), f"{where}: {message}" if where else message) from error


def _invalid(source: str, position: tuple[int, int], message: str) -> ConfigError:
    line, column = position
    return ConfigError(
        "CA_POLICY_INVALID",
        f"{source}:{line + 1}:{column + 1}: {message[:1].lower()}{message[1:]}",
        "see the certificates guide for what a policy can say",
    )


def _position(data: Any, place: tuple[int | str, ...]) -> tuple[int, int]:
    """Line and column of the innermost part of `place` that the text has."""
    position = (0, 0)
    for step in place:
        try:
            position = data.lc.key(step) if isinstance(step, str) else data.lc.item(step)
            data = data[step]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return position
