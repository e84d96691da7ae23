"""Who is asking. Digests are checked with the example of RFC 7616 and against httpx."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import pytest

import velocity
from velocity.client.auth import DigestAuth
from velocity.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from velocity.client.requests import Request


def asked(auth: object, *answers: velocity.Response, url: str = "https://h/") -> list[velocity.Request]:
    """The requests that a client sends."""
    seen: list[velocity.Request] = []
    left = [*answers, velocity.Response(200)]

    def handler(request: velocity.Request) -> velocity.Response:
        seen.append(request)
        return left[len(seen) - 1]

    with velocity.Client(transport=velocity.MockTransport(handler)) as client:
        client.get(url, auth=auth)  # type: ignore[arg-type]
    return seen


def test_basic() -> None:
    assert asked(("Aladdin", "open sesame"))[0].headers["authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    with pytest.raises(ConfigError):
        velocity.BasicAuth("a:b", "c")


def test_users_of_urls() -> None:
    with velocity.Client(
        transport=velocity.MockTransport(lambda request: velocity.Response(200, request=request))
    ) as client:
        response = client.get("https://Aladdin:open%20sesame@h/")
    assert response.request.headers["authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


def test_bearer() -> None:
    assert asked(velocity.BearerAuth("t"))[0].headers["authorization"] == "Bearer t"
    tokens = iter("ab")
    first, second = asked(velocity.BearerAuth(lambda: next(tokens)), velocity.Response(401))
    assert (first, second.headers["authorization"]) == (second, "Bearer b")


def test_a_function() -> None:
    def sign(request: velocity.Request) -> velocity.Request:
        request.headers["x-signature"] = request.method
        return request

    assert asked(sign)[0].headers["x-signature"] == "GET"
    with pytest.raises(TypeError):
        asked(7)


def test_netrc(tmp_path: Path) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine known.example login Aladdin password opensesame\n")
    file.chmod(0o600)
    auth = velocity.NetRCAuth(file)
    assert asked(auth, url="https://known.example/")[0].headers["authorization"] == "Basic QWxhZGRpbjpvcGVuc2VzYW1l"
    assert "authorization" not in asked(auth, url="https://other.example/")[0].headers
    with pytest.raises(ConfigError):
        velocity.NetRCAuth(tmp_path / "missing")


def test_digest_of_rfc_7616(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 3.9.1."""
    nonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    monkeypatch.setattr(secrets, "token_hex", lambda size: nonce)
    challenge = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    expected = {
        "MD5": "8ca523f5e9506fed4657c9700eebdbec",
        "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
    }
    for algorithm, digest in expected.items():
        answer = velocity.Response(401, headers={"www-authenticate": challenge.format(algorithm)})
        requests = asked(DigestAuth("Mufasa", "Circle of Life"), answer, url="http://www.example.org/dir/index.html")
        assert f'response="{digest}"' in requests[1].headers["authorization"]
        assert "nc=00000001" in requests[1].headers["authorization"]


def test_a_challenge_is_used_again() -> None:
    auth = DigestAuth("u", "p")
    answer = velocity.Response(401, headers={"www-authenticate": 'Digest realm="r", nonce="n"'})
    assert len(asked(auth, answer)) == 2
    again = asked(auth)
    assert len(again) == 1
    assert 'nonce="n"' in again[0].headers["authorization"]
    assert len(asked(auth, answer, answer)) == 2


@pytest.mark.parametrize(
    "field",
    ["Basic realm=r", 'Digest realm="r", nonce="n", algorithm=unheard-of', 'Digest realm="r", nonce="n", qop=auth-int'],
)
def test_challenges_that_are_not_for_us(field: str) -> None:
    assert len(asked(DigestAuth("u", "p"), velocity.Response(401, headers={"www-authenticate": field}))) == 1


def test_a_challenge_that_is_none() -> None:
    with pytest.raises(velocity.RemoteProtocolError):
        asked(DigestAuth("u", "p"), velocity.Response(401, headers={"www-authenticate": "Digest realm=r"}))


def test_a_flow_that_wants_contents() -> None:
    class Both(velocity.Auth):
        requires_request_body = True
        requires_response_body = True

        def auth_flow(self, request: Request) -> Generator[velocity.Request, velocity.Response, None]:
            response = yield request
            request.headers["x-saw"] = f"{request.content!r} {response.content!r}"
            yield request

    answers = [velocity.Response(200, content=b"answer"), velocity.Response(200)]
    transport = velocity.MockTransport(lambda request: answers[len(history)])
    history: list[int] = []

    async def run() -> str:
        async with velocity.AsyncClient(
            transport=transport, event_hooks={"response": [lambda r: history.append(1)]}
        ) as client:
            response = await client.post("https://h/", content=iter([b"ques", b"tion"]), auth=Both())
        assert len(response.history) == 1
        return response.request.headers["x-saw"]

    assert asyncio.run(run()) == "b'question' b'answer'"
