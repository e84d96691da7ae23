"""`Client` over functions that answer: redirects, cookies, hooks, retries, streams."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import velocity
from velocity.client import settings
from velocity.errors import ConfigError

Handler = Callable[[velocity.Request], velocity.Response]
SECRETS = {"authorization": "Bearer x", "cookie": "a=b", "proxy-authorization": "y"}


def client(handler: Handler, **options: Any) -> velocity.Client:
    return velocity.Client(transport=velocity.MockTransport(handler), **options)


def to(location: str, status: int = 302, **more: Any) -> velocity.Response:
    return velocity.Response(status, headers={"location": location, **more})


def plan(**answers: velocity.Response) -> tuple[Handler, list[velocity.Request]]:
    """A server that answers by the last word of the path, and what it was asked."""
    seen: list[velocity.Request] = []

    def handler(request: velocity.Request) -> velocity.Response:
        seen.append(request)
        return answers.get(request.url.path.rpartition("/")[2]) or velocity.Response(200, content=b"here")

    return handler, seen


def test_plain() -> None:
    handler, seen = plan()
    with client(handler) as one:
        response = one.get("https://h:1/a?b#c")
    assert (response.status_code, response.content, response.text) == (200, b"here", "here")
    assert str(response.url) == "https://h:1/a?b#c"
    assert seen[0].url.wire == "https://h:1/a?b"
    assert seen[0].headers["user-agent"] == f"velocity/{velocity.__version__}"
    assert seen[0].headers["accept-encoding"] == "gzip, deflate, br, zstd"
    assert response.is_closed
    assert response.elapsed > dt.timedelta(0)
    assert repr(response) == "<Response [200 OK]>"
    assert response.velocity.alpn is None
    with pytest.raises(RuntimeError, match="closed"):
        one.get("https://h/")


def test_what_is_said_for_all_and_for_one() -> None:
    handler, seen = plan()
    with client(
        handler,
        base_url="https://h/api",
        headers={"x-a": "1", "accept": "text/plain"},
        params={"p": "1"},
        cookies={"c": "1"},
    ) as one:
        one.get("/x")
        one.get("y/z?gone", headers={"X-A": "2"}, params={"q": "2"}, cookies={"d": "2"})
        one.headers["x-a"] = "3"
        one.params = {"r": "3"}
        one.get("/x")
        one.get("https://other/")
    assert [request.url.wire for request in seen] == [
        "https://h/api/x?p=1", "https://h/api/y/z?p=1&q=2", "https://h/api/x?r=3", "https://other/?r=3"
    ]  # fmt: skip
    assert [request.headers["x-a"] for request in seen] == ["1", "2", "3", "3"]
    assert seen[0].headers["accept"] == "text/plain"
    assert sorted(seen[1].headers["cookie"].split("; ")) == ["c=1", "d=2"]
    assert seen[2].headers["cookie"] == "c=1"


@pytest.mark.parametrize("name", ["get", "head", "options", "delete", "post", "put", "patch"])
def test_methods(name: str) -> None:
    handler, seen = plan()
    with client(handler) as one:
        getattr(one, name)("https://h/", params={"a": "b"})
    assert (seen[0].method, seen[0].url.wire) == (name.upper(), "https://h/?a=b")


def test_contents() -> None:
    handler, seen = plan()
    with client(handler) as one:
        one.post("https://h/", json={"a": 1})
        one.post("https://h/", data={"a": 1})
        one.put("https://h/", content="ü")
    assert [request.content for request in seen] == [b'{"a":1}', b"a=1", "ü".encode()]
    assert [request.headers.get("content-type") for request in seen] == [
        "application/json", "application/x-www-form-urlencoded", None
    ]  # fmt: skip


# --- redirects ---


def test_redirects_are_not_followed_unasked() -> None:
    handler, _ = plan(a=to("/b"))
    with client(handler) as one:
        response = one.get("https://h/a")
        assert response.status_code == 302
        assert response.next_request is not None
        assert one.send(response.next_request).status_code == 200


def test_redirects_are_followed() -> None:
    handler, seen = plan(a=to("b"), b=to("//other:2/c#there"))
    with client(handler, follow_redirects=True) as one:
        response = one.get("https://h/x/a")
    assert [request.url.wire for request in seen] == ["https://h/x/a", "https://h/x/b", "https://other:2/c"]
    assert [one.status_code for one in response.history] == [302, 302]
    assert str(response.url) == "https://other:2/c#there"


@pytest.mark.parametrize("location", ["https://other/b", "https://h:8443/b", "http://h/b", "//other/b"])
def test_secrets_stay_with_their_origin(location: str) -> None:
    handler, seen = plan(a=to(location))
    with client(handler, follow_redirects=True) as one:
        one.get("https://h/a", headers={**SECRETS, "host": "h", "x": "y"})
    assert SECRETS.items() <= dict(seen[0].headers).items()
    assert not {*SECRETS, "host"} & set(seen[1].headers)
    assert seen[1].headers["x"] == "y"


@pytest.mark.parametrize(
    ("url", "location"), [("https://h/a", "/b"), ("https://h/a", "https://h:443/b"), ("http://h/a", "https://h/b")]
)
def test_secrets_go_along(url: str, location: str) -> None:
    handler, seen = plan(a=to(location))
    with client(handler, follow_redirects=True) as one:
        one.get(url, headers=SECRETS)
    assert seen[1].headers["authorization"] == "Bearer x"


@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
    ],
)
def test_method_after_a_redirect(status: int, method: str, expected: str) -> None:
    handler, seen = plan(a=to("/b", status))
    with client(handler, follow_redirects=True) as one:
        one.request(method, "https://h/a", content=b"x", headers={"content-type": "text/plain"})
    kept = method == expected
    assert (seen[1].method, seen[1].content) == (expected, b"x" if kept else b"")
    assert ("content-type" in seen[1].headers) is kept


class Sending(velocity.BaseTransport):
    """Sends the content as a network would: once."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler

    def handle_request(self, request: velocity.Request) -> velocity.Response:
        for _ in request.stream:
            pass
        return self.handler(request)


