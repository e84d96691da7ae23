"""One request: redirects, what they may carry along, and resumption."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from unit.fakes import FakeCore, FakeResponse
from velocity.client import fetch as module
from velocity.client.download import save
from velocity.client.fetch import Fetched, Order, fetch
from velocity.errors import ConfigError, RequestError

if TYPE_CHECKING:
    from pathlib import Path

SECRETS = (("authorization", "Bearer x"), ("cookie", "a=b"), ("accept", "*/*"))


class Silent:
    def fell_back(self, *news: Any) -> None: ...
    def connected(self, connection: Any) -> None: ...
    def answered(self, response: Any) -> None: ...


def get(url: str, **options: Any) -> Fetched:
    return fetch(Order(url, **options), Silent())


def to(location: str, status: int = 302) -> FakeResponse:
    return FakeResponse(status, [("location", location)])


def test_plain(core: FakeCore) -> None:
    core.answers = [FakeResponse(200)]
    fetched = get("https://h:1/a?b", headers=(("x", "y"),))
    assert core.connections[0].asked == [("GET", "/a?b", {"x": "y"}, None)]
    assert fetched.url == "https://h:1/a?b"
    assert not core.connections[0].closed


def test_redirects_are_not_followed_unasked(core: FakeCore) -> None:
    core.answers = [to("/b")]
    assert get("https://h/a").response.status == 302


def test_redirects_are_followed(core: FakeCore) -> None:
    core.answers = [to("b"), to("//other:2/c"), FakeResponse(200)]
    assert get("h/a/", follow=True).url == "https://other:2/c"
    assert [(one.host, one.port, one.asked[0][1]) for one in core.connections] == [
        ("h", 443, "/a/"),
        ("h", 443, "/a/b"),
        ("other", 2, "/c"),
    ]
    assert [one.closed for one in core.connections] == [True, True, False]


@pytest.mark.parametrize("location", ["https://other/", "https://h:8443/", "//other/"])
def test_secrets_stay_with_their_origin(core: FakeCore, location: str) -> None:
    core.answers = [to(location), FakeResponse(200)]
    get("https://h/", follow=True, headers=SECRETS)
    assert core.connections[0].asked[0][2] == dict(SECRETS)
    assert core.connections[1].asked[0][2] == {"accept": "*/*"}


@pytest.mark.parametrize("location", ["/x", "https://h/x", "https://h:443/x"])
def test_secrets_go_along_within_their_origin(core: FakeCore, location: str) -> None:
    core.answers = [to(location), FakeResponse(200)]
    get("https://h/", follow=True, headers=SECRETS)
    assert core.connections[1].asked[0][2] == dict(SECRETS)


def test_never_to_plain_http(core: FakeCore) -> None:
    core.answers = [to("http://h/")]
    with pytest.raises(ConfigError):
        get("https://h/", follow=True)


@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
        (302, "PUT", "PUT"),
    ],
)
def test_method_after_a_redirect(core: FakeCore, status: int, method: str, expected: str) -> None:
    core.answers = [to("/b", status), FakeResponse(200)]
    get("https://h/a", follow=True, method=method, body=b"x", headers=(("content-type", "text/plain"),))
    kept = expected == method
    assert core.connections[1].asked == [
        (expected, "/b", {"content-type": "text/plain"} if kept else {}, b"x" if kept else None)
    ]


def test_circles_end(core: FakeCore) -> None:
    core.answers = [to("/") for _ in range(module.MAX_REDIRECTS + 1)]
    with pytest.raises(RequestError) as caught:
        get("https://h/", follow=True)
    assert caught.value.code == "TOO_MANY_REDIRECTS"


def begin(target: Path) -> None:
    cut = RequestError("BODY_TRUNCATED", "cut")
    begun = FakeResponse(200, [("etag", '"1"')], b"abc", cut)  # type: ignore[arg-type]
    with pytest.raises(RequestError):
        save(begun, target, "https://h/f", None, lambda _done, _total: None)  # type: ignore[arg-type]


def test_resumption_is_asked_for(core: FakeCore, tmp_path: Path) -> None:
    begin(tmp_path / "f")
    core.answers = [FakeResponse(206)]
    fetched = get("https://h/f", output=tmp_path / "f")
    assert core.connections[0].asked[0][2] == {"range": "bytes=3-", "if-range": '"1"'}
    assert fetched.resumed is not None


@pytest.mark.parametrize("options", [{"method": "POST"}, {"headers": (("range", "bytes=0-1"),)}])
def test_resumption_is_not_asked_for(core: FakeCore, tmp_path: Path, options: dict[str, Any]) -> None:
    begin(tmp_path / "f")
    core.answers = [FakeResponse(200)]
    assert get("https://h/f", output=tmp_path / "f", **options).resumed is None


def test_a_part_that_fits_no_longer_is_forgotten(core: FakeCore, tmp_path: Path) -> None:
    begin(tmp_path / "f")
    core.answers = [FakeResponse(416, [("content-range", "bytes */2")]), FakeResponse(200)]
    fetched = get("https://h/f", output=tmp_path / "f")
    assert fetched.response.status == 200
    assert core.connections[1].asked[0][2] == {}


def test_a_part_that_is_the_whole(core: FakeCore, tmp_path: Path) -> None:
    begin(tmp_path / "f")
    core.answers = [FakeResponse(416, [("content-range", "bytes */3")])]
    fetched = get("https://h/f", output=tmp_path / "f")
    assert fetched.resumed is not None
    assert len(core.connections) == 1
