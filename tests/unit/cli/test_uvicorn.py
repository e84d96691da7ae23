"""Flags of uvicorn, as flags of `velocity serve`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest
import typer

from velocity.cli.app import build
from velocity.cli.uvicorn import translate
from velocity.errors import ConfigError

REFUSED = {"--uds", "--fd", "--ssl-ciphers", "--ssl-version", "--ssl-keyfile-password"}


def translated(*arguments: str) -> list[str]:
    words, notes = translate(["serve", "main:app", *arguments])
    assert notes == []
    return words[2:]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--ssl-certfile a.pem --ssl-keyfile=b.pem", "--cert a.pem --key b.pem"),
        ("--ssl-ca-certs ca.pem --ssl-cert-reqs 2", "--client-ca ca.pem --client-auth require"),
        ("--ssl-cert-reqs 1 --ssl-cert-reqs=0", "--client-auth request"),
        ("--forwarded-allow-ips 10.0.0.1,10.1.0.0/16", "--trusted-proxies 10.0.0.1,10.1.0.0/16"),
        ("--forwarded-allow-ips=*", "--trusted-proxies 0.0.0.0/0,::/0"),
        ("--timeout-keep-alive 5 --reload", "--idle-timeout 5s --reload"),
        ("--interface asgi3 --interface asgi2", "--interface asgi --interface asgi2"),
        ("--loop zuvloop --loop=asyncio", "--loop uvloop --loop asyncio"),
        ("--ws-per-message-deflate false --port 1", "--no-ws-per-message-deflate --port 1"),
        ("--ws-per-message-deflate=True", "--ws-per-message-deflate"),
        ("--ws-per-message-deflate --port 1", "--ws-per-message-deflate --port 1"),
        ("--no-ws-per-message-deflate", "--no-ws-per-message-deflate"),
        ("--proxy-headers --date-header --http2 --reset-contextvars", ""),
        ("--port 8000 --log-level debug", "--port 8000 --log-level debug"),
        ("-- --http h11", "-- --http h11"),
    ],
)
def test_what_it_means_here(given: str, meant: str) -> None:
    assert translated(*given.split()) == meant.split()


@pytest.mark.parametrize("name", ["--http", "--ws", "--backlog", "--ws-max-queue", "--reload-delay"])
def test_what_says_nothing_here_is_passed_over_and_said_to_be(name: str) -> None:
    words, notes = translate(["serve", "main:app", name, "1", "--port", "1"])
    assert words == ["serve", "main:app", "--port", "1"]
    assert len(notes) == 1
    assert notes[0].startswith(f"{name} says nothing here: ")


@pytest.mark.parametrize("name", [*REFUSED, "--ssl-cert-reqs"])
def test_what_cannot_be_passed_over_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        translate(["serve", "main:app", name, "3"])


@pytest.mark.parametrize("name", ["--ssl-certfile", "--http", "--timeout-keep-alive"])
def test_a_value_that_is_missing(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} needs a value"):
        translate(["serve", "main:app", name])


def test_colours_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert translated("--no-use-colors") == []
    assert os.environ["NO_COLOR"] == "1"


def test_every_flag_of_uvicorn_is_known() -> None:
    """Of the version that is installed here, which has what its users type."""
    shown = subprocess.run(
        [sys.executable, "-m", "uvicorn", "--help"], capture_output=True, text=True, check=True
    ).stdout
    names = set(re.findall(r"^  (--[a-z0-9-]+)", shown, re.MULTILINE)) - {"--help", "--version"}
    names |= set(re.findall(r"^  --[a-z0-9-]+ / (--[a-z0-9-]+)", shown, re.MULTILINE))
    assert len(names) > 45
    group: Any = typer.main.get_command(build(("serve",)))
    options = group.commands["serve"].params
    own = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    for name in sorted(names - own - REFUSED):
        words, _ = translate(["serve", "main:app", name, "1"])
        assert name not in words, name
        assert {word for word in words if word.startswith("-")} <= own, name