def test_what_cannot_be_sent_twice() -> None:
    transport = Sending(plan(a=to("/b", 307))[0])
    with velocity.Client(transport=transport, follow_redirects=True) as one, pytest.raises(velocity.StreamConsumed):
        one.post("https://h/a", content=iter([b"x"]))


def test_circles_end() -> None:
    handler, seen = plan(a=to("a"))
    with (
        client(handler, follow_redirects=True, max_redirects=5) as one,
        pytest.raises(velocity.TooManyRedirects) as caught,
    ):
        one.get("https://h/a")
    assert len(seen) == 6
    assert caught.value.code == "TOO_MANY_REDIRECTS"
    assert caught.value.request.url == "https://h/a"


@pytest.mark.parametrize("location", ["https://h:99999/", "https://[/"])
def test_redirects_to_nowhere(location: str) -> None:
    handler, _ = plan(a=to(location))
    with client(handler, follow_redirects=True) as one, pytest.raises(velocity.RemoteProtocolError):
        one.get("https://h/a")


def test_redirects_are_not_read_for_ever() -> None:
    bomb = velocity.Response(
        302, headers={"location": "/b", "content-encoding": "gzip"}, stream=gzip.compress(bytes(8 << 20))
    )
    handler, _ = plan(a=bomb)
    with client(handler, follow_redirects=True) as one:
        response = one.get("https://h/a")
    assert response.content == b"here"
    assert response.history[0].content == b""


# --- cookies ---


