"""Logins through node-oidc-provider, and tokens of it."""

from __future__ import annotations

import base64
import json
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from support import certificates, oidc
from support.clients import PROTOCOLS, Protocol, ask
from support.oidc import API, SECRET, Browser, Provider
from support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "login.md"
SESSION = "__Host-velocity_session"
CALLBACK = "/.velocity/oidc/callback"
LOGOUT = "/.velocity/oidc/logout"
ANY = {"accept": "*/*"}
"""What programs say that nobody told what to accept."""

ROUTES = """
  - {path: /open, text: open}
  - path: /me
    middlewares: [login]
    json:
      sub: "{{ claims.sub }}"
      name: "{{ claims.name }}"
      email: "{{ request.headers.x_user_email }}"
      groups: "{{ request.headers.x_user_groups }}"
      cookie: "{{ request.headers.cookie }}"
      query: "{{ request.query }}"
"""
OPS = "  - {path: /ops, text: for ops, middlewares: [ops]}\n"


def middleware(port: int, *, scheme: str = "http", **more: Any) -> dict[str, Any]:
    """The login with a provider."""
    return {
        "kind": "oidc",
        "apply": "named",
        "name": "login",
        "issuer": f"{scheme}://localhost:{port}",
        "client_id": "velocity",
        "client_secret": {"file": "oidc.secret"},
        "scopes": ["profile", "email", "groups"],
        "claims": ["name"],
        "claim_headers": {"email": "X-User-Email", "groups": "X-User-Groups"},
        "audiences": [API],
        **more,
    }


def serve(folder: Path, *rules: dict[str, Any], routes: str = ROUTES, listen: str = "127.0.0.1:0") -> Server:
    """A server whose edge has these middlewares."""
    (folder / "root").mkdir(exist_ok=True)
    (folder / "oidc.secret").write_text(f"{SECRET}\n")
    (folder / "edge.yaml").write_text(f"middlewares: {json.dumps(rules)}\nroutes:{routes}")
    return Server(folder / "root", "--edge-config", folder / "edge.yaml", listen=listen)


def origin(server: Server) -> str:
    """What browsers call it."""
    return f"https://localhost:{server.port}"


def said(server: Server, event: str) -> int:
    """How often the server has logged something."""
    return len(re.findall(rf"\b{event}\b", server.stderr))


