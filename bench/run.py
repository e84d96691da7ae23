"""Measure Velocity beside Caddy and nginx: `python bench/run.py [--quick] [--only NAME]`.

Progress goes to stderr, the table to stdout. A full run also writes JSON and the table to bench/results.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite import clients, machine, material, report
from suite.benches import BENCHES, QUICK, SUITES, Bench, Knobs
from suite.contestants import (
    Caddy,
    Contestant,
    Granian,
    Haproxy,
    Hypercorn,
    Nginx,
    Raw,
    RawQuinn,
    Setup,
    Unavailable,
    Uvicorn,
    Velocity,
)
from suite.contestants.applications import serving
from suite.contestants.base import built
from suite.contestants.proxies import in_front
from suite.flame import FLAMES
from suite.server import CLIENT_CPU, SERVER_CPU, Failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from suite.clients import Numbers

RESULTS = material.BENCH / "results"
CONTESTANTS: tuple[type[Contestant], ...] = (
    Velocity, Caddy, Nginx, Haproxy, Uvicorn, Granian, Hypercorn, Raw, RawQuinn,
)  # fmt: skip


def main() -> int:
    """Run what is asked for; 0 when everything could be measured, 2 for bad usage, 1 otherwise."""
    arguments = parse_arguments()
    FLAMES.folder = arguments.flames
    knobs = QUICK if arguments.quick else Knobs()
    knobs = replace(knobs, rounds=arguments.rounds or knobs.rounds, seconds=arguments.seconds or knobs.seconds)
    chosen = [
        (suite, [b for b in SUITES[suite] if not arguments.only or b.name in arguments.only])
        for suite in arguments.suite
    ]
    try:
        if not {SERVER_CPU, CLIENT_CPU} <= os.sched_getaffinity(0):
            raise Unavailable("the benches need two CPUs, one for each side")
        setup = material.prepare()
        wanted = {name for _, benches in chosen for bench in benches for name in bench.contestants} & set(
            arguments.contestants
        )
        contestants = {kind.name: kind(setup) for kind in CONTESTANTS if kind.name in wanted}
        versions = machine.versions(contestants.values())
        built("velocity-loader"), clients.wrk(), clients.h2load()
    except Unavailable as error:
        print(f"error: {error}", file=sys.stderr)
        return 1

    failed = False
    everybody = set(arguments.contestants) == {kind.name for kind in CONTESTANTS}
    complete = everybody and not arguments.only and knobs.rounds >= Knobs.rounds and knobs.seconds >= Knobs.seconds
    for suite, benches in chosen:
        if not benches:
            continue
        started = time.monotonic()
        results = [run(bench, contestants, knobs) for bench in benches]
        taking_part = {name for bench in benches for name in bench.contestants} & set(contestants)
        result: dict[str, Any] = {
            "schema": report.SCHEMA,
            "suite": suite,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "minutes": round((time.monotonic() - started) / 60, 1),
            "machine": machine.describe(),
            "versions": versions,
            "settings": {**asdict(knobs), "server_cpu": SERVER_CPU, "client_cpu": CLIENT_CPU},
            "commands": {name: shown(as_it_runs(suite, contestants[name])) for name in sorted(taking_part)},
            "benches": results,
        }
        table = report.markdown(result)
        print(table)
        if complete or arguments.output:
            write(arguments.output or RESULTS, f"{result['date']}-{suite}", result, table)
        failed |= any(bench["errors"] for bench in results)
    return 1 if failed else 0


def as_it_runs(suite: str, contestant: Contestant) -> Contestant:
    """A contestant with what a suite gives it to do."""
    if suite == "proxy":
        return in_front(contestant.name, contestant.setup, 3000)
    if suite == "python":
        return serving(contestant.name, contestant.setup)
    return contestant


def write(folder: Path, stem: str, result: dict[str, Any], table: str) -> None:
    """Put a result where results are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stem}.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / f"{stem}.md").write_text(table)
    progress(f"written: {stem}.json and {stem}.md")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    names, everyone = [bench.name for bench in BENCHES], [kind.name for kind in CONTESTANTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short round, to try things out")
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of: {', '.join(names)}")
    parser.add_argument(
        "--contestants",
        type=lambda text: text.split(","),
        default=everyone,
        metavar="LIST",
        help=f"who takes part, out of: {', '.join(everyone)}",
    )
    parser.add_argument("--rounds", type=positive(int), metavar="N", help=f"turns of everybody ({Knobs.rounds})")
    parser.add_argument("--seconds", type=positive(float), metavar="S", help=f"load in one turn ({Knobs.seconds:g})")
    parser.add_argument("--suite", action="append", choices=list(SUITES), help="one part of them")
    parser.add_argument(
        "--flames", type=Path, metavar="FOLDER", help="draw where Velocity spends its time; what is measured suffers"
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write results there, whatever was run")
    arguments = parser.parse_args()
    arguments.suite = arguments.suite or list(SUITES)
    if unknown := set(arguments.contestants) - set(everyone):
        parser.error(f"no contestant is called {', '.join(sorted(unknown))}")
    return arguments


def positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    """A converter for numbers above zero."""

    def convert(text: str) -> float:
        number = kind(text)
        if not number > 0:
            raise ValueError(text)
        return number

    convert.__name__ = "number above zero"
    return convert


def run(bench: Bench, contestants: dict[str, Contestant], knobs: Knobs) -> dict[str, Any]:
    """All rounds of one bench. A contestant that fails once has no figure."""
    present = [contestants[name] for name in bench.contestants if name in contestants]
    rounds: dict[str, list[Numbers]] = {}
    errors: dict[str, str] = {}
    FLAMES.bench = bench.name
    for number in range(knobs.rounds):
        # Nobody is always first.
        shift = number % max(len(present), 1)
        for contestant in present[shift:] + present[:shift]:
            if contestant.name in errors:
                continue
            try:
                turn = bench.measure(contestant, knobs)
            except Failed as error:
                errors[contestant.name] = str(error)
                progress(f"{bench.name} {number + 1}/{knobs.rounds} {contestant.name}: failed: {error}")
                continue
            for series, numbers in turn.items():
                rounds.setdefault(series, []).append(numbers)
                value = f"{numbers[bench.figure]:,.6g} {bench.unit}"
                progress(f"{bench.name} {number + 1}/{knobs.rounds} {series}: {value}")
    valid = in_order(bench, {name: turns for name, turns in rounds.items() if name.split()[0] not in errors})
    return report.summarize(bench, valid, errors)


def in_order(bench: Bench, rounds: dict[str, list[Numbers]]) -> dict[str, list[Numbers]]:
    """Series in the order of the contestants, whoever had the first turn, and before those of nobody's."""
    order = {name: place for place, name in enumerate(bench.contestants)}
    return dict(sorted(rounds.items(), key=lambda item: order.get(item[0].split()[0], len(order))))


def shown(contestant: Contestant) -> str:
    """The command of a contestant without anything of this machine in it."""
    setup: Setup = contestant.setup
    words = contestant.command(4433)
    replaced = [word.replace(str(setup.cache), "bench/.cache").replace(str(material.BENCH), "bench") for word in words]
    return shlex.join([Path(replaced[0]).name, *replaced[1:]])


def progress(text: str) -> None:
    """A line for whoever waits."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