def test_cookies_are_kept() -> None:
    handler, seen = plan(a=velocity.Response(302, headers=[("set-cookie", "s=1; Path=/"), ("location", "/b")]))
    with client(handler, follow_redirects=True) as one:
        response = one.get("https://h.example/a")
        one.get("https://h.example/c")
        one.get("https://other.example/c")
        assert one.cookies["s"] == "1"
    assert response.history[0].cookies["s"] == "1"
    assert [request.headers.get("cookie") for request in seen] == [None, "s=1", "s=1", None]


# --- hooks and retries ---


def test_hooks() -> None:
    handler, seen = plan(a=to("/b"))
    log: list[str] = []

    def before(request: velocity.Request) -> None:
        request.headers["x-hook"] = "1"
        log.append(f"> {request.url.path}")

    hooks = {"request": [before], "response": [lambda response: log.append(f"< {response.status_code}")]}
    with client(handler, follow_redirects=True, event_hooks=hooks) as one:
        one.get("https://h/a")
    assert log == ["> /a", "< 302", "> /b", "< 200"]
    assert seen[0].headers["x-hook"] == "1"
    with pytest.raises(ValueError, match="others"):
        client(handler, event_hooks={"others": []})


def test_hooks_that_raise() -> None:
    handler, _ = plan(a=velocity.Response(500))
    with client(handler, event_hooks={"response": [velocity.Response.raise_for_status]}) as one:
        with pytest.raises(velocity.HTTPStatusError):
            one.get("https://h/a")
        assert one.get("https://h/b").is_success


class Flaky:
    """Fails in these ways, one after the other, and then answers."""

    def __init__(self, *failures: Exception | velocity.Response) -> None:
        self.failures = list(failures)
        self.asked = 0

    def __call__(self, request: velocity.Request) -> velocity.Response:
        self.asked += 1
        if not self.failures:
            return velocity.Response(200)
        failure = self.failures.pop(0)
        if isinstance(failure, Exception):
            raise failure
        return failure


LOST = velocity.ReadError("CONNECTION_LOST", "gone")
UNREACHABLE = velocity.ConnectError("CONNECT_FAILED", "nobody listens")
UNPROVED = velocity.CertificateError("CERTIFICATE_INVALID", "who is that")


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, without waiting."""
    times: list[float] = []
    monkeypatch.setattr(time, "sleep", times.append)
    return times


def test_nothing_is_tried_again_unasked() -> None:
    flaky = Flaky(LOST)
    with client(flaky) as one, pytest.raises(velocity.ReadError):
        one.get("https://h/")


def test_retries(slept: list[float]) -> None:
    flaky = Flaky(LOST, velocity.Response(503), UNREACHABLE)
    with client(flaky, retries=3) as one:
        assert one.get("https://h/").status_code == 200
    assert flaky.asked == 4
    assert slept[0] == 0
    assert 0.125 <= slept[1] <= 0.25
    assert 0.25 <= slept[2] <= 0.5


def test_retries_end(slept: list[float]) -> None:
    flaky = Flaky(*[LOST] * 9)
    with client(flaky, retries=2) as one, pytest.raises(velocity.ReadError):
        one.get("https://h/")
    assert flaky.asked == 3


@pytest.mark.parametrize("failure", [LOST, velocity.Response(503), velocity.ReadTimeout("READ_TIMEOUT", "slow")])
def test_what_may_have_happened_is_not_repeated(slept: list[float], failure: Any) -> None:
    flaky = Flaky(failure)
    with client(flaky, retries=3) as one, contextlib.suppress(velocity.RequestError):
        assert one.post("https://h/", content=b"x").status_code == 503
    assert flaky.asked == 1


def test_what_never_left_is(slept: list[float]) -> None:
    flaky = Flaky(UNREACHABLE)
    with client(flaky, retries=1) as one:
        assert one.post("https://h/", content=b"x").status_code == 200
    for failure, content in ((UNPROVED, b"x"), (UNREACHABLE, iter([b"x"]))):
        flaky = Flaky(failure)
        with velocity.Client(transport=Sending(flaky), retries=1) as one, pytest.raises(velocity.ConnectError):
            one.post("https://h/", content=content)
        assert flaky.asked == 1


def test_retry_after(slept: list[float]) -> None:
    def busy(value: str) -> velocity.Response:
        return velocity.Response(503, headers={"retry-after": value})

    with client(Flaky(busy("7")), retries=velocity.Retry(1)) as one:
        assert one.get("https://h/").status_code == 200
    assert slept == [7]
    with client(Flaky(busy("3600")), retries=velocity.Retry(1)) as one:
        assert one.get("https://h/").status_code == 503
    assert settings.retry_after("Wed, 21 Oct 2015 07:28:00 GMT", 1445412470.0) == 10
    assert settings.retry_after("Wed, 21 Oct 2015 07:28:00 GMT", 1445412490.0) == 0
    assert settings.retry_after("soon") is None
    assert settings.retry_after("9" * 4000) == float("inf")


# --- streams ---


class Pieces:
    """Content that knows whether it was closed."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.pieces)

    def close(self) -> None:
        self.closed = True


