"""Who is asking: Basic (RFC 7617), Digest (RFC 7616), Bearer (RFC 6750), netrc, and whatever a function adds.

An `Auth` is a generator over requests: what it yields is sent, and what was answered comes back into it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
from threading import Lock
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from velocity.client.exceptions import RemoteProtocolError
from velocity.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from velocity.client.requests import Request
    from velocity.client.responses import Response

__all__ = ["Auth", "AuthTypes", "BasicAuth", "BearerAuth", "DigestAuth", "FunctionAuth", "NetRCAuth", "auth_of"]

AuthTypes: TypeAlias = "tuple[str | bytes, str | bytes] | Callable[[Request], Request] | Auth"


class Auth:
    """Base of all: override `auth_flow`.

    Attributes:
        requires_request_body: whether the content is gathered before `auth_flow` runs.
        requires_response_body: whether the content of answers is, before they come back into it.
    """

    requires_request_body: ClassVar[bool] = False
    requires_response_body: ClassVar[bool] = False

    def auth_flow(self, request: Request) -> Generator[Request, Response, None]:
        """Yield requests; the last one's answer is the one."""
        yield request

    def sync_auth_flow(self, request: Request) -> Generator[Request, Response, None]:
        """The same for a `Client`; override it where waiting is needed."""
        if self.requires_request_body:
            request.read()
        flow = self.auth_flow(request)
        try:
            asked = next(flow)
            while True:
                response = yield asked
                if self.requires_response_body:
                    response.read()
                asked = flow.send(response)
        except StopIteration:
            return
        finally:
            flow.close()

    async def async_auth_flow(self, request: Request) -> AsyncGenerator[Request, Response]:
        """The same for an `AsyncClient`; override it where waiting is needed."""
        if self.requires_request_body:
            await request.aread()
        flow = self.auth_flow(request)
        try:
            asked = next(flow)
            while True:
                response = yield asked
                if self.requires_response_body:
                    await response.aread()
                asked = flow.send(response)
        except StopIteration:
            return
        finally:
            flow.close()


class FunctionAuth(Auth):
    """Whatever a function makes of a request."""

    def __init__(self, function: Callable[[Request], Request]) -> None:
        self._function = function

    def auth_flow(self, request: Request) -> Generator[Request, Response, None]:
        """As the function has it."""
        yield self._function(request)


class BasicAuth(Auth):
    """User and password in every request (RFC 7617), as UTF-8."""

    def __init__(self, username: str | bytes, password: str | bytes) -> None:
        user = _bytes(username)
        if b":" in user:
            raise ConfigError("AUTH_INVALID", "the name of a user has no colon (RFC 7617)", "use another kind of auth")
        self.header = f"Basic {base64.b64encode(user + b':' + _bytes(password)).decode('ascii')}"

    def auth_flow(self, request: Request) -> Generator[Request, Response, None]:
        """One field."""
        request.headers["authorization"] = self.header
        yield request


