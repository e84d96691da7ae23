"""Who wins: a flag over the environment, that over the file, that over the default."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from velocity.cli.app import run
from velocity.config import layers

FILE = """\
server:
  listen: 127.0.0.1:1
  alpn: [h2]
  tls: {certificate: file.pem, private_key: file.key, client_auth: {roots: file.roots, mode: require, crl: [file.crl]}}
  fallback: {alpn: h2, host: file.example, port: 1}
  limits: {max_sessions: 1, max_datagram_size: 1201, idle_timeout: 1s}
  trusted_proxies: 10.1.0.0/16
  proxy_protocol: {trusted: 10.1.0.0/16}
  workers: 1
  grace_period: 1s
profiles: {default: light, permit: [light, secure]}
telemetry: {access_log: false, structured_logs: true}
content: {sites: [{root: file, listings: false, dotfiles: false, cache_control: file, compress: false}]}
"""

# setting, flag and its value, variable and its value, as the file has it, by default
TABLE: list[tuple[str, list[str], Any, tuple[str, str], Any, Any, Any]] = [
    ("server.listen", ["--listen", "127.0.0.1:3"], ["127.0.0.1:3"], ("LISTEN", "127.0.0.1:2"), ["127.0.0.1:2"],
     "127.0.0.1:1", ["0.0.0.0:4433"]),
    ("server.alpn", ["--alpn", "h3"], "h3", ("ALPN", "h1"), "h1", ["h2"], ["velocity/1", "h3", "h2", "http/1.1"]),
    ("server.tls.certificate", ["--cert", "flag.pem"], "flag.pem", ("CERT", "env.pem"), "env.pem", "file.pem", None),
    ("server.tls.private_key", ["--key", "flag.key"], "flag.key", ("KEY", "env.key"), "env.key", "file.key", None),
    ("server.tls.client_auth.roots", ["--client-ca", "f"], "f", ("CLIENT_CA", "e"), "e", "file.roots", "absent"),
    ("server.tls.client_auth.mode", ["--client-auth", "request"], "request", ("CLIENT_AUTH", "request"), "request",
     "require", "absent"),
    ("server.tls.client_auth.crl", ["--client-crl", "f"], ["f"], ("CLIENT_CRL", "e"), ["e"], ["file.crl"], "absent"),
    ("server.fallback.alpn", ["--fallback-alpn", "h3"], "h3", ("FALLBACK_ALPN", "h1"), "h1", "h2", "h3"),
    ("server.fallback.host", ["--fallback-host", "f.example"], "f.example", ("FALLBACK_HOST", "e.example"), "e.example",
     "file.example", None),
    ("server.fallback.port", ["--fallback-port", "3"], "3", ("FALLBACK_PORT", "2"), "2", 1, None),
    ("server.limits.max_sessions", ["--max-sessions", "3"], "3", ("MAX_SESSIONS", "2"), "2", 1, None),
    ("server.limits.max_datagram_size", ["--max-datagram-size", "1203"], "1203", ("MAX_DATAGRAM_SIZE", "1202"), "1202",
     1201, None),
    ("server.proxy_protocol.trusted", ["--proxy-protocol", "10.3.0.0/16"], ["10.3.0.0/16"],
     ("PROXY_PROTOCOL", "10.2.0.0/16,::1"), ["10.2.0.0/16", "::1"], "10.1.0.0/16", "absent"),
    ("server.trusted_proxies", ["--trusted-proxies", "10.3.0.0/16"], ["10.3.0.0/16"],
     ("TRUSTED_PROXIES", "10.2.0.0/16,::1"), ["10.2.0.0/16", "::1"], "10.1.0.0/16", []),
    ("server.limits.idle_timeout", ["--idle-timeout", "3s"], "3s", ("IDLE_TIMEOUT", "2s"), "2s", "1s", "60s"),
    ("server.workers", ["--workers", "3"], "3", ("WORKERS", "2"), "2", 1, None),
    ("server.grace_period", ["--grace-period", "3"], "3.000s", ("GRACE_PERIOD", "2"), "2.000s", "1s", None),
    ("profiles.default", ["--profile", "secure"], "secure", ("PROFILE", "fortress"), "fortress", "light", "absent"),
    ("profiles.permit", ["--permit", "light"], ["light"], ("PERMIT", "light,balanced"), ["light", "balanced"],
     ["light", "secure"], "absent"),
    ("telemetry.access_log", ["--access-log"], True, ("ACCESS_LOG", "1"), True, False, "absent"),
    ("telemetry.structured_logs", ["--log-format", "text"], False, ("LOG_FORMAT", "text"), False, True, "absent"),
    ("content.sites[0].root", ["--root", "flag"], "flag", ("ROOT", "env"), "env", "file", "absent"),
    ("content.sites[0].listings", ["--listings"], True, ("LISTINGS", "1"), True, False, False),
    ("content.sites[0].dotfiles", ["--dotfiles"], True, ("DOTFILES", "1"), True, False, False),
    ("content.sites[0].cache_control", ["--cache-control", "f"], "f", ("CACHE_CONTROL", "e"), "e", "file", None),
    ("content.sites[0].compress", ["--compress"], True, ("COMPRESS", "1"), True, False, True),
]  # fmt: skip


def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["config", "show", "--json", "--origin", "--effective", *arguments]) == 0, capsys.readouterr().err
    rows = json.loads(capsys.readouterr().out)
    return {row["key"]: (row["value"], row["origin"]) for row in rows}


@pytest.mark.parametrize(("flag", "variable", "file"), list(itertools.product([True, False], repeat=3)))
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_precedence(
    row: tuple[str, list[str], Any, tuple[str, str], Any, Any, Any],
    flag: bool,
    variable: bool,
    file: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    key, words, of_flag, (name, text), of_variable, of_file, default = row
    monkeypatch.chdir(tmp_path)
    silent = "{routes: [{path: /x, text: x}]}" if key.endswith("root") else "{sites: [{root: here}]}"
    Path("site.yaml").write_text(FILE if file else f"content: {silent}\n")
    monkeypatch.delenv("VELOCITY_ROOT", raising=False)
    if key.endswith(("certificate", "private_key")) and not file:
        # one without the other is an error, so the other comes along
        other = ["--key", "x"] if key.endswith("certificate") else ["--cert", "x"]
        words = [*words, *other] if flag else words
        if variable and not flag:
            monkeypatch.setenv("VELOCITY_KEY" if key.endswith("certificate") else "VELOCITY_CERT", "x")
    if "client_auth" in key and not key.endswith("roots") and not file and (flag or variable):
        monkeypatch.setenv("VELOCITY_CLIENT_CA", "x")
    if variable:
        monkeypatch.setenv(f"VELOCITY_{name}", text)
    if key == "profiles.permit" and (flag or variable):
        monkeypatch.setenv("VELOCITY_PROFILE", "light")
    arguments = ["--config", "site.yaml", *(["--", *words] if flag else [])]
    found = shown(monkeypatch, capsys, *arguments)
    if flag:
        expected = (of_flag, words[0])
    elif variable:
        expected = (of_variable, f"VELOCITY_{name}")
    elif file:
        assert found[key][0] == of_file
        assert found[key][1].startswith("site.yaml:")
        return
    elif default == "absent":
        assert key not in found
        return
    else:
        expected = (default, "default")
    assert found[key] == expected


def test_every_setting_has_a_row() -> None:
    rows = {row[0] for row in TABLE}
    named = {".".join(map(str, setting.path)) for setting in layers.SETTINGS}
    assert named - rows == {"server.tls.self_signed", "server.tls.domains"}


@pytest.mark.parametrize("name", ["server", "profiles"])
def test_a_flag_goes_where_the_file_has_its_block(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    block = "profiles: {permit: [secure, light], default: light}\n"
    text = block if name == "profiles" else f"server: {{{block.strip()}}}\n"
    Path("site.yaml").write_text(f"{text}content: {{sites: [{{root: .}}]}}\n")
    found = shown(monkeypatch, capsys, "--config", "site.yaml", "--", "--profile", "secure")
    key = "profiles.default" if name == "profiles" else "server.profiles.default"
    assert found[key] == ("secure", "--profile")


@pytest.mark.parametrize(
    ("flags", "gone"),
    [(["--self-signed"], "server.tls.certificate"), (["--cert", "a", "--key", "b"], "server.tls.self_signed")],
)
def test_what_excludes_the_other_replaces_it(
    flags: list[str], gone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tls = "certificate: a, private_key: b" if "certificate" in gone else "self_signed: true"
    Path("site.yaml").write_text(f"server: {{tls: {{{tls}}}}}\ncontent: {{sites: [{{root: .}}]}}\n")
    found = shown(monkeypatch, capsys, "--config", "site.yaml", "--", *flags)
    assert found[gone][1] == "default"


def test_a_wrong_flag_is_blamed_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("site.yaml").write_text("content: {sites: [{root: .}]}\n")
    assert run(["config", "show", "--config", "site.yaml", "--", "--listen", "here"]) == 2
    assert capsys.readouterr().err.startswith("error: --listen: 'here' has no port")
