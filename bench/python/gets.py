"""Many small GETs over one connection by one HTTP library: `gets.py LIBRARY PROTOCOL URL CA COUNT`.

Prints one JSON object: how long they took, on the clock and on the CPU, and the version of the library. The first
ten are not counted. Each library is used as its guide says, with a session, and each answer is read and compared.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import ssl
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

WARMUP = 10
VERSIONS = {"h3": "3", "h2": "2", "h1": "1.1"}


def velocity(protocol: str, ca: str) -> tuple[Callable[[str], Any], str]:
    library = importlib.import_module("velocity")
    alpn = {"h3": "h3", "h2": "h2", "h1": "http/1.1"}[protocol]
    return library.Client(verify=ca, protocols=[alpn], trust_env=False).get, library.__version__


def httpx2(protocol: str, ca: str) -> tuple[Callable[[str], Any], str]:
    library = importlib.import_module("httpx2")
    options = {"verify": ssl.create_default_context(cafile=ca), "trust_env": False}
    client = library.Client(http1=protocol == "h1", http2=protocol == "h2", **options)
    return client.get, library.__version__


def niquests(protocol: str, ca: str) -> tuple[Callable[[str], Any], str]:
    library = importlib.import_module("niquests")
    session = library.Session(
        disable_http1=protocol != "h1", disable_http2=protocol != "h2", disable_http3=protocol != "h3"
    )
    session.verify, session.trust_env = ca, False
    if protocol == "h3":
        address = sys.argv[3].split("/")[2].split(":")
        session.quic_cache_layer.add_domain(address[0], int(address[1]))
    return session.get, library.__version__


def main() -> None:
    """Measure."""
    library, protocol, url, ca = sys.argv[1:5]
    count = int(sys.argv[5])
    get, version = {"velocity": velocity, "httpx2": httpx2, "niquests": niquests}[library](protocol, ca)
    for _ in range(WARMUP):
        expected = get(url).content
    begin, used = time.perf_counter(), time.process_time()
    for _ in range(count):
        answer = get(url)
        if answer.status_code != 200 or answer.content != expected:
            raise SystemExit("a wrong answer")
    seconds, cpu = time.perf_counter() - begin, time.process_time() - used
    spoken = getattr(answer, "http_version", None) or answer.raw.version
    if (
        str(spoken).removeprefix("HTTP/").replace("11", "1.1").replace("20", "2").replace("30", "3")
        != VERSIONS[protocol]
    ):
        raise SystemExit(f"{library} spoke {spoken} instead of {protocol}")
    print(json.dumps({"seconds": seconds, "cpu": cpu, "bytes": len(expected), "version": version}))


if __name__ == "__main__":
    main()
