"""Proxies of the environment."""

from __future__ import annotations

import pytest

from velocity.client.exceptions import InvalidURL
from velocity.client.mounts import Mounts, Pattern, environment_proxies
from velocity.client.uri import URL


@pytest.fixture(autouse=True)
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment_proxies() == {}
    monkeypatch.setenv("HTTPS_PROXY", "http://p:1")
    monkeypatch.setenv("http_proxy", "q:2")
    monkeypatch.setenv("NO_PROXY", "localhost, 10.0.0.1, ::1, .internal.example, h.example:8080")
    mounts = Mounts(environment_proxies())
    where = {
        "https://x/": "http://p:1", "http://x/": "http://q:2", "https://localhost/": "", "https://10.0.0.1/": "",
        "https://[::1]:8/": "", "https://a.internal.example/": "", "https://internal.example/": "",
        "https://notinternal.example/": "http://p:1", "https://h.example:8080/": "", "https://h.example/": "http://p:1",
    }  # fmt: skip
    assert {url: mounts.find(URL(url), "") for url in where} == where
    monkeypatch.setenv("NO_PROXY", "*")
    assert environment_proxies() == {}


@pytest.mark.parametrize("text", ["h", "https:/h", "https://h:x"])
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(InvalidURL):
        Pattern.of(text)
