"""The same scripts with httpx, with httpx2, with Velocity's client, and with httpx over Velocity's transport.

The server is uvicorn. What the first one sees, all others have to see.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import io
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest

import velocity
from support.httpbin import Httpbin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

LIBRARIES = {"httpx": httpx, "httpx2": httpx2, "velocity": velocity}
TRANSPORTS: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "httpx2": (httpx2, {}, {}),
    "velocity": (velocity, {}, {}),
    "httpx over velocity": (httpx, {"transport": velocity.HTTPXTransport}, {"transport": velocity.AsyncHTTPXTransport}),
    "httpx2 over velocity": (
        httpx2,
        {"transport": velocity.HTTPXTransport},
        {"transport": velocity.AsyncHTTPXTransport},
    ),
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Httpbin() as running:
        yield running.url


def echoes(library: Any, client: Any) -> Any:
    """What the server was asked."""
    yield client.get("/echo").json()
    yield client.get("/echo", params={"a": ["1", "2"], "b": "x y"}, headers={"X-Own": "1"}).json()
    yield client.get("/echo?kept=1").json()
    yield client.get("/echo?gone=1", params={"a": "1"}).json()
    yield client.get("/a%2Fb/ü d").json()
    yield client.post("/echo", json={"a": [1, None, "ü"]}).json()
    yield client.post("/echo", data={"a": ["1", "2"], "b": "x & y"}).json()
    yield client.put("/echo", content="ü").json()
    yield client.post("/echo", content=iter([b"a", b"b"])).json()
    yield client.patch("/echo", content=b"").json()
    yield client.delete("/echo").json()
    yield client.options("/echo").json()
    yield client.request("PURGE", "/echo").json()
    yield client.post("/echo", data={"x": "1"}, files={"f": ("n.txt", b"content", "text/plain")}).json()
    yield client.post("/echo", files=[("f", io.BytesIO(b"one")), ("f", ("two.png", io.BytesIO(b"two")))]).json()
    yield client.get("/echo", auth=("user", "pass")).json()
    yield client.get("/echo", auth=library.BasicAuth("user", "pass")).json()
    client.cookies.set("a", "1")
    yield client.get("/echo").json()
    yield client.send(client.build_request("GET", "/echo", headers=[("x-a", "1"), ("X-A", "2")])).json()


def seen(response: Any) -> Any:
    """What a response says."""
    return {
        "status": response.status_code,
        "reason": response.reason_phrase,
        "version": response.http_version,
        "text": response.text,
        "encoding": response.encoding,
        "headers": sorted(
            (name, value) for name, value in response.headers.multi_items() if name not in ("date", "server")
        ),
        "history": [one.status_code for one in response.history],
        "url": str(response.url).partition("//")[2].partition("/")[2],
        "method": response.request.method,
        "links": response.links,
        "next": response.next_request is not None
        and str(response.next_request.url).partition("//")[2].partition("/")[2],
        "is": [
            getattr(response, f"is_{name}")
            for name in ("success", "redirect", "client_error", "server_error", "error", "closed")
        ],
        "elapsed": isinstance(response.elapsed, dt.timedelta),
    }


def responses(library: Any, client: Any) -> Any:
    """What the server answers."""
    for path in (
        "/status/200",
        "/status/204",
        "/status/404",
        "/status/503",
        "/status/299",
        "/gzip",
        "/latin",
        "/links",
    ):
        yield seen(client.get(path))
    yield seen(client.head("/gzip"))
    yield client.get("/gzip").num_bytes_downloaded
    yield seen(client.get("/redirect/302/echo"))
    for code in (301, 302, 303, 307, 308):
        yield seen(client.get(f"/redirect/{code}/echo", follow_redirects=True))
        for method in ("POST", "PUT"):
            response = client.request(method, f"/redirect/{code}/echo", content=b"x", follow_redirects=True)
            yield response.request.method, response.json()
    yield seen(client.get("/set-cookies?a=1&b=2", follow_redirects=True))
    yield sorted(client.cookies.items())
    yield seen(client.get("/digest", auth=library.DigestAuth("u", "p")))["history"]


def errors(library: Any, client: Any) -> Any:
    """What is raised, by the names of httpx."""

    def raised(work: Callable[[], Any]) -> str:
        try:
            return f"nothing: {work()}"
        except library.HTTPStatusError as error:
            return f"HTTPStatusError {error.response.status_code} {error.request.method}"
        except (library.RequestError, library.StreamError, library.InvalidURL) as error:
            names = [one.__name__ for one in type(error).__mro__]
            known = (
                "TooManyRedirects",
                "UnsupportedProtocol",
                "ConnectError",
                "StreamConsumed",
                "ResponseNotRead",
                "InvalidURL",
            )
            return next(name for name in known if name in names)

    yield raised(lambda: client.get("/circle", follow_redirects=True))
    yield raised(lambda: client.get("/status/404").raise_for_status())
    yield raised(lambda: client.get("/status/500").raise_for_status())
    yield raised(lambda: client.get("/status/302").raise_for_status())
    yield client.get("/status/200").raise_for_status().status_code
    yield raised(lambda: client.get("ftp://h/"))
    yield raised(lambda: client.get("http://127.0.0.1:1/"))
    yield raised(lambda: client.get("http://h:bad/"))
    with client.stream("GET", "/lines") as response:
        yield raised(lambda: response.content)
        yield list(response.iter_lines())
        yield raised(lambda: list(response.iter_raw()))


def streams(library: Any, client: Any) -> Any:
    """Content piece by piece."""
    for name, size in (("iter_bytes", 5), ("iter_raw", 5), ("iter_text", 5)):
        with client.stream("GET", "/lines") as response:
            yield list(getattr(response, name)(size))
    with client.stream("GET", "/gzip") as response:
        yield "".join(response.iter_text())
    with client.stream("GET", "/gzip") as response:
        yield response.read(), response.is_stream_consumed


def hooks(library: Any, client: Any) -> Any:
    log: list[Any] = []
    client.event_hooks = {
        "request": [lambda request: log.append((request.method, request.url.path))],
        "response": [lambda response: log.append(response.status_code)],
    }
    client.headers["x-all"] = "1"
    client.params = {"p": "1"}
    client.get("/redirect/302/echo", follow_redirects=True)
    yield log
    yield client.get("/echo").json()


def objects(library: Any, client: Any) -> Any:
    """What needs no network."""
    headers = library.Headers({"A": "1", "b": "2"})
    headers["a"] = "3"
    yield headers.get("A"), dict(headers), headers.raw and len(headers.raw), "B" in headers, headers.get_list("a")
    url = library.URL("https://user:pass@h:8443/p/q?x=1#f")
    yield url.scheme, url.host, url.port, url.path, url.query, url.fragment, url.username, url.password, url.raw_path
    yield str(url.join("../r?y=2")), str(url.copy_with(path="/z")), str(url.copy_merge_params({"y": "2"}))
    params = library.QueryParams({"a": ["1", "2"]}).add("b", "3").merge({"c": "4"})
    yield str(params), params.get_list("a"), params["b"]
    timeout = library.Timeout(5, read=1)
    yield timeout.connect, timeout.read, repr(library.Timeout(5))
    request = library.Request("post", "https://h/", json={"a": 1}, params={"b": "2"})
    yield request.method, str(request.url), request.headers["content-type"], request.read() in (b'{"a":1}', b'{"a": 1}')
    response = library.Response(404, json={"a": 1}, request=request)
    yield response.json(), response.is_error, response.headers["content-type"], repr(response), response.text
    mock = library.MockTransport(lambda asked: library.Response(200, text=asked.url.path))
    with library.Client(transport=mock, base_url="https://h/api") as other:
        yield other.get("/x").text, str(other.get("y").url)


SCRIPTS = [echoes, responses, errors, streams, hooks, objects]


def outcome(script: Any, library: Any, url: str, options: dict[str, Any]) -> list[Any]:
    made = {name: value() for name, value in options.items()}
    with library.Client(base_url=url, trust_env=False, timeout=20, **made) as client:
        return list(script(library, client))


@pytest.mark.parametrize("name", TRANSPORTS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_as_httpx(url: str, script: Any, name: str) -> None:
    library, options, _ = TRANSPORTS[name]
    expected = outcome(script, httpx, url, {})
    found = outcome(script, library, url, options)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == theirs


async def asynchronous(library: Any, client: Any) -> AsyncIterator[Any]:
    yield seen(await client.get("/gzip"))
    yield (await client.post("/redirect/307/echo", json={"a": 1}, follow_redirects=True)).json()
    async with client.stream("GET", "/lines") as response:
        yield [line async for line in response.aiter_lines()]
    async with client.stream("GET", "/gzip") as response:
        yield b"".join([piece async for piece in response.aiter_bytes(7)])
    answers = await asyncio.gather(*(client.get("/echo", params={"n": str(number)}) for number in range(30)))
    yield [answer.json()["query"] for answer in answers]

    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    yield (await client.post("/echo", content=pieces())).json()
    yield (await client.get("/digest", auth=library.DigestAuth("u", "p"))).status_code
    try:
        await client.get("/circle", follow_redirects=True)
    except library.TooManyRedirects:
        yield "too many"


@pytest.mark.parametrize("name", TRANSPORTS)
def test_as_httpx_with_asyncio(url: str, name: str) -> None:
    async def run(library: Any, options: dict[str, Any]) -> list[Any]:
        made = {name: value() for name, value in options.items()}
        async with library.AsyncClient(base_url=url, trust_env=False, timeout=20, **made) as client:
            return [one async for one in asynchronous(library, client)]

    library, _, options = TRANSPORTS[name]
    assert asyncio.run(run(library, options)) == asyncio.run(run(httpx, {}))


def test_functions(url: str) -> None:
    def script(library: Any) -> list[Any]:
        return [
            library.get(f"{url}/echo", params={"a": "1"}, headers={"x-a": "1"}, cookies={"c": "1"}).json(),
            library.post(f"{url}/echo", json=[1]).json(),
            library.put(f"{url}/echo", content=b"x").json(),
            library.patch(f"{url}/echo", data={"a": "1"}).json(),
            library.delete(f"{url}/echo").json(),
            library.head(f"{url}/echo").status_code,
            library.options(f"{url}/echo").json(),
            library.request("GET", f"{url}/set-cookies?a=1", follow_redirects=True).json(),
        ]

    assert script(velocity) == script(httpx2) == script(httpx)


def test_what_the_transport_tells(url: str) -> None:
    with httpx.Client(transport=velocity.HTTPXTransport()) as client:
        response = client.get(f"{url}/echo")
        assert response.extensions["velocity"].alpn == "http/1.1"
        with pytest.raises(httpx.ConnectError, match="CONNECT_FAILED"):
            client.get("http://127.0.0.1:1/")