class World(NamedTuple):
    server: Server
    provider: Provider

    def url(self, path: str) -> str:
        """The URL of a page."""
        return origin(self.server) + path

    def browser(self, name: str) -> Browser:
        """One in which somebody is logged in."""
        browser = Browser()
        assert browser.log_in(self.url("/me"), name)[1].status == 200
        return browser

    def session(self, browser: Browser) -> str:
        """The session of a browser."""
        return browser.cookies[f"localhost:{self.server.port}"][SESSION]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server that was there before its provider."""
    port = oidc.free_port()
    login = middleware(port)
    ops = middleware(port, name="ops", require={"groups": ["ops", "admins"]}, claims=[])
    folder = tmp_path_factory.mktemp("oidc")
    with serve(folder, login, ops, routes=ROUTES + OPS) as server, Provider(port, origin(server)) as provider:
        yield World(server, provider)


def test_a_person_logs_in(world: World) -> None:
    browser = Browser()
    url, page = browser.log_in(world.url("/me?page=2"), "ann")
    assert (url, page.status) == (world.url("/me?page=2"), 200)
    assert page["cache-control"] == "private"
    assert json.loads(page.body) == {
        "sub": "ann",
        "name": "Ann Ü",
        "email": "ann@a.example",
        "groups": "dev,ops",
        "cookie": "",
        "query": "page=2",
    }
    began = next(went for went in browser.went if went.startswith(f"{world.provider.issuer}/auth?"))
    for part in ("response_type=code", "code_challenge_method=S256", "state=", "nonce=", "scope=openid+profile+email"):
        assert part in began
    assert list(browser.cookies[f"localhost:{world.server.port}"]) == [SESSION], "what the login needed is gone"
    # Another page, without another login.
    went = len(browser.went)
    assert browser.follow(world.url("/me"))[1].status == 200
    assert len(browser.went) == went + 1


def test_cookies_are_for_this_host_and_no_script(world: World) -> None:
    browser = Browser()
    away = browser.open(world.url("/me"))
    assert away.status == 302
    assert away["cache-control"] == "no-store"
    assert re.fullmatch(
        rf"{SESSION}_login\d=[\w-]+; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax", away["set-cookie"]
    )
    assert len(away["set-cookie"]) < 2048


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_session_is_good_over_every_protocol(world: World, protocol: Protocol) -> None:
    cookie = f"{SESSION}={world.session(world.browser('ann'))}"
    answer = ask(protocol, world.server.port, "/me", fields=[("cookie", cookie), ("x-user-email", "eve@a.example")])
    assert answer.status == 200
    assert json.loads(answer.body)["email"] == "ann@a.example"


def test_claims_decide(world: World) -> None:
    assert world.browser("ann").open(world.url("/ops")).body == b"for ops"
    bob = world.browser("bob")
    refused = bob.open(world.url("/ops"))
    assert refused.status == 403
    assert bob.open(world.url("/me")).status == 200
    world.server.line_with("access_denied")
    # Whoever comes by the narrow door may use the wide one: its session holds what both want.
    browser = Browser()
    assert browser.log_in(world.url("/ops"), "ann")[1].body == b"for ops"
    assert json.loads(browser.open(world.url("/me")).body)["name"] == "Ann Ü"


@pytest.mark.parametrize("name", ["X-User-Email", "x_user_email", "X-User_Email", "X-User-Groups"])
def test_nobody_says_their_own_claims(world: World, name: str) -> None:
    got = json.loads(world.browser("bob").open(world.url("/me"), fields={name: "ann@a.example"}).body)
    assert (got["email"], got["groups"]) == ("bob@a.example", "dev")


def test_programs_are_told_what_to_bring(world: World) -> None:
    browser = Browser()
    for fields in (
        {"accept": "application/json"},
        {"accept": "*/*"},
        {"sec-fetch-mode": "cors"},
        {"accept": "application/json", "authorization": "Basic YTpi"},
    ):
        answer = browser.open(world.url("/me"), fields=fields)
        assert (answer.status, answer["www-authenticate"]) == (401, "Bearer"), fields
        assert answer.get("set-cookie") is None
    assert browser.open(world.url("/me"), form={}).status == 401
    assert browser.open(world.url("/open"), fields=ANY).status == 200


def test_tokens_of_programs(world: World) -> None:
    def bearer(token: str, path: str = "/me") -> tuple[int, str | None, bytes]:
        answer = Browser().open(world.url(path), fields={"authorization": f"Bearer {token}"})
        return answer.status, answer.get("www-authenticate"), bytes(answer.body)

    invalid = 'Bearer error="invalid_token"'
    token = world.provider.token()
    status, _, body = bearer(token)
    assert (status, json.loads(body)["sub"]) == (200, "program")
    assert bearer(token, "/ops")[0] == 403
    assert bearer(world.provider.token("https://other.example"))[:2] == (401, invalid)
    head, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    for forged in (
        f"{head}.{encoded({**claims, 'sub': 'ann'})}.{signature}",
        f"{encoded({'alg': 'none'})}.{payload}.",
        f"{head}.{payload}.{signature[::-1]}",
        f"{head}.{payload}",
        "",
        "nonsense",
    ):
        assert bearer(forged)[:2] == (401, invalid), forged
    # A session does not help who shows a wrong token.
    answer = world.browser("ann").open(world.url("/me"), fields={"authorization": "Bearer nonsense"})
    assert answer.status == 401


def encoded(part: dict[str, Any]) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def test_a_logout_ends_the_session(world: World) -> None:
    browser = world.browser("ann")
    cookie = world.session(browser)
    away = browser.open(world.url(LOGOUT))
    assert away.status == 302
    assert away["location"] == f"{world.provider.issuer}/session/end?client_id=velocity"
    assert away["set-cookie"] == f"{SESSION}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
    assert SESSION not in browser.cookies[f"localhost:{world.server.port}"]
    assert browser.open(world.url("/me")).status == 302
    page = browser.open(away["location"])
    assert (page.status, b"logout" in page.body) == (200, True)
    # Nothing is kept here: a session that somebody has copied lasts as long as it says.
    assert ask("h2", world.server.port, "/me", fields=[("cookie", f"{SESSION}={cookie}")]).status == 200


def test_what_was_not_begun_here_is_not_ended_here(world: World) -> None:
    # Eve logs in, and has Ann's browser open the last address.
    eve = Browser()
    _, page = eve.follow(world.url("/me"))
    action = re.search(rb'action="([^"]+)"', page.body)
    assert action
    _, page = eve.follow(action[1].decode(), {"prompt": "login", "login": "eve", "password": "any"})
    action = re.search(rb'action="([^"]+)"', page.body)
    assert action
    answer = eve.open(action[1].decode(), {"prompt": "consent"})
    while not answer["location"].startswith(world.url(CALLBACK)):
        answer = eve.open(answer["location"])
    last = answer["location"]
    for victim in (Browser(), world.browser("ann")):
        victim.open(world.url("/me"))
        before = dict(victim.cookies[f"localhost:{world.server.port}"])
        refused = victim.open(last)
        assert refused.status == 400
        assert victim.cookies[f"localhost:{world.server.port}"] == before
    assert eve.open(last.replace("state=", "state=x")).status == 400
    assert eve.open(re.sub("iss=[^&]*", "iss=https%3A%2F%2Felse.example", last)).status == 400
    world.server.line_with("it was not begun by this browser")
    world.server.line_with("it comes from another provider")
    # What has failed once is over.
    assert eve.open(last).status == 400
    for path in ("", "?code=a", "?state=a", "?code=a&state=b&" + "c" * 5000):
        assert Browser().open(world.url(CALLBACK + path)).status == 400
    assert Browser().open(world.url(CALLBACK), form={"code": "a"}).status == 405


def test_cookies_that_were_changed_are_nothing(world: World) -> None:
    good = world.session(world.browser("ann"))
    browser = Browser()
    known = browser.cookies.setdefault(f"localhost:{world.server.port}", {})
    for number in range(0, len(good), 7):
        known[SESSION] = good[:number] + ("A" if good[number] != "A" else "B") + good[number + 1 :]
        assert browser.open(world.url("/me"), fields=ANY).status == 401, number
    for wrong in ("", "A", good[:-1], good + "A", "A" * 3000, good[::-1]):
        known[SESSION] = wrong
        assert browser.open(world.url("/me"), fields=ANY).status == 401, wrong
    # A login that has begun is no session.
    started = Browser()
    started.open(world.url("/me"))
    known[SESSION] = next(iter(started.cookies[f"localhost:{world.server.port}"].values()))
    assert browser.open(world.url("/me"), fields=ANY).status == 401
    known[SESSION] = good
    assert browser.open(world.url("/me"), fields=ANY).status == 200


def test_the_way_back_stays_on_this_host(world: World) -> None:
    for path in ("//else.example/a", "/%5Celse.example", "/me?x=//else.example"):
        url, _ = Browser().log_in(world.url(path), "ann")
        assert url.startswith(origin(world.server)), path


def test_keys_are_replaced(tmp_path: Path) -> None:
    port = oidc.free_port()
    with serve(tmp_path, middleware(port)) as server:
        with Provider(port, origin(server)) as provider:
            browser = World(server, provider).browser("ann")
            old = provider.token()
        with Provider(port, origin(server), kid="two") as provider:
            world = World(server, provider)
            new = provider.token()
            assert Browser().open(world.url("/me"), fields={"authorization": f"Bearer {new}"}).status == 200
            assert Browser().open(world.url("/me"), fields={"authorization": f"Bearer {old}"}).status == 401
            assert browser.open(world.url("/me")).status == 200
            # Whoever makes up keys does not make us ask for them every time.
            _, payload, signature = new.split(".")
            for number in range(20):
                made_up = f"{encoded({'alg': 'RS256', 'kid': f'k{number}'})}.{payload}.{signature}"
                assert Browser().open(world.url("/me"), fields={"authorization": f"Bearer {made_up}"}).status == 401
            assert provider.requests.count("/jwks") == 1
            assert world.browser("bob")


def test_a_provider_may_come_and_go(tmp_path: Path) -> None:
    port = oidc.free_port()
    with serve(tmp_path, middleware(port)) as server:
        url = f"{origin(server)}/me"
        for _ in range(3):
            answer = Browser().open(url)
            assert (answer.status, answer["retry-after"]) == (502, "5")
        assert Browser().open(f"{origin(server)}/open").status == 200
        assert Browser().open(url, fields=ANY).status == 401
        server.line_with("provider_unreachable")
        with Provider(port, origin(server)):
            deadline = time.monotonic() + 10
            while Browser().open(url).status == 502:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            browser = Browser()
            assert browser.log_in(url, "ann")[1].status == 200
            pending = Browser()
            pending.follow(url)
            back = (
                f"{CALLBACK}?code=a&iss=http%3A%2F%2Flocalhost%3A{port}&state="
                + re.findall("state=([^&]+)", pending.went[-2])[0]
            )
        server.line_with("provider_reachable")
        assert said(server, "provider_unreachable") == 1
        # Sessions do not need it. Logins that have begun do.
        assert browser.open(url).status == 200
        assert pending.open(origin(server) + back).status == 502


def test_sessions_outlive_reloads(tmp_path: Path) -> None:
    port = oidc.free_port()
    with serve(tmp_path, middleware(port)) as server, Provider(port, origin(server)) as provider:
        browser = World(server, provider).browser("ann")
        edge = tmp_path / "edge.yaml"
        edge.write_text(edge.read_text().replace("text: open", "text: reloaded"))
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while browser.open(f"{origin(server)}/open").body != b"reloaded":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert browser.open(f"{origin(server)}/me").status == 200


@pytest.mark.parametrize("kept", [True, False])
def test_sessions_outlive_restarts_with_a_secret(tmp_path: Path, kept: bool) -> None:
    (tmp_path / "cookie.secret").write_text("k" * 40)
    port = oidc.free_port()
    secret: dict[str, Any] = {"cookie_secret": {"file": "cookie.secret"}} if kept else {}
    login = middleware(port, **secret)
    with serve(tmp_path, login) as server:
        with Provider(port, origin(server)) as provider:
            browser = World(server, provider).browser("ann")
        listen = f"127.0.0.1:{server.port}"
        server.terminate()
        server.wait()
    with serve(tmp_path, login, listen=listen) as server:
        # The provider is gone, and nobody needs it.
        assert browser.open(f"{origin(server)}/me").status == (200 if kept else 502)


def test_sessions_end(tmp_path: Path) -> None:
    port = oidc.free_port()
    with serve(tmp_path, middleware(port, session="2s")) as server, Provider(port, origin(server)) as provider:
        browser = World(server, provider).browser("ann")
        time.sleep(2.1)
        assert browser.open(f"{origin(server)}/me", fields=ANY).status == 401


@pytest.mark.parametrize("client", ["post", "public"])
def test_clients_of_every_kind(tmp_path: Path, client: str) -> None:
    port = oidc.free_port()
    login = middleware(port, client_id=client)
    if client == "public":
        del login["client_secret"]
    with serve(tmp_path, login) as server, Provider(port, origin(server), only=client) as provider:
        assert World(server, provider).browser("ann")


def test_a_provider_over_tls(tmp_path: Path) -> None:
    port = oidc.free_port()
    pair = certificates.make(tmp_path)
    trusting = middleware(port, scheme="https", ca_file=str(pair.cert))
    (tmp_path / "other").mkdir()
    with (
        serve(tmp_path, trusting) as server,
        serve(tmp_path / "other", {**trusting, "ca_file": None}) as wary,
        Provider(port, origin(server), pair=pair) as provider,
    ):
        assert World(server, provider).browser("ann")
        assert Browser().open(f"{origin(wary)}/me").status == 502
        wary.line_with("provider_unreachable")


def test_the_example_of_the_guide(tmp_path: Path) -> None:
    port = oidc.free_port()
    example = GUIDE.read_text().split("```yaml\n")[1].split("```")[0]
    (tmp_path / "edge.yaml").write_text(example.replace("https://auth.example.com", f"http://localhost:{port}"))
    (tmp_path / "oidc.secret").write_text(SECRET)
    (tmp_path / "cookie.secret").write_text("k" * 40)
    (tmp_path / "root").mkdir()
    with (
        Server(tmp_path / "root", "--edge-config", tmp_path / "edge.yaml") as server,
        Provider(port, origin(server)),
    ):
        browser = Browser()
        assert browser.open(f"{origin(server)}/").body == b"for everybody"
        _, page = browser.log_in(f"{origin(server)}/hello", "ann")
        assert json.loads(page.body) == {"hello": "Ann Ü", "email": "ann@a.example"}
        assert browser.open(f"{origin(server)}/admin").body == b"for a few"
        assert Browser().log_in(f"{origin(server)}/admin", "bob")[1].status == 403