class BearerAuth(Auth):
    """A token in every request (RFC 6750).

    Args:
        token: it, or a function that gives it; the function is asked once more after a 401.
    """

    def __init__(self, token: str | Callable[[], str]) -> None:
        self._token = token

    def auth_flow(self, request: Request) -> Generator[Request, Response, None]:
        """One field; and another token where the first one is no good any more."""
        token = self._token if isinstance(self._token, str) else self._token()
        request.headers["authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == 401 and not isinstance(self._token, str):
            fresh = self._token()
            if fresh != token and request.is_repeatable:
                request.headers["authorization"] = f"Bearer {fresh}"
                yield request


class NetRCAuth(Auth):
    """User and password as `~/.netrc` has them for the host.

    Args:
        file: another one; where it cannot be read or understood, that is an error.
    """

    def __init__(self, file: str | os.PathLike[str] | None = None) -> None:
        import netrc

        try:
            self._known: netrc.netrc | None = netrc.netrc(None if file is None else os.fspath(file))
        except (OSError, netrc.NetrcParseError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise ConfigError("AUTH_INVALID", f"cannot use netrc: {why}", "see the manual page of netrc") from None

    def auth_flow(self, request: Request) -> Generator[Request, Response, None]:
        """One field, where the host is known."""
        found = self._known.authenticators(request.url.host) if self._known is not None else None
        if found is not None and found[2]:
            request.headers["authorization"] = BasicAuth(found[0] or "", found[2]).header
        yield request


_ALGORITHMS: dict[str, Callable[[bytes], hashlib._Hash]] = {
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False),
    "SHA": lambda data: hashlib.sha1(data, usedforsecurity=False),
    "SHA-256": hashlib.sha256,
    "SHA-512": hashlib.sha512,
    "SHA-512-256": lambda data: hashlib.new("sha512_256", data),
}
_CHALLENGE = re.compile(r'([!#$%&\'*+.^_`|~\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))', re.ASCII)
_LONGEST = 8192


class DigestAuth(Auth):
    """User and password, hashed with what the server chose (RFC 7616). Later requests use the same challenge.

    Args:
        username: who.
        password: and how to know.
    """

    def __init__(self, username: str | bytes, password: str | bytes) -> None:
        self._user = _bytes(username)
        self._password = _bytes(password)
        self._challenge: dict[str, str] | None = None
        self._uses = 0
        self._lock = Lock()

    def auth_flow(self, request: Request) -> Generator[Request, Response, None]:
        """A request, and once more with what the answer asks for."""
        if self._challenge is not None:
            request.headers["authorization"] = self._authorization(request, self._challenge)
        response = yield request
        if response.status_code != 401 or not request.is_repeatable:
            return
        challenge = self._asked_for(response)
        if challenge is None:
            return
        with self._lock:
            self._challenge, self._uses = challenge, 0
        if response.cookies:
            response.cookies.set_cookie_header(request)
        request.headers["authorization"] = self._authorization(request, challenge)
        yield request

    def _asked_for(self, response: Response) -> dict[str, str] | None:
        for line in response.headers.get_list("www-authenticate"):
            scheme, _, rest = line[:_LONGEST].partition(" ")
            if scheme.lower() != "digest":
                continue
            found = {
                name.lower(): re.sub(r"\\(.)", r"\1", quoted) or bare for name, quoted, bare in _CHALLENGE.findall(rest)
            }
            if "realm" not in found or "nonce" not in found:
                raise RemoteProtocolError("PROTOCOL_ERROR", "the challenge of the server lacks realm or nonce")
            algorithm = found.get("algorithm", "MD5").upper().removesuffix("-SESS")
            offers = [one.strip() for one in found.get("qop", "auth").split(",")]
            if algorithm in _ALGORITHMS and "auth" in offers:
                return found
        return None

    def _authorization(self, request: Request, challenge: dict[str, str]) -> str:
        algorithm = challenge.get("algorithm", "MD5")
        name = algorithm.upper()
        digest = _ALGORITHMS[name.removesuffix("-SESS")]

        def hashed(data: bytes) -> bytes:
            return digest(data).hexdigest().encode("ascii")

        realm, nonce = challenge["realm"].encode("utf-8"), challenge["nonce"].encode("utf-8")
        target = request.url.target
        with self._lock:
            self._uses += 1
            count = b"%08x" % self._uses
        client = secrets.token_hex(16).encode("ascii")
        first = hashed(b":".join((self._user, realm, self._password)))
        if name.endswith("-SESS"):
            first = hashed(b":".join((first, nonce, client)))
        second = hashed(f"{request.method}:{target}".encode())
        middle = (nonce, count, client, b"auth") if "qop" in challenge else (nonce,)
        response = hashed(b":".join((first, *middle, second)))
        said = {
            "username": _quoted(self._user), "realm": _quoted(realm), "nonce": _quoted(nonce),
            "uri": _quoted(target.encode("ascii")), "response": _quoted(response), "algorithm": algorithm,
        }  # fmt: skip
        if "opaque" in challenge:
            said["opaque"] = _quoted(challenge["opaque"].encode("utf-8"))
        if "qop" in challenge:
            said |= {"qop": "auth", "nc": count.decode("ascii"), "cnonce": _quoted(client)}
        return "Digest " + ", ".join(f"{key}={value}" for key, value in said.items())


def auth_of(auth: AuthTypes | None) -> Auth | None:
    """What was said of who is asking.

    Raises:
        TypeError: it is none of what is understood.
    """
    if auth is None or isinstance(auth, Auth):
        return auth
    if isinstance(auth, tuple):
        return BasicAuth(auth[0], auth[1])
    if callable(auth):
        return FunctionAuth(auth)
    raise TypeError(f"auth is a pair, a function or an Auth, not {type(auth).__name__}")


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8") if isinstance(text, str) else text


def _quoted(value: bytes) -> str:
    text = value.decode("utf-8", "replace").encode("utf-8").decode("latin-1")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
