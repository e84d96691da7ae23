"""The private cache: what it answers by itself, what it asks again, and what it never keeps (RFC 9111)."""

from __future__ import annotations

import asyncio
import email.utils
from typing import TYPE_CHECKING, Any

import pytest

import velocity
from velocity.client import caching
from velocity.client.stores import DirectoryStore, MemoryStore

if TYPE_CHECKING:
    from pathlib import Path


class Origin:
    """Answers with these fields, and counts; 304 where the validator is its own."""

    def __init__(self, **fields: str) -> None:
        self.fields = {name.replace("_", "-"): value for name, value in fields.items()}
        self.asked: list[velocity.Request] = []
        self.failing = False

    def __call__(self, request: velocity.Request) -> velocity.Response:
        self.asked.append(request)
        if self.failing:
            raise velocity.ReadError("CONNECTION_LOST", "gone")
        if "etag" in self.fields and request.headers.get("if-none-match") == self.fields["etag"]:
            return velocity.Response(304, headers={**self.fields, "x-new": str(len(self.asked))})
        return velocity.Response(200, headers=self.fields, stream=b"%d" % len(self.asked))


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(caching, "time", made)
    return made


def client(origin: Origin, cache: velocity.Cache | None = None, **options: Any) -> velocity.Client:
    return velocity.Client(transport=velocity.MockTransport(origin), cache=cache or velocity.Cache(), **options)


def cached(response: velocity.Response) -> bool:
    return bool(response.extensions.get("from_cache"))


def test_fresh_ones_are_not_asked_for(clock: Clock) -> None:
    origin = Origin(cache_control="max-age=60")
    with client(origin) as one:
        assert one.get("https://h/a").text == "1"
        clock.now += 59
        again = one.get("https://h/a")
        assert (again.text, cached(again), again.headers["age"]) == ("1", True, "59")
        clock.now += 2
        assert one.get("https://h/a").text == "2"
        assert one.get("https://h/b").text == "3"


def test_stale_ones_are_validated(clock: Clock) -> None:
    origin = Origin(cache_control="max-age=60", etag='"v"')
    with client(origin) as one:
        one.get("https://h/a")
        clock.now += 100
        again = one.get("https://h/a")
        assert (again.status_code, again.text, cached(again), again.headers["x-new"]) == (200, "1", True, "2")
        assert origin.asked[1].headers["if-none-match"] == '"v"'
        clock.now += 50
        assert cached(one.get("https://h/a"))
        assert len(origin.asked) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"cache_control": "no-store, max-age=9"}, {"cache_control": "max-age=9", "vary": "*"},
        {"cache_control": "max-age=0"},
    ],
)  # fmt: skip
def test_what_is_not_reused(clock: Clock, fields: dict[str, str]) -> None:
    origin = Origin(**fields)
    with client(origin) as one:
        assert [one.get("https://h/").text for _ in range(2)] == ["1", "2"]


@pytest.mark.parametrize("control", ["no-cache", "no-store", "max-age=0", "min-fresh=100"])
def test_what_the_asker_wants(clock: Clock, control: str) -> None:
    origin = Origin(cache_control="max-age=60")
    with client(origin) as one:
        one.get("https://h/")
        clock.now += 1
        assert one.get("https://h/", headers={"cache-control": control}).text == "2"


def test_only_if_cached_and_max_stale(clock: Clock) -> None:
    origin = Origin(cache_control="max-age=60")
    with client(origin) as one:
        assert one.get("https://h/", headers={"cache-control": "only-if-cached"}).status_code == 504
        one.get("https://h/")
        clock.now += 100
        assert cached(one.get("https://h/", headers={"cache-control": "max-stale=60"}))
        assert not cached(one.get("https://h/", headers={"cache-control": "max-stale=10"}))


def test_expires_and_heuristics(clock: Clock) -> None:
    date = email.utils.formatdate(clock.now, usegmt=True)
    later = email.utils.formatdate(clock.now + 60, usegmt=True)
    long_ago = email.utils.formatdate(clock.now - 1000, usegmt=True)
    for fields, seconds in (({"expires": later}, 60), ({"last_modified": long_ago}, 100), ({"expires": "0"}, 0)):
        origin = Origin(date=date, **fields)
        with client(origin) as one:
            start = clock.now
            one.get("https://h/")
            clock.now = start + seconds - 1
            assert cached(one.get("https://h/")) is (seconds > 0)
            clock.now = start + seconds + 1
            one.get("https://h/")
            assert len(origin.asked) == (2 if seconds else 3)
            clock.now = start


