"""The cache under the tests of cache-tests.fyi, as npm has them: of an older RFC here and there, which is said."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.engine import Engine, make, plan, route
from support.front import NEVER, closed_port, proxy
from support.node import installed

if TYPE_CHECKING:
    from collections.abc import Iterator

SUITE = Path(__file__).parent / "cachetests"

OTHERWISE = {
    # An Age that cannot be read is ignored, and of several the first counts (RFC 9111 section 5.1): it was otherwise.
    "age-parse-nonnumeric": "RFC 7234",
    "age-parse-negative": "RFC 7234",
    "age-parse-float": "RFC 7234",
    "age-parse-prefix-twoline": "RFC 7234",
    "age-parse-dup-0": "RFC 7234",
    "age-parse-dup-0-twoline": "RFC 7234",
    "age-parse-dup-old": "RFC 7234",
    "age-parse-parameter": "RFC 7234",
    "age-parse-numeric-parameter": "RFC 7234",
    # Nothing stale is sent, but a 502 without the field by which the suite tells where an answer is from.
    "stale-close-must-revalidate": "502",
    "stale-close-proxy-revalidate": "502",
    "stale-close-no-cache": "502",
    "stale-close-s-maxage=2": "502",
    # Nobody knows where an answer ends with a coding that nobody knows (RFC 9112 section 6.3).
    "headers-store-Transfer-Encoding": "502",
    # Not stored, on purpose.
    "headers-store-Content-Range": "a part",
    "304-etag-update-response-Content-Range": "a part",
    "headers-store-Set-Cookie": "a cookie",
    "304-etag-update-response-Set-Cookie": "a cookie",
    "other-set-cookie": "a cookie",
    # RFC 9111 section 3.2 excepts it no more; and what has another entity tag is asked for anew.
    "304-etag-update-response-Content-MD5": "RFC 7234",
    "304-etag-update-response-ETag": "another",
    # What may be done and is not: heuristics without leave, POST, parts, languages.
    **{f"heuristic-{status}-cached": "no leave" for status in (200, 203, 204, 404, 405, 410, 414, 501, 599)},
    "method-POST": "not a method of ours",
    # Without Last-Modified the Date counts (RFC 9111 section 4.3.2), which is later than what is asked about.
    "conditional-lm-fresh-no-lm": "modified",
    **{f"vary-normalise-{what}": "letter by letter" for what in ("lang-order", "lang-case", "lang-space")},
    "vary-normalise-lang-select": "letter by letter",
    "vary-normalise-space": "letter by letter",
    "partial-store-partial-reuse-partial": "a part",
    "partial-store-partial-reuse-partial-byterange": "a part",
    "partial-store-partial-reuse-partial-absent": "a part",
    "partial-store-partial-reuse-partial-suffix": "a part",
    "partial-store-partial-complete": "a part",
}
"""What comes out otherwise, and why."""


@pytest.fixture(scope="module")
def suite() -> tuple[str, Path]:
    """Node, and where the suite is installed."""
    return installed(SUITE, "http-cache-tests")


@pytest.fixture
def origin(suite: tuple[str, Path], tmp_path: Path) -> Iterator[str]:
    """The server of the suite."""
    port = closed_port()
    given = {"protocol": "http", "port": str(port), "pidfile": str(tmp_path / "pid"), "base": "", "id": ""}
    environment = {**os.environ, **{f"npm_config_{name}": value for name, value in given.items()}}
    node, folder = suite[0], suite[1] / "node_modules" / "http-cache-tests"
    command = [node, "--no-warnings", "server/server.mjs"]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(100):
                try:
                    urllib.request.urlopen(url, timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield url
        finally:
            process.kill()


def test_cache_tests(suite: tuple[str, Path], origin: str, tmp_path: Path) -> None:
    handler = proxy(origin, ejection=NEVER, cache={})
    with Engine(plan(make(tmp_path), [route(handler)])) as engine:
        base = f"https://localhost:{engine.port}"
        environment = {**os.environ, "BASE": base, "NODE_TLS_REJECT_UNAUTHORIZED": "0"}
        node, folder = suite
        command = [node, "--no-warnings", "run.mjs"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout.splitlines()[-1])
    assert len(outcomes) > 280
    # A "check" only tells what a cache does.
    failed = {name: said for kind, name, said in outcomes if kind != "check" and said is not True}
    assert {name: said for name, said in failed.items() if name not in OTHERWISE} == {}
    assert sorted(set(OTHERWISE) - set(failed)) == [], "said to come out otherwise, and does not"