def test_streams() -> None:
    content = Pieces(b"ab", b"c\n", b"de\r", b"\nf")
    with client(lambda request: velocity.Response(200, stream=content)) as one:
        with one.stream("GET", "https://h/") as response:
            with pytest.raises(velocity.ResponseNotRead):
                _ = response.content
            assert list(response.iter_lines()) == ["abc", "de", "f"]
            with pytest.raises(velocity.StreamConsumed):
                next(response.iter_bytes())
        assert content.closed
        assert response.num_bytes_downloaded == 9
        content.closed = False
        with one.stream("GET", "https://h/") as response:
            pass
        assert content.closed
        with pytest.raises(velocity.StreamClosed):
            response.read()
        with one.stream("GET", "https://h/") as response:
            assert list(response.iter_bytes(3)) == [b"abc", b"\nde", b"\r\nf"]
        with one.stream("GET", "https://h/") as response:
            assert response.read() == response.content == b"abc\nde\r\nf"
            assert list(response.iter_text(3)) == ["abc", "\nde", "\r\nf"]


def test_raw_and_decoded_streams() -> None:
    packed = gzip.compress(b"hello")
    with client(lambda request: velocity.Response(200, headers={"content-encoding": "gzip"}, stream=packed)) as one:
        with one.stream("GET", "https://h/") as response:
            assert b"".join(response.iter_raw()) == packed
        with one.stream("GET", "https://h/") as response:
            assert list(response.iter_text()) == ["hello"]
        assert one.get("https://h/").text == "hello"


def test_content_that_lies() -> None:
    answer = {"headers": {"content-encoding": "gzip"}, "stream": b"no gzip at all"}
    with client(lambda request: velocity.Response(200, **answer)) as one:  # type: ignore[arg-type]
        with pytest.raises(velocity.DecodingError) as caught:
            one.get("https://h/a")
        assert caught.value.request.url == "https://h/a"
        with one.stream("GET", "https://h/b") as response, pytest.raises(velocity.DecodingError):
            list(response.iter_bytes())


# --- responses ---


def test_statuses() -> None:
    request = velocity.Request("GET", "https://user:secret@h/x")
    assert velocity.Response(204, request=request).raise_for_status().is_success
    for status, name in (
        (404, "is_client_error"),
        (503, "is_server_error"),
        (301, "is_redirect"),
        (102, "is_informational"),
    ):
        response = velocity.Response(status, request=request)
        assert getattr(response, name)
        with pytest.raises(velocity.HTTPStatusError, match=str(status)) as caught:
            response.raise_for_status()
        assert caught.value.response is response
        assert caught.value.request is request
        assert "secret" not in str(caught.value)


