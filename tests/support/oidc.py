"""An OpenID provider that nobody here wrote: node-oidc-provider, at the versions that its lock file names."""

from __future__ import annotations

import base64
import functools
import html
import json
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import needs
from support.answer import Answer
from support.http1 import tls_context

if TYPE_CHECKING:
    from types import TracebackType

    from support.certificates import Pair

SOURCE = Path(__file__).with_name("oidc_provider")
API = "https://api.example"
"""The audience of tokens for programs."""
SECRET = "only for tests"

_BASIC = "client_secret_basic"
_TIMEOUT = 20.0


@functools.cache
def _installed() -> Path:
    """The folder of the installed provider: one for all tests of a session."""
    npm = needs.command("npm", "Node.js 20 or later, with npm")
    folder = Path(tempfile.mkdtemp(prefix="velocity-oidc-"))
    for name in ("package.json", "package-lock.json", ".npmrc", "provider.mjs"):
        shutil.copy(SOURCE / name, folder)
    install = [npm, "ci", "--ignore-scripts", "--no-progress"]
    installed = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=280)
    assert installed.returncode == 0, installed.stderr
    return folder


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


class Provider:
    """The provider at `port` of localhost, which knows these clients: `velocity`, with a secret; `post`, which sends it
    in the form; `public`, without one; and `program`, which has tokens of its own.

    Args:
        port: where it listens; one that was free before.
        origin: of the site that its users log in to.
        kid: the name of its signing key, which is made anew.
        pair: for TLS; without, it listens in clear.
        only: the only client that it knows.
    """

    def __init__(
        self, port: int, origin: str, *, kid: str = "one", pair: Pair | None = None, only: str | None = None
    ) -> None:
        node = needs.command("node", "Node.js 20 or later")
        code = {
            "redirect_uris": [f"{origin}/.velocity/oidc/callback"],
            "grant_types": ["authorization_code"],
            "response_types": ["code"],
        }
        clients: list[dict[str, Any]] = [
            {"client_id": "velocity", "client_secret": SECRET, "token_endpoint_auth_method": _BASIC, **code},
            {"client_id": "post", "client_secret": SECRET, "token_endpoint_auth_method": "client_secret_post", **code},
            {"client_id": "public", "token_endpoint_auth_method": "none", **code},
            {
                "client_id": "program",
                "client_secret": SECRET,
                "token_endpoint_auth_method": _BASIC,
                "grant_types": ["client_credentials"],
                "redirect_uris": [],
                "response_types": [],
            },
        ]
        clients = [client for client in clients if only in (None, client["client_id"])]
        methods = sorted({client["token_endpoint_auth_method"] for client in clients})
        self.issuer = f"{'https' if pair else 'http'}://localhost:{port}"
        self.requests: list[str] = []
        """The paths of all requests so far."""
        tls = {"cert": str(pair.cert), "key": str(pair.key)} if pair else None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this
        self._ready = threading.Event()
        self._process = subprocess.Popen(
            [
                node,
                "provider.mjs",
                json.dumps({"port": port, "kid": kid, "clients": clients, "methods": methods, "tls": tls}),
            ],
            cwd=_installed(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(_TIMEOUT):
            said = self._log()
            self.stop()
            raise AssertionError(f"the provider did not start: {said}")

    def __enter__(self) -> Provider:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, and what it knew of anybody."""
        self._process.kill()
        self._process.wait(_TIMEOUT)
        self._reader.join(_TIMEOUT)
        self._errors.close()

    def token(self, audience: str = API) -> str:
        """A bearer token of the program."""
        form = urllib.parse.urlencode({"grant_type": "client_credentials", "resource": audience}).encode()
        pair = f"program:{urllib.parse.quote_plus(SECRET)}"
        fields = {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        request = urllib.request.Request(f"{self.issuer}/token", form, fields)
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            token: str = json.load(answer)["access_token"]
            return token

    def _log(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line == "ready\n":
                self._ready.set()
            elif line.startswith("/"):
                self.requests.append(line.strip())
        self._process.stdout.close()


class Browser:
    """What of a browser a login needs: cookies by host, redirects, and forms with hidden fields."""

    def __init__(self) -> None:
        self.cookies: dict[str, dict[str, str]] = {}
        """By host and port, then by name."""
        self.went: list[str] = []
        """Every URL that it opened."""
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=tls_context()), _NoRedirects())

    def open(self, url: str, form: dict[str, str] | None = None, fields: dict[str, str] | None = None) -> Answer:
        """One request, as a person makes it who types an address or sends a form; redirects are not followed.

        Args:
            form: sent by POST.
            fields: further header fields.
        """
        host = urllib.parse.urlsplit(url).netloc
        known = self.cookies.setdefault(host, {})
        headers = {"accept": "text/html,*/*;q=0.5", **(fields or {})}
        if known:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in known.items())
        self.went.append(url)
        body = urllib.parse.urlencode(form).encode() if form is not None else None
        request = urllib.request.Request(url, body, headers)
        try:
            answer = self._opener.open(request, timeout=_TIMEOUT)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            got = Answer(
                answer.status, [(name.lower(), value) for name, value in answer.headers.items()], answer.read()
            )
        for name, value in got.fields:
            if name == "set-cookie":
                for morsel in SimpleCookie(value).values():
                    known[morsel.key] = morsel.value
                    if morsel["max-age"] == "0" or not morsel.value:
                        del known[morsel.key]
        return got

    def follow(self, url: str, form: dict[str, str] | None = None) -> tuple[str, Answer]:
        """The page where redirects end, and its URL."""
        for _ in range(10):
            answer = self.open(url, form)
            if answer.status not in (301, 302, 303, 307, 308):
                return url, answer
            url, form = urllib.parse.urljoin(url, answer["location"]), None
        raise AssertionError(f"redirects without end: {self.went}")

    def log_in(self, url: str, name: str) -> tuple[str, Answer]:
        """Open a page, log in with the provider by `name` where it asks for that, and see where it ends."""
        url, answer = self.follow(url)
        while (action := re.search(rb'<form[^>]* action="([^"]+)"', answer.body)) is not None:
            hidden = re.findall(rb'<input type="hidden" name="([^"]+)" value="([^"]*)"', answer.body)
            form = {key.decode(): html.unescape(value.decode()) for key, value in hidden}
            if b'name="login"' in answer.body:
                form |= {"login": name, "password": "any"}
            url, answer = self.follow(urllib.parse.urljoin(url, html.unescape(action[1].decode())), form)
        return url, answer


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None
