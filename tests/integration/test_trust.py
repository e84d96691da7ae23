"""Who is believed, and what is said where `velocity/1` does not come about: real handshakes, real refusals.

Section numbers are those of `docs/spec/velocity-1.md`.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from typing import TYPE_CHECKING, Any, Literal

import pytest
from cryptography import x509

from support import certificates, http3, needs
from support.authority import Authority, Issued
from support.engine import Engine, certificate, plan, route
from support.http1 import Http1
from support.http3 import Http3
from support.impostor import Impostor
from support.server import Server, velocity
from support.site import noise
from velocity import Client, _core
from velocity.errors import ClientError, ConnectError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.clients import Protocol
    from support.site import Site
    from velocity.client.connect import Profile


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    return authority.issue("localhost", "a.example")


@pytest.fixture(scope="module")
def trusted(site: Site, issued: Issued) -> Iterator[Server]:
    with Server(site.root, *issued.flags) as running:
        yield running


class Get:
    """`velocity client get` with a memory of its own."""

    def __init__(self, home: Path) -> None:
        self._env = {"XDG_STATE_HOME": str(home)}

    def __call__(self, server: Server, *flags: str | Path, code: int = 0) -> str:
        """What it said on stderr."""
        done = velocity("client", "get", server.url("/"), *flags, "--timeout", "10", env=self._env)
        said = done.stderr.decode()
        assert done.returncode == code, said
        return said


@pytest.fixture
def get(tmp_path: Path) -> Get:
    return Get(tmp_path / "state")


def downgrades(server: Server, reason: str) -> str:
    """The line in which the server says that it downgraded or refused somebody for that reason."""
    return server.line(lambda line: f'"{reason}"' in line and "velocity::tls" in line)


# --- certificates (section 5) -------------------------------------------------------------------------------------


def test_both_signatures_are_verified(trusted: Server, authority: Authority, get: Get) -> None:
    said = get(trusted, "--cacert", authority.root, "-v")
    assert "velocity/1 with" in said
    assert "ecdsa_secp256r1_sha256_mldsa65" in said
    assert "verified twice, by ECDSA and ML-DSA-65" in said


@pytest.mark.parametrize(
    ("profile", "scheme"),
    [("light", "mldsa44"), ("balanced", "mldsa65"), ("secure", "ecdsa_secp384r1_sha384_mldsa87")],
)
def test_every_profile_signs_with_its_pair(
    site: Site, authority: Authority, get: Get, profile: str, scheme: str
) -> None:
    issued = authority.issue("localhost", flags=("--profile", profile))
    with Server(site.root, *issued.flags, "--profile", profile) as running:
        said = get(running, "--cacert", authority.root, "-v", "--http", "velocity", "--profile", profile)
        assert scheme in said
        assert get(running, "--cacert", authority.root, "-v", "--http", "h3").count("mldsa") == 0


def test_others_get_the_lean_chain(trusted: Server, issued: Issued) -> None:
    sha256 = certificates.Pair(issued.lean, issued.key).sha256
    done = velocity("client", "probe", trusted.address, "--insecure", "--json")
    facts = json.loads(done.stdout)["protocols"]
    assert {name: facts[name]["certificate"]["sha256"] == sha256 for name in facts} == {
        "velocity/1": False,
        "h3": True,
        "h2": True,
        "http/1.1": True,
    }


@pytest.mark.parametrize(
    ("cacert", "classical", "ml_dsa", "cause"),
    [
        ("the root", True, True, None),
        ("another", False, False, "unknown_root"),
        ("without ML-DSA", True, False, "missing_extension"),
    ],
)
def test_a_probe_reports_both_verdicts(
    trusted: Server,
    authority: Authority,
    tmp_path: Path,
    cacert: str,
    classical: bool,
    ml_dsa: bool,
    cause: str | None,
) -> None:
    match cacert:
        case "the root":
            root = authority.root
        case "another":
            root = Authority(tmp_path).root
        case _:
            root = authority.classical_root(tmp_path / "root.pem")
    done = velocity("client", "probe", trusted.address, "--cacert", root, "--json")
    verdicts = json.loads(done.stdout)["protocols"]["velocity/1"]["verification"]
    assert (verdicts["classical"], verdicts["ml_dsa"], verdicts.get("cause")) == (classical, ml_dsa, cause)
    assert done.returncode == (0 if ml_dsa else 1)


@pytest.mark.parametrize("protocol", ["--http2", "--http1.1"])
def test_curl_takes_the_lean_chain(trusted: Server, authority: Authority, protocol: str) -> None:
    curl = needs.command("curl", "curl")
    command = [curl, "-sS", protocol, "--cacert", str(authority.root), trusted.url("/hello.txt")]
    done = subprocess.run(command, capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (0, b"hello\n"), done.stderr


def test_four_commands_from_an_empty_folder(tmp_path: Path) -> None:
    """`ca init`, `cert issue`, `serve` and `client get`, as the first of them says."""
    env = {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_STATE_HOME": str(tmp_path / "state")}
    (tmp_path / "index.html").write_text("from an empty folder")
    for words in (("ca", "init"), ("cert", "issue", "--dns", "localhost")):
        done = velocity(*words, env=env, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    folder = tmp_path / "certs" / "localhost"
    flags = ("--cert", folder / "fullchain.pem", "--key", folder / "privkey.pem")
    with Server(tmp_path, *flags, env=env) as running:
        done = velocity("client", "get", running.url("/"), "--cacert", folder / "root.pem", "-v", env=env)
        assert (done.returncode, done.stdout) == (0, b"from an empty folder"), done.stderr
        assert b"verified twice" in done.stderr


def test_what_does_not_pass_names_link_and_cause(trusted: Server, tmp_path: Path, get: Get) -> None:
    stranger = Authority(tmp_path / "stranger")
    said = get(trusted, "--cacert", stranger.root, "--http", "velocity", code=1)
    assert "quantum adversary: certificate 0 of the chain" in said
    assert "is no trusted root" in said
    assert "hint: pass the root of its authority with --cacert" in said


def test_a_chain_that_fails_is_final(trusted: Server, tmp_path: Path, get: Get) -> None:
    """No other protocol is tried: it would only hide what is wrong."""
    said = get(trusted, "--cacert", Authority(tmp_path / "stranger").root, code=1)
    assert said.count("error:") == 1
    assert "using" not in said


def test_a_revoked_certificate(site: Site, authority: Authority, get: Get) -> None:
    issued = authority.issue("localhost")
    with Server(site.root, *issued.flags) as running:
        get(running, "--cacert", authority.root)
        crl = authority.revoke(issued)
        assert "revoked" in get(running, "--cacert", authority.root, "--crl", crl, "--http", "velocity", code=1)
        assert "evoked" in get(running, "--cacert", authority.root, "--crl", crl, "--http", "h2", code=1)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        ("another's ML-DSA key", "does not belong to the certificate"),
        ("a key of another strength", "is no ML-DSA-65 key"),
        ("no ML-DSA key", "there is no ML-DSA-65 key"),
        ("a lean chain of another key", "does not belong to the certificate"),
        ("garbage", "holds no PEM"),
    ],
)
def test_files_that_do_not_fit_are_one_line_and_exit_3(
    site: Site, authority: Authority, spoil: str, words: str
) -> None:
    issued, other = authority.issue("localhost"), authority.issue("localhost")
    light = authority.issue("localhost", flags=("--profile", "light"))
    match spoil:
        case "another's ML-DSA key":
            issued.ml_dsa_key.write_bytes(other.ml_dsa_key.read_bytes())
        case "a key of another strength":
            issued.ml_dsa_key.write_bytes(light.ml_dsa_key.read_bytes())
        case "no ML-DSA key":
            issued.ml_dsa_key.unlink()
        case "a lean chain of another key":
            issued.lean.write_bytes(other.lean.read_bytes())
        case _:
            issued.ml_dsa_key.write_bytes(b"garbage")
    done = velocity("serve", "--root", site.root, "--listen", "127.0.0.1:0", *issued.flags)
    said = done.stderr.decode()
    assert done.returncode == 3, said
    assert words in said
    assert [line.split(":")[0] for line in said.splitlines()] == ["error", "hint"]


# --- the five reasons (section 6) ---------------------------------------------------------------------------------


def test_no_hybrid_cert(site: Site, tmp_path: Path, get: Get) -> None:
    pair = certificates.make(tmp_path / "classical")
    with Server(site.root, "--cert", pair.cert, "--key", pair.key) as running:
        running.line_with("velocity/1   off")
        assert get(running, "--insecure") == "no velocity/1 (no_hybrid_cert): using h3\n"
        assert "downgrade" in downgrades(running, "no_hybrid_cert")
        said = get(running, "--insecure", "--require-velocity", code=1)
        assert "it has no hybrid certificate for that name" in said


def test_a_certificate_too_weak_for_every_profile_permitted(site: Site, authority: Authority, get: Get) -> None:
    issued = authority.issue("localhost", flags=("--profile", "light"))
    with Server(site.root, *issued.flags, "--permit", "balanced,secure") as running:
        assert "(no_hybrid_cert): using h3" in get(running, "--cacert", authority.root)


def test_policy_disabled(site: Site, get: Get) -> None:
    with Server(site.root, "--alpn", "h3,h2") as running:
        assert get(running, "--cacert", running.trust) == "no velocity/1 (policy_disabled): using h3\n"
        downgrades(running, "policy_disabled")


def test_client_profile(site: Site, get: Get) -> None:
    with Server(site.root, "--permit", "secure", "--profile", "secure") as running:
        light = ("--cacert", running.trust, "--profile", "light")
        assert get(running, *light) == "no velocity/1 (client_profile): using h3\n"
        assert "PROFILE_POLICY_VIOLATION" in downgrades(running, "client_profile")
        said = get(running, *light, "--http", "velocity", code=1)
        assert "it permits other profiles only" in said
        assert "hint: it points to h3" in said


def client_of_another_make(server: Server, *alpn: str) -> tuple[str | None, Any]:
    """What aioquic, which knows neither hybrid groups nor hybrid schemes, is told: the field, and the close."""

    async def conversation() -> tuple[str | None, Any]:
        async with Http3.open(server.port, library="aioquic", alpn=alpn) as connection:
            await asyncio.sleep(0)
            answer = await connection.ask("/")
            second = await connection.ask("/")
            assert second.get("velocity-fallback") is None, "only the first response says it"
            return answer.get("velocity-fallback"), connection.closed

    return http3.run(conversation())


def test_client_sigalg(site: Site) -> None:
    with Server(site.root) as running:
        field, _ = client_of_another_make(running, "velocity/1", "h3")
        assert field == 'reason=client_sigalg, alpn="h3"'
        downgrades(running, "client_sigalg")
        with pytest.raises(ConnectionError, match="client_sigalg"):
            client_of_another_make(running, "velocity/1")


def test_who_did_not_ask_is_told_nothing(server: Server) -> None:
    for library in ("aioquic", "qh3"):
        assert http3.ask(server.port, "/", library=library).get("velocity-fallback") is None


def test_draining(tmp_path: Path, get: Get) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "large.bin").write_bytes(noise(8 << 20))
    with Server(root) as running, Http1(running.port, receive_buffer=32768) as download:
        download.send("GET", "/large.bin")  # nobody reads it: the server waits
        download.begin()
        running.terminate()
        running.line_with("draining")
        said = get(running, "--insecure", "--http", "velocity", code=1)
        assert "the server is going down" in said
        downgrades(running, "draining")


def test_the_directive_on_the_control_stream(site: Site) -> None:
    with Server(site.root, "--alpn", "h3", "--fallback-host", "b.example", "--fallback-port", "8443") as running:
        connection = _core.Connection("localhost", running.port, protocols=["velocity/1", "h3"], insecure=True)
        try:
            response = connection.request("GET", "/", [])
            field = dict(response.headers)["velocity-fallback"]
            deadline = time.monotonic() + 5
            while connection.fallback is None and time.monotonic() < deadline:
                time.sleep(0.01)  # another stream: it may come a little later
            assert connection.fallback == _core.parse_fallback(field)
            assert connection.fallback == {
                "reason": "policy_disabled",
                "alpn": "h3",
                "host": "b.example",
                "port": 8443,
            }
        finally:
            connection.close()


def test_well_known(server: Server) -> None:
    answer = http3.ask(server.port, "/.well-known/velocity")
    assert answer["content-type"] == "application/json"
    assert json.loads(answer.body) == {
        "velocity/1": True,
        "profiles": ["balanced", "light", "secure"],
        "fallback": {"alpn": "h3", "host": None, "port": None},
        "reason": None,
    }
    assert http3.ask(server.port, "/.well-known/velocity", "POST").status == 405


# --- following, and attacks ---------------------------------------------------------------------------------------


def refusing(site: Site, issued: Issued, target: Server) -> Server:
    """A server of `velocity/1` alone that permits one profile, and points others to `target`."""
    port = str(target.port)
    policy = ("--alpn", "velocity/1", "--permit", "secure", "--profile", "secure")
    return Server(site.root, *issued.flags, *policy, "--fallback-alpn", "h2", "--fallback-port", port)


def test_a_directive_is_followed(site: Site, authority: Authority, issued: Issued, get: Get) -> None:
    with Server(site.root, *issued.flags, "--alpn", "h2") as target, refusing(site, issued, target) as running:
        light = ("--cacert", authority.root, "--profile", "light")
        said = get(running, *light, "-v")
        assert "no velocity/1, h3 (client_profile): using h2" in said
        assert f"h2 with 127.0.0.1:{target.port}" in said
        assert "error" in get(running, *light, "--require-velocity", code=1)


@pytest.mark.parametrize("fallback", ["directed", "allow"])
def test_the_reason_is_the_servers(
    site: Site, authority: Authority, issued: Issued, fallback: Literal["directed", "allow"]
) -> None:
    with (
        Server(site.root, *issued.flags, "--alpn", "h2") as target,
        refusing(site, issued, target) as running,
        Client(verify=authority.root, profile="light", fallback=fallback) as client,
    ):
        negotiated = client.get(running.url("/hello.txt")).velocity
        assert (negotiated.alpn, negotiated.fallback) == ("h2", "client_profile")
        assert "it permits other profiles only" in str(negotiated.fallback_message)


def test_nobody_is_followed_who_is_not_the_original_host(
    site: Site, authority: Authority, issued: Issued, get: Get
) -> None:
    """A forged directive leads to a server of the forger's: its certificate is for another name, or nobody's."""
    other = authority.issue("evil.example")
    with Server(site.root, *other.flags, "--alpn", "h2") as evil, refusing(site, issued, evil) as running:
        said = get(running, "--cacert", authority.root, "--profile", "light", code=1)
        assert "is not valid" in said
        assert "using" not in said


def test_whoever_drops_udp_gets_what_policy_allows(site: Site, get: Get) -> None:
    with Server(site.root, "--alpn", "h2,http/1.1") as running:
        said = get(running, "--cacert", running.trust)
        assert re.fullmatch(r"no velocity/1, h3 \(.*\): using h2\n", said)
        assert "error" in get(running, "--cacert", running.trust, "--require-velocity", code=1)


def test_a_host_that_spoke_velocity_before(site: Site, authority: Authority, issued: Issued, get: Get) -> None:
    with Server(site.root, *issued.flags) as running:
        assert get(running, "--cacert", authority.root) == ""
        port = running.port
    with Server(site.root, *issued.flags, "--alpn", "h2", listen=f"127.0.0.1:{port}") as running:
        said = get(running, "--cacert", authority.root)
        assert "warning: this host spoke velocity/1 on 20" in said
        assert "--require-velocity" in said


def test_a_server_that_claims_velocity_with_a_classical_certificate(tmp_path: Path, get: Get) -> None:
    """An attacker who can forge ECDSA, and nothing else, in the place of the server (qh3 plays it)."""
    pair = certificates.make(tmp_path / "forged")
    with Impostor(pair, "velocity/1") as port:
        both: list[Protocol] = ["velocity/1", "h3"]
        for protocols in (both, both[:1]):
            with pytest.raises(ConnectError) as caught:
                _core.Connection("localhost", port, protocols=protocols, ca_file=str(pair.cert))
            assert caught.value.code in {"CERT_PQ_VALIDATION_FAILED", "HANDSHAKE_FAILED"}, caught.value
        with pytest.raises(ConnectError) as caught:
            _core.Connection("localhost", port, protocols=both, insecure=True)
        assert caught.value.code == "CERT_PQ_VALIDATION_FAILED"
        assert caught.value.details["cause"] == "missing_extension"


# --- names, hosts and reloads: what a Plan says ---------------------------------------------------------------------


def served(
    first: Issued,
    *more: Issued,
    sites: list[dict[str, Any]] | None = None,
    handler: dict[str, Any] | None = None,
    **tls: Any,
) -> str:
    """A Plan with these certificates."""
    pairs = [certificates.Pair(one.cert, one.key) for one in (first, *more)]
    answer = route(handler or {"kind": "respond", "body": "here"})
    every = [{"routes": [answer]}, *({**site, "routes": [answer]} for site in sites or [])]
    return plan(pairs[0], [], sites=every, tls={"certificates": [certificate(pair) for pair in pairs], **tls})


def names_shown(engine: Engine, name: str, protocol: Protocol = "velocity/1") -> set[str]:
    """The names of the certificate for an SNI."""
    connection = _core.Connection(
        "127.0.0.1", engine.port, protocols=[protocol], server_name=name, insecure=True, timeout=10.0
    )
    try:
        leaf = x509.load_der_x509_certificate(connection.facts["certificate_chain"][0])
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return set(names.get_values_for_type(x509.DNSName))
    finally:
        connection.close()


@pytest.mark.parametrize("protocol", ["velocity/1", "h3", "h2"])
def test_certificates_by_name(authority: Authority, protocol: Protocol) -> None:
    default, exact, wildcard = (
        authority.issue(*names) for names in (["localhost"], ["b.a.example"], ["*.a.example", "a.example"])
    )
    with Engine(served(default, wildcard, exact)) as engine:
        for name, shown in (
            ("localhost", {"localhost"}),
            ("unknown.example", {"localhost"}),
            ("a.example", {"*.a.example", "a.example"}),
            ("c.a.example", {"*.a.example", "a.example"}),
            ("d.c.a.example", {"localhost"}),
            ("b.a.example", {"b.a.example"}),
        ):
            assert names_shown(engine, name, protocol) == shown, name


def test_certificates_are_swapped_while_connections_go_on(authority: Authority) -> None:
    old, new = authority.issue("old.example"), authority.issue("new.example")
    with Engine(served(old)) as engine:
        connection = _core.Connection("127.0.0.1", engine.port, protocols=["velocity/1"], insecure=True)
        assert names_shown(engine, "localhost") == {"old.example"}
        assert engine.reload(served(new)) == {}
        assert names_shown(engine, "localhost") == {"new.example"}
        assert connection.request("GET", "/", []).read() == b"here"
        connection.close()
        new.key.write_bytes(old.key.read_bytes())
        assert engine.reload(served(new))["code"] == "CERT_KEY_MISMATCH"
        assert names_shown(engine, "localhost") == {"new.example"}


def test_policy_by_host(authority: Authority) -> None:
    issued = authority.issue("localhost")
    secure = {"default": "secure", "permit": ["secure"]}
    sites = [{"hosts": ["vault.example"], "profiles": secure}, {"hosts": ["*.bank.example"], "profiles": secure}]
    with Engine(served(issued, sites=sites)) as engine:

        def profile(name: str, wanted: Profile | None) -> str | None:
            both: list[Protocol] = ["velocity/1", "h3"]
            connection = _core.Connection(
                "127.0.0.1", engine.port, protocols=both, profile=wanted, server_name=name, insecure=True
            )
            facts = connection.facts
            connection.close()
            return str(facts["profile"]) if facts["alpn"] == "velocity/1" else None

        assert profile("other.example", None) == "balanced"
        assert profile("other.example", "light") == "light"
        for name in ("vault.example", "a.bank.example", "b.a.bank.example"):
            assert profile(name, None) == "secure", name
            assert profile(name, "light") is None, name
        counted = engine.counters()
        assert counted["downgrades:client_profile"] == 3
        assert counted["profiles:secure"] == 3
        assert counted["handshakes:velocity/1"] == 5
        assert counted["handshakes:h3"] == 3


def test_failures_are_counted(authority: Authority, client: Issued, tmp_path: Path) -> None:
    issued = authority.issue("localhost")
    stranger = Authority(tmp_path / "stranger").issue("worker-7.internal", flags=("--client",))
    who = {"kind": "json", "body": {"who": "{{ identity }}"}}
    auth = {"roots_file": str(authority.root), "mode": "require"}
    with Engine(served(issued, handler=who, client_auth=auth)) as engine:

        def connect(who: Issued) -> str:
            connection = _core.Connection(
                "127.0.0.1",
                engine.port,
                protocols=["velocity/1"],
                insecure=True,
                cert_file=str(who.cert),
                key_file=str(who.key),
                alternative_key_file=str(who.ml_dsa_key),
                timeout=5.0,
            )
            return (connection.request("GET", "/", [], None, 5.0).read() or b"").decode()

        assert connect(client) == '{"who":"CN=worker-7.internal"}\n', "handlers know who asks"
        with pytest.raises(ClientError):
            connect(stranger)
        deadline = time.monotonic() + 5
        while engine.counters()["pq_validation_failures"] == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert engine.counters()["pq_validation_failures"] == 1
        assert engine.counters()["handshakes_failed"] == 1


# --- client certificates -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(authority: Authority) -> Issued:
    return authority.issue("worker-7.internal", flags=("--client",))


@pytest.fixture(scope="module")
def guarded(site: Site, authority: Authority, issued: Issued) -> Iterator[Server]:
    flags = (*issued.flags, "--client-ca", authority.root, "--client-auth", "require", "--log-format", "json", "-v")
    with Server(site.root, *flags) as running:
        yield running


@pytest.mark.parametrize("http", ["velocity", "h3", "h2", "h1"])
def test_client_certificates(guarded: Server, authority: Authority, client: Issued, get: Get, http: str) -> None:
    root = ("--cacert", authority.root, "--http", http)
    get(guarded, *root, *client.flags)
    alpn = {"velocity": "velocity/1", "h1": "http/1.1"}.get(http, http)
    line = json.loads(guarded.line(lambda line: '"event":"request"' in line and f'"alpn":"{alpn}"' in line))
    assert "worker-7.internal" in line["identity"]
    get(guarded, *root, code=1)


@pytest.mark.parametrize("http", ["velocity", "h2"])
def test_client_certificates_of_strangers(
    guarded: Server, authority: Authority, tmp_path: Path, get: Get, http: str
) -> None:
    stranger = Authority(tmp_path / "stranger").issue("worker-7.internal", flags=("--client",))
    get(guarded, "--cacert", authority.root, "--http", http, *stranger.flags, code=1)
    if http == "velocity":
        guarded.line_with("CERT_PQ_VALIDATION_FAILED")


def test_a_classical_client_certificate_is_not_enough_for_velocity(
    guarded: Server, authority: Authority, client: Issued, get: Get, tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"  # without the ML-DSA key beside it
    key.write_bytes(client.key.read_bytes())
    root = ("--cacert", authority.root)
    get(guarded, *root, "--http", "velocity", "--cert", client.lean, "--key", key, code=1)
    get(guarded, *root, "--http", "h3", "--cert", client.lean, "--key", key)


def test_a_server_certificate_is_none_of_a_client(
    guarded: Server, authority: Authority, issued: Issued, get: Get
) -> None:
    get(guarded, "--cacert", authority.root, "--http", "velocity", *issued.flags, code=1)


def test_requested_and_not_required(site: Site, authority: Authority, issued: Issued, get: Get) -> None:
    with Server(site.root, *issued.flags, "--client-ca", authority.root) as running:
        for http in ("velocity", "h2"):
            get(running, "--cacert", authority.root, "--http", http)


def test_revoked_clients(site: Site, authority: Authority, issued: Issued, get: Get) -> None:
    good, bad = (authority.issue("worker.internal", flags=("--client",)) for _ in range(2))
    crl = authority.revoke(bad)
    flags = ("--client-ca", authority.root, "--client-auth", "require", "--client-crl", crl)
    with Server(site.root, *issued.flags, *flags) as running:
        for http in ("velocity", "h2"):
            get(running, "--cacert", authority.root, "--http", http, *good.flags)
            get(running, "--cacert", authority.root, "--http", http, *bad.flags, code=1)