def test_texts() -> None:
    latin = velocity.Response(
        200, headers={"content-type": "text/plain; charset=latin-1"}, content="ü".encode("latin-1")
    )
    assert (latin.text, latin.encoding) == ("ü", "latin-1")
    assert velocity.Response(200, content="ü".encode("cp1252")).text == "ü"
    assert velocity.Response(200, content="ü".encode("cp1252"), default_encoding="cp437").text == "ⁿ"
    assert velocity.Response(200, content=b"x", default_encoding=lambda content: "utf-16").encoding == "utf-16"
    changed = velocity.Response(200, content="ü".encode("utf-16"))
    changed.encoding = "utf-16-le"
    assert changed.text == "\ufeffü"
    assert velocity.Response(200, html="<p>").headers["content-type"] == "text/html; charset=utf-8"
    assert velocity.Response(200, json=[1]).json() == [1]


def test_links() -> None:
    value = '<https://h/2>; rel="next"; title="a, \\"b\\"", </1>; rel=prev, <x>'
    links = velocity.Response(200, headers={"link": value}).links
    assert links["next"] == {"url": "https://h/2", "rel": "next", "title": 'a, "b"'}
    assert links["prev"]["url"] == "/1"
    assert links["x"] == {"url": "x"}
    assert velocity.Response(200, headers={"link": "<" * 20_000}).links == {}


def test_responses_can_be_kept() -> None:
    handler, _ = plan()
    with client(handler) as one:
        again = pickle.loads(pickle.dumps(one.get("https://h/")))
    assert (again.status_code, again.text, again.url) == (200, "here", "https://h/")


# --- what is between ---


def test_mounts() -> None:
    def named(name: str) -> velocity.MockTransport:
        return velocity.MockTransport(lambda request: velocity.Response(200, text=name))

    mounts = {
        "all://": named("all"), "https://": named("https"), "all://*.example.com": named("below"),
        "https://example.com:8443": named("port"), "all://plain.example.com": None,
    }  # fmt: skip
    expected = {
        "http://h/": "all", "https://h/": "https", "https://a.example.com/": "below",
        "https://example.com:8443/": "port",
        "https://example.com/": "https", "https://plain.example.com/": "own",
    }  # fmt: skip
    with velocity.Client(transport=named("own"), mounts=mounts) as one:
        assert {url: one.get(url).text for url in expected} == expected


def test_transports_that_answer_nonsense() -> None:
    with client(lambda request: 7) as one, pytest.raises(TypeError, match="int"):  # type: ignore[arg-type,return-value]
        one.get("https://h/")


def test_options_that_cannot_be() -> None:
    import ssl

    with pytest.raises(ConfigError, match="SSLContext"):
        velocity.Client(verify=ssl.create_default_context())
    with pytest.raises(ConfigError, match="no protocol"):
        velocity.Client(http1=False, http2=False, http3=False)
    with pytest.raises(ConfigError, match="proxy"):
        velocity.Client(proxy="socks5://h:1")
    with pytest.raises(ValueError, match="timeout"):
        velocity.Timeout(-1)
    with pytest.raises(ValueError, match="default"):
        velocity.Timeout(connect=1)


def test_timeouts() -> None:
    assert velocity.Timeout(5, read=None).as_dict() == {"connect": 5, "read": None, "write": 5, "pool": 5}
    assert velocity.Timeout((1, 2, 3, 4)).as_dict() == {"connect": 1, "read": 2, "write": 3, "pool": 4}
    assert repr(velocity.Timeout(5)) == "Timeout(timeout=5)"
    seen: list[Any] = []

    def handler(request: velocity.Request) -> velocity.Response:
        seen.append(request.extensions["timeout"])
        return velocity.Response(200)

    with client(handler, timeout=3) as one:
        one.get("https://h/")
        one.get("https://h/", timeout=velocity.Timeout(None, read=1))
        one.get("https://h/", timeout=None)
    assert [one["read"] for one in seen] == [3, 1, None]
