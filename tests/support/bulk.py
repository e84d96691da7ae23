"""Bodies of any size without holding them: blocks that are numbered, so that none can be lost, doubled or moved unseen.

As a program (`python -m support.bulk`) it is a server that prints its port. It answers `PUT /bulk/count` with how much
came and its SHA-256, `GET /bulk/blocks?COUNT` with so many blocks, and anything else with a page that can do both.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support.backend import Backend, Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 1 << 16
"""Bytes of a block: the first eight are its number."""
_FILLER = bytes((at * 7 + (at >> 8)) & 0xFF for at in range(BLOCK))

PAGE = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Bulk</title>
<link rel="icon" href="data:,">
<h1>Bulk</h1>
<script>
const size = 65536;
const filler = Uint8Array.from({length: size}, (_, at) => at * 7 + (at >> 8));
function block(number) {
  const bytes = filler.slice();
  new DataView(bytes.buffer).setBigUint64(0, BigInt(number));
  return bytes;
}
async function upload(count) {
  let number = 0;
  const body = new ReadableStream({
    pull(controller) {
      if (number === count) controller.close(); else controller.enqueue(block(number++));
    },
  });
  return await (await fetch("count", {method: "PUT", body, duplex: "half"})).text();
}
async function download(count) {
  const reader = (await fetch(`blocks?${count}`)).body.getReader();
  let at = 0, wanted = block(0);
  for (let part; !(part = await reader.read()).done;) {
    for (const byte of part.value) {
      if (byte !== wanted[at % size]) return `wrong at ${at}`;
      if (++at % size === 0) wanted = block(at / size);
    }
  }
  return `${at} as it should be`;
}
function start(promise) {
  window.said = "";
  promise.then(text => { said = text; }, error => { said = String(error); });
}
document.documentElement.dataset.ready = "yes";
</script>
</html>
"""


def blocks(count: int) -> Iterator[bytes]:
    """So many of them, from number 0."""
    for number in range(count):
        yield number.to_bytes(8, "big") + _FILLER[8:]


def digest(count: int) -> str:
    """The SHA-256 of so many blocks, in hex."""
    whole = hashlib.sha256()
    for one in blocks(count):
        whole.update(one)
    return whole.hexdigest()


@contextmanager
def running() -> Iterator[str]:
    """The server in a process of its own; its URL."""
    command = [sys.executable, "-m", "support.bulk"]
    folder = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


@contextmanager
def peak(memory: Callable[[], int]) -> Iterator[list[int]]:
    """The most that `memory` says while this runs, looked at ten times a second: the only item of a list."""
    most, end = [memory()], threading.Event()

    def watch() -> None:
        while not end.wait(0.1):
            most[0] = max(most[0], memory())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield most
    finally:
        end.set()
        watcher.join()


async def _count(exchange: Exchange) -> None:
    await exchange.read()
    await exchange.answer(f"{exchange.length} {exchange.digest.hexdigest()}".encode())


async def _blocks(exchange: Exchange) -> None:
    count = int(exchange.target.partition("?")[2])
    await exchange.head(f"content-length: {count * BLOCK}", "content-type: application/octet-stream")
    for one in blocks(count):
        await exchange.send(one)


async def _page(exchange: Exchange) -> None:
    await exchange.answer(PAGE, fields=(("content-type", "text/html"),))


def _main() -> None:
    with Backend({"/bulk/count": _count, "/bulk/blocks": _blocks}) as backend:
        backend.default = _page
        print(backend.port, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    _main()
