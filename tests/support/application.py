"""`velocity serve MODULE:ATTRIBUTE` with the applications of `support/programs`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.clients import Protocol, ask
from support.server import Server
from velocity import _core

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAMS = Path(__file__).parent / "programs"

PLACES: dict[str, tuple[str, ...]] = {"here": (), "worker": ("--reload",)}
"""Flags with which an application runs in the server's process, and in one of its own."""


def serving(
    folder: Path,
    target: str = "raw:app",
    *flags: str | Path,
    env: Mapping[str, str] | None = None,
    listen: str = "127.0.0.1:0",
    files: bool = False,
) -> Server:
    """A server of its own for one application; `folder` holds its certificate, and its files."""
    return Server(folder, target, "--app-dir", PROGRAMS, *flags, env=env, listen=listen, files=files)


def facts(port: int, protocol: Protocol = "http/1.1", path: str = "/facts") -> dict[str, Any]:
    """What an application learns of a request."""
    answer = ask(protocol, port, path)
    assert answer.status == 200, answer
    known: dict[str, Any] = json.loads(answer.body)
    return known


def of_plan(plan: Mapping[str, Any]) -> dict[str, _core.Application]:
    """What an engine needs for the routes of a Plan whose applications nobody asks for anything."""
    handlers = [route["handler"] for site in plan["sites"] for route in site["routes"]]
    loop = asyncio.new_event_loop()
    try:
        return {
            one["app"]: _core.Application(lambda *_: None, lambda _: None, loop)
            for one in handlers
            if one["kind"] == "python"
        }
    finally:
        loop.close()


def told(port: int) -> list[str]:
    """What requests before this one have heard."""
    heard: list[str] = json.loads(ask("http/1.1", port, "/told").body)
    return heard
