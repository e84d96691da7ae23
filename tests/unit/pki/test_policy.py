"""The policy of an authority: what it allows, and where in the file it says what cannot be."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest

import velocity
from velocity.errors import ConfigError, PkiError
from velocity.pki import policy

DAY = dt.timedelta(days=1)


def check(rules: str, *names: str, **more: Any) -> None:
    asked: dict[str, Any] = {"lifetime": 7 * DAY, "key": "p256", "profile": "balanced", "usage": "server"}
    policy.parse(rules).check(names or ("a.example",), **{**asked, **more})


def test_the_template_is_the_default() -> None:
    assert policy.parse(policy.TEMPLATE) == policy.parse("") == policy.Policy()


ALLOWED = "names: {dns: [example.com], ip: [10.0.0.0/8]}"


@pytest.mark.parametrize("name", ["example.com", "a.b.example.com", "*.example.com", "EXAMPLE.com", "10.1.2.3"])
def test_names_allowed(name: str) -> None:
    check(ALLOWED, name)


@pytest.mark.parametrize("name", ["example.org", "notexample.com", "*.com", "192.0.2.1", "::1"])
def test_names_refused(name: str) -> None:
    with pytest.raises(PkiError, match="does not allow") as caught:
        check(ALLOWED, "example.com", name)
    assert caught.value.code == "CA_POLICY_VIOLATION"
    assert name in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("rules", "more"),
    [
        ("lifetime: {max: 5d}", {}),
        ("keys: [p384]", {}),
        ("profiles: [secure]", {}),
        ("usages: [client]", {}),
        ("keys: []", {}),
        ("", {"lifetime": 91 * DAY}),
    ],
)
def test_refused(rules: str, more: dict[str, Any]) -> None:
    with pytest.raises(PkiError):
        check(rules, **more)


def test_wildcards() -> None:
    with pytest.raises(PkiError, match="wildcard"):
        check("names: {wildcards: false}", "*.example.com")
    check("names: {wildcards: false}", "example.com")


def test_no_names() -> None:
    with pytest.raises(PkiError, match="without names"):
        policy.Policy().check((), lifetime=DAY, key="p256", profile="balanced", usage="server")


@pytest.mark.parametrize(
    ("rules", "place", "message"),
    [
        ("lifetime:\n  max: 5 days\n", "2:3", "7d, 36h or 30m"),
        ("lifetime:\n  max: 0d\n", "2:3", "7d"),
        ("keys: [p256, rsa]\n", "1:14", "'p256', 'p384' or 'ed25519'"),
        ("\n\nkey: [p256]\n", "3:1", "not permitted"),
        ("names:\n  dns: ['https://example.com']\n", "2:9", "a domain such as example.com"),
        ("names:\n  ip: [10.0.0.1/8]\n", "2:8", "a network such as"),
        ("constraints:\n  permit:\n    - example.com\n    - 10.0.0.1/8\n", "4:7", "network"),
        ("revocation: {crl_urls: [ftp://x]}\n", "1:25", "pattern"),
        ("names: [\n", "2:1", "expected"),
        ("- a\n- b\n", "1:1", "valid"),
        ("{\n", "2:1", "expected"),
    ],
)
def test_invalid(rules: str, place: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        policy.parse(rules, "my.yaml")
    assert caught.value.code == "CA_POLICY_INVALID"
    assert caught.value.message.startswith(f"my.yaml:{place}: ")
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "ca.yaml"
    for bad in (None, b"\xff\xfe"):
        if bad is not None:
            path.write_bytes(bad)
        with pytest.raises(ConfigError, match=str(path)):
            policy.load(path)
    path.write_text("lifetime: {default: 36h}\n")
    assert policy.load(path).lifetime.default == dt.timedelta(hours=36)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("36h", 129_600), ("7d", 604_800), ("007d", 604_800)]
)
def test_durations(text: str, seconds: int) -> None:
    assert policy.duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7D", "7 d", "1.5h", "99999999d", "0s", 7, None])
def test_no_durations(text: object) -> None:
    with pytest.raises(ValueError, match="length of time"):
        policy.duration(text)


def test_the_policy_in_the_guide() -> None:
    guide = Path(velocity.__file__).parents[2] / "docs" / "guides" / "certificates.md"
    (block,) = re.findall(r"```yaml\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    shown = policy.parse(block, str(guide))
    assert set(shown.model_fields_set) == set(policy.Policy.model_fields)
