"""A cache and a model of it, side by side, through sequences of requests that nobody has thought of (RFC 9111).

Time does not pass here: what is old comes old, with an Age. The model knows nothing of tables, bodies or connections;
it says for each request whether an upstream is asked, how, and whose answer comes back.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.backend import Backend, Exchange
from support.engine import Engine, make, plan, route
from support.front import NEVER, proxy
from support.http2 import Http2

if TYPE_CHECKING:
    from collections.abc import Iterator

ETAG = '"one"'


@dataclass(frozen=True)
class Said:
    """What an upstream says of an answer; ages are far from every limit."""

    max_age: int | None
    s_maxage: int | None
    flags: frozenset[str]
    age: int
    etag: bool
    cookie: bool
    same: bool
    """It answers 304 where it may."""

    @property
    def cache_control(self) -> str:
        ages = (("max-age", self.max_age), ("s-maxage", self.s_maxage))
        return ", ".join([*sorted(self.flags), *(f"{name}={age}" for name, age in ages if age is not None)])

    @property
    def lifetime(self) -> int | None:
        """None is not said."""
        return self.max_age if self.s_maxage is None else self.s_maxage


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    wish: str
    known: bool


@dataclass(frozen=True)
class Kept:
    """What is stored."""

    number: int
    said: Said


_WISHES = ("", "", "", "no-cache", "no-store", "max-age=100", "max-age=700", "min-fresh=700", "max-stale",
           "max-stale=700", "max-stale=1700", "only-if-cached", "max-age=100, max-stale")  # fmt: skip

saying = st.builds(
    Said,
    max_age=st.sampled_from([None, 0, 1000, 1000]),
    s_maxage=st.sampled_from([None, None, None, 0, 1000]),
    flags=st.frozensets(
        st.sampled_from(["no-store", "private", "no-cache", "public", "must-revalidate", "proxy-revalidate"]),
        max_size=2,
    ),
    age=st.sampled_from([0, 0, 500, 2000]),
    etag=st.booleans(),
    cookie=st.sampled_from([False, False, False, True]),
    same=st.booleans(),
)
asking = st.builds(
    Asked,
    method=st.sampled_from(["GET"] * 12 + ["POST", "PURGE"]),
    wish=st.sampled_from(_WISHES),
    known=st.sampled_from([False, False, True]),
)


def is_storable(said: Said, asked: Asked) -> bool:
    """RFC 9111 section 3."""
    if asked.wish == "no-store" or said.cookie or {"no-store", "private"} & said.flags:
        return False
    if asked.known and said.s_maxage is None and not {"public", "must-revalidate"} & said.flags:
        return False
    if said.lifetime is None and "no-cache" not in said.flags:
        return False
    return said.etag or ("no-cache" not in said.flags and (said.lifetime or 0) > said.age)


def is_usable(kept: Kept, asked: Asked) -> bool:
    """RFC 9111 sections 4.2 and 5.2.1."""
    said = kept.said
    parted = (wish.partition("=") for wish in asked.wish.split(", "))
    wishes = {name: value for name, _, value in parted}
    if "no-cache" in said.flags or "no-cache" in wishes:
        return False
    fresh_for = (said.lifetime or 0) - said.age
    too_old = "max-age" in wishes and said.age > int(wishes["max-age"])
    if "min-fresh" in wishes and fresh_for < int(wishes["min-fresh"]):
        return False
    if fresh_for > 0 and not too_old:
        return True
    if "max-stale" not in wishes:
        return False
    strict = said.s_maxage is not None or {"must-revalidate", "proxy-revalidate"} & said.flags
    limit = min(said.lifetime or 0, int(wishes.get("max-age", 10_000)))
    return (fresh_for > 0 or not strict) and said.age - limit <= int(wishes["max-stale"] or 100_000)


class Model:
    """One target."""

    def __init__(self) -> None:
        self.kept: Kept | None = None

    def ask(self, asked: Asked, said: Said, number: int) -> tuple[int, int | None, bool | None]:
        """Status, the number of the answer, and whether an upstream is asked conditionally; None for not at all."""
        kept = self.kept
        if asked.method == "PURGE":
            self.kept = None
            return 200, None, None
        if asked.method == "POST":
            self.kept = None
            return 200, number, False
        if kept is not None and is_usable(kept, asked):
            return 200, kept.number, None
        if asked.wish == "only-if-cached":
            return 504, None, None
        about_who_asks = asked.known or asked.wish == "no-store"
        if kept is not None and kept.said.etag and said.same:
            new = replace(said, etag=True, cookie=False)
            if not said.cache_control:
                old = kept.said
                new = replace(new, max_age=old.max_age, s_maxage=old.s_maxage, flags=old.flags)
            if is_storable(new, asked):
                self.kept = Kept(kept.number, new)
            elif not about_who_asks:
                self.kept = None
            return 200, kept.number, True
        conditional = kept is not None and kept.said.etag
        if is_storable(said, asked):
            self.kept = Kept(number, said)
        elif not about_who_asks:
            self.kept = None
        return 200, number, conditional


class Upstream:
    """Says what it is told to say."""

    def __init__(self) -> None:
        self.says: Said | None = None
        self.number = 0
        self.seen: list[Exchange] = []

    async def answer(self, exchange: Exchange) -> None:
        self.seen.append(exchange)
        said = self.says
        assert said is not None
        fields = [("age", str(said.age))]
        if said.cache_control:
            fields.append(("cache-control", said.cache_control))
        if exchange.method == "GET" and said.same and exchange.get("if-none-match") == ETAG:
            await exchange.head(f"etag: {ETAG}", *(f"{name}: {value}" for name, value in fields), status=304)
            return
        if said.etag:
            fields.append(("etag", ETAG))
        if said.cookie:
            fields.append(("set-cookie", "a=b"))
        await exchange.answer(str(self.number).encode(), fields=tuple(fields))


@pytest.fixture(scope="module")
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture(scope="module")
def connection(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http2]:
    pair = make(tmp_path_factory.mktemp("pair"))
    with Backend() as backend:
        backend.default = upstream.answer
        handler = proxy(backend.url, ejection=NEVER, cache={"purge_from": ["127.0.0.1"]})
        with Engine(plan(pair, [route(handler)])) as engine, Http2(engine.port) as connection:
            yield connection


_paths = itertools.count()


@settings(max_examples=300, deadline=None)
@given(steps=st.lists(st.tuples(asking, saying), min_size=2, max_size=12))
def test_the_cache_does_what_the_model_does(
    connection: Http2, upstream: Upstream, steps: list[tuple[Asked, Said]]
) -> None:
    model, path = Model(), f"/{next(_paths)}"
    for number, (asked, said) in enumerate(steps):
        upstream.says, upstream.number = said, number
        upstream.seen.clear()
        fields = [("cache-control", asked.wish)] if asked.wish else []
        fields += [("authorization", "Basic eA==")] if asked.known else []
        expected = model.ask(asked, said, number)
        answer = connection.ask(path, asked.method, fields)
        body = int(bytes(answer.body)) if answer.status == 200 and asked.method != "PURGE" else None
        assert len(upstream.seen) <= 1
        conditional = upstream.seen[0].get("if-none-match") is not None if upstream.seen else None
        assert (answer.status, body, conditional) == expected, (number, answer.get("cache-status"))