def test_variants(clock: Clock) -> None:
    origin = Origin(cache_control="max-age=60", vary="Accept-Language")
    with client(origin) as one:
        said = [
            one.get("https://h/", headers={"accept-language": language}).text for language in ("de", "en", "de", "en")
        ]
    assert said == ["1", "2", "1", "2"]


def test_who_asks_matters(clock: Clock, tmp_path: Path) -> None:
    origin = Origin(cache_control="max-age=60")
    with client(origin, velocity.Cache(DirectoryStore(tmp_path))) as one:
        said = [one.get("https://h/", auth=auth).text for auth in (None, ("u", "p"), ("v", "p"), ("u", "p"), None)]
    assert said == ["1", "2", "3", "2", "1"]
    assert not any(b"Basic" in path.read_bytes() for path in tmp_path.iterdir())


def test_changes_are_noticed(clock: Clock) -> None:
    origin = Origin(cache_control="max-age=60")
    with client(origin) as one:
        one.get("https://h/")
        one.post("https://h/", content=b"x")
        assert one.get("https://h/").text == "3"


def test_stale_if_error(clock: Clock) -> None:
    origin = Origin(cache_control="max-age=1, stale-if-error=100")
    with client(origin) as one:
        one.get("https://h/")
        clock.now += 50
        origin.failing = True
        assert one.get("https://h/").text == "1"
        clock.now += 100
        with pytest.raises(velocity.ReadError):
            one.get("https://h/")


def test_only_whole_answers_are_kept(clock: Clock) -> None:
    origin = Origin(cache_control="max-age=60")
    with client(origin, velocity.Cache(max_entry=10)) as one:
        with one.stream("GET", "https://h/"):
            pass
        assert one.get("https://h/").text == "2"
        assert cached(one.get("https://h/"))
    large = Origin(cache_control="max-age=60")
    with client(large, velocity.Cache(max_entry=0)) as one:
        assert [one.get("https://h/").text for _ in range(2)] == ["1", "2"]


def test_asynchronous(clock: Clock, tmp_path: Path) -> None:
    origin = Origin(cache_control="max-age=60", etag='"v"')

    async def main() -> list[str]:
        transport = velocity.MockTransport(origin)
        async with velocity.AsyncClient(transport=transport, cache=velocity.Cache(DirectoryStore(tmp_path))) as one:
            said = [(await one.get("https://h/")).text for _ in range(2)]
            clock.now += 100
            said.append((await one.get("https://h/")).text)
            return said

    assert asyncio.run(main()) == ["1", "1", "1"]
    assert len(origin.asked) == 2


@pytest.mark.parametrize("kind", [MemoryStore, DirectoryStore])
def test_stores(kind: Any, tmp_path: Path) -> None:
    store = MemoryStore(1000) if kind is MemoryStore else DirectoryStore(tmp_path / "d", 1000)
    assert store.get("a") is None
    for number in range(50):
        store.put(str(number), bytes(100))
    assert store.get("49") == bytes(100)
    assert sum(store.get(str(number)) is not None for number in range(50)) <= 12
    store.delete("49")
    assert store.get("49") is None
    store.delete("49")


def test_a_store_that_was_tampered_with(clock: Clock, tmp_path: Path) -> None:
    origin = Origin(cache_control="max-age=60")
    store = DirectoryStore(tmp_path / "d")
    with client(origin, velocity.Cache(store)) as one:
        one.get("https://h/")
        (path,) = (tmp_path / "d").iterdir()
        assert path.stat().st_mode & 0o077 == 0
        for content in (b"", b"nonsense", b"[{}]\n", b'[{"length": 10}]\nx', b"[1]\n", b"{}\n"):
            path.write_bytes(content)
            assert not cached(one.get("https://h/"))
    blocked = DirectoryStore(tmp_path / "d" / path.name / "below")
    blocked.put("a", b"x")
    assert blocked.get("a") is None
