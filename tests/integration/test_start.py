"""Starting: flags, their variables, the self-signed certificate, and every way in which it can fail."""

from __future__ import annotations

import resource
import socket
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from support import application, certificates
from support.clients import PROTOCOLS, ask
from support.http1 import connect
from support.server import PYTHON, VELOCITY, Server, environment, velocity
from support.site import INDEX, Site

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> certificates.Pair:
    return certificates.make(tmp_path_factory.mktemp("pair"))


def refused(code: int, *args: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a command that must fail: one clear line, a hint, nothing on stdout. Gives back what it said."""
    done = velocity(*args, env=env, timeout=20)
    said = done.stderr.decode()
    assert done.returncode == code, said
    assert done.stdout == b""
    errors = [line for line in said.splitlines() if line.lower().startswith("error")]
    assert len(errors) == 1, said
    assert any(line.strip().lower().startswith("hint:") for line in said.splitlines()), said
    return said


def test_start_says_what_is_served_where(server: Server, site: Site) -> None:
    server.line_with("velocity client get")  # the last line of the announcement
    said = server.stderr
    assert f"https://localhost:{server.port}" in said or f"https://127.0.0.1:{server.port}" in said
    assert "balanced" in said
    for protocol in PROTOCOLS:
        assert protocol in said
    assert certificates.Pair(server.hybrid_certificate, server.hybrid_certificate).sha256 in said.lower().replace(
        ":", ""
    )
    assert f"velocity client get https://localhost:{server.port}/" in said


def test_printed_command_fetches(server: Server) -> None:
    line = server.line_with("velocity client get")
    words = line[line.index("velocity client get") :].strip(" `'\"").split()
    assert velocity(*words[1:]).stdout == INDEX


def test_self_signed_is_private_and_reused(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(INDEX)
    with Server(tmp_path) as first:
        store = first.certificate.parent
        before = {file: file.read_bytes() for file in store.iterdir() if file.is_file()}
    assert stat.S_IMODE(store.stat().st_mode) == 0o700
    keys = [file for file, content in before.items() if b"PRIVATE KEY" in content]
    assert [key.name for key in sorted(keys)] == ["key.mldsa.pem", "key.pem"]
    for file in before:
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, f"{file} is open to others"
    with Server(tmp_path) as second:
        assert second.certificate.read_bytes() == before[first.certificate]
    assert {file: file.read_bytes() for file in store.iterdir() if file.is_file()} == before


def test_self_signed_is_remade_for_other_names(fresh_site: Site) -> None:
    with Server(fresh_site.root) as first:
        old = first.certificate.read_bytes()
    with Server(fresh_site.root, "--domain", "a.example", "--domain", "b.example") as second:
        assert second.certificate.read_bytes() != old
        assert {"a.example", "b.example"} <= certificates.dns_names(second.certificate)


def test_own_certificate(fresh_site: Site, pair: certificates.Pair) -> None:
    with Server(fresh_site.root, "--cert", pair.cert, "--key", pair.key) as running:
        with connect(running.port) as stream:
            assert stream.getpeercert(binary_form=True) == certificates.der(pair.cert)
        done = velocity("client", "get", running.url(), "--cacert", pair.cert)
        assert done.stdout == INDEX, done.stderr


def test_variables_equal_flags(fresh_site: Site, pair: certificates.Pair) -> None:
    variables = {
        "VELOCITY_LISTEN": "127.0.0.1:0",
        "VELOCITY_CERT": str(pair.cert),
        "VELOCITY_KEY": str(pair.key),
        "VELOCITY_ALPN": "velocity/1,h2",
        "VELOCITY_PROFILE": "fortress",
        "VELOCITY_LOG_FORMAT": "json",
    }
    with Server(fresh_site.root, env=variables, listen=None) as running:
        running.line_with("secure")
        assert ask("h2", running.port, "/").body == INDEX
        running.line(lambda line: line.startswith("{") and '"/"' in line)
        with connect(running.port, "http/1.1", "h2") as stream:
            assert stream.selected_alpn_protocol() == "h2"


def test_flag_wins_over_variable(fresh_site: Site) -> None:
    with Server(fresh_site.root, "--profile", "light", env={"VELOCITY_PROFILE": "secure"}) as running:
        running.line_with("light")


def test_ipv6(fresh_site: Site) -> None:
    with Server(fresh_site.root, listen="[::1]:0") as running, connect(running.port, host="::1") as stream:
        assert stream.version() == "TLSv1.3"


@pytest.mark.parametrize("what", ["files", "an application"])
def test_all_descriptors_that_are_allowed(fresh_site: Site, tmp_path: Path, what: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 500), hard))
    try:
        with Server(fresh_site.root) if what == "files" else application.serving(tmp_path) as server:
            assert resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_udp_only_has_no_tcp(fresh_site: Site) -> None:
    with Server(fresh_site.root, "--alpn", "velocity/1") as running:
        assert ask("velocity/1", running.port, "/").body == INDEX
        with pytest.raises(ConnectionRefusedError):
            connect(running.port)
        with pytest.raises(ConnectionError):
            ask("h3", running.port, "/")


def test_tcp_only_has_no_udp(fresh_site: Site) -> None:
    with (
        Server(fresh_site.root, "--alpn", "h2,http/1.1") as running,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        assert ask("h2", running.port, "/").body == INDEX
        assert ask("http/1.1", running.port, "/").get("alt-svc") is None
        udp.bind(("127.0.0.1", running.port))


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_port_in_use(fresh_site: Site, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        said = refused(3, "serve", "--root", fresh_site.root, "--self-signed", "--listen", f"127.0.0.1:{port}")
        assert str(port) in said


def test_second_server_on_the_same_port(server: Server, fresh_site: Site) -> None:
    """Options like SO_REUSEPORT must not let two servers share a port by accident."""
    refused(3, "serve", "--root", fresh_site.root, "--self-signed", "--listen", f"127.0.0.1:{server.port}")


def test_key_of_another_certificate(fresh_site: Site, pair: certificates.Pair, tmp_path: Path) -> None:
    other = certificates.make(tmp_path / "other")
    flags = ("--listen", "127.0.0.1:0", "--cert", pair.cert, "--key", other.key)
    refused(3, "serve", "--root", fresh_site.root, *flags)


@pytest.mark.parametrize(
    "content", [b"", b"not PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_broken_certificate(fresh_site: Site, pair: certificates.Pair, tmp_path: Path, content: bytes) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_bytes(content)
    flags = ("--listen", "127.0.0.1:0", "--cert", broken, "--key", pair.key)
    assert "broken.pem" in refused(3, "serve", "--root", fresh_site.root, *flags)


def test_missing_root(tmp_path: Path) -> None:
    missing = tmp_path / "no-such-folder"
    done = velocity("serve", "--root", missing, "--self-signed", "--listen", "127.0.0.1:0", timeout=20)
    assert done.returncode in (2, 3)
    assert "no-such-folder" in done.stderr.decode()
    assert b"hint:" in done.stderr.lower()
    assert not missing.exists(), "a failed start leaves nothing behind"


def test_root_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    assert velocity("serve", "--root", file, "--self-signed", timeout=20).returncode in (2, 3)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "flags",
    [
        ["--listen", "nonsense"],
        ["--listen", "127.0.0.1:99999"],
        ["--listen", "127.0.0.1"],
        ["--alpn", "spdy/3"],
        ["--alpn", ""],
        ["--profile", "paranoid"],
        ["--max-sessions", "many"],
        ["--max-sessions", "-1"],
        ["--max-datagram-size", "12"],
        ["--max-datagram-size", "70000"],
        ["--log-format", "xml"],
        ["--cert", "only-the-certificate.pem"],
        ["--no-such-flag"],
    ],
    ids=" ".join,
)
def test_usage(fresh_site: Site, flags: list[str]) -> None:
    base = ["serve", "--root", str(fresh_site.root), *([] if "--cert" in flags else ["--self-signed"])]
    refused(2, *base, *flags)
    assert not (fresh_site.root / ".velocity" / "certs" / "cert.pem").exists(), "nothing is made before all is checked"


@pytest.mark.parametrize(
    ("name", "value"),
    [("VELOCITY_LISTEN", "nonsense"), ("VELOCITY_PROFILE", "paranoid"), ("VELOCITY_MAX_SESSIONS", "many")],
)
def test_bad_variable_is_named(fresh_site: Site, name: str, value: str) -> None:
    said = refused(2, "serve", "--root", fresh_site.root, "--self-signed", env={name: value})
    assert name in said or value in said


@pytest.mark.parametrize("command", [[], ["serve"], ["client"], ["client", "get"], ["client", "probe"]])
def test_help(command: list[str]) -> None:
    done = velocity(*command, "--help")
    assert done.returncode == 0
    assert b"--help" in done.stdout


@pytest.mark.parametrize("alias", ["velocity", "velo", "vel", "vlo", "velocity-cli"])
def test_aliases(alias: str) -> None:
    done = subprocess.run([VELOCITY.with_name(alias), "--version"], capture_output=True, env=environment(), check=True)
    module = subprocess.run([PYTHON, "-m", "velocity", "--version"], capture_output=True, env=environment(), check=True)
    assert done.stdout == module.stdout != b""


def test_module_runs_from_anywhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [PYTHON, "-m", "velocity", "serve", "--help"], capture_output=True, cwd=tmp_path, env=environment()
    )
    assert done.returncode == 0, done.stderr
