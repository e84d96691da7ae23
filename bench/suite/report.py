"""Rounds become medians; medians become JSON and a Markdown table."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from suite.benches import Bench, Goal
    from suite.clients import Numbers

SCHEMA = 1

TITLES = {
    "serve-and-fetch": "Serve and fetch", "http3": "HTTP/3", "edge": "Edge", "proxy": "Reverse proxy",
    "python": "Python applications",
}  # fmt: skip

# What a unit of work costs, where a bench has one: the key of the numbers, and how it is written.
COSTS = {
    "server_us_per_request": "{:.1f} µs/request",
    "server_us_per_handshake": "{:.0f} µs/handshake",
    "server_s_per_gb": "{:.2f} s/GB",
}


def summarize(bench: Bench, rounds: Mapping[str, Sequence[Numbers]], errors: Mapping[str, str]) -> dict[str, Any]:
    """One bench as it stands in the JSON.

    Args:
        bench: what was measured.
        rounds: the numbers of every turn, by series.
        errors: why contestants have no figures, by name.
    """
    series, medians = [], {}
    for name, turns in rounds.items():
        values = [turn[bench.figure] for turn in turns]
        medians[name] = statistics.median(values)
        others = {key: statistics.median(turn[key] for turn in turns) for key in turns[0] if key != bench.figure}
        series.append({
            "name": name,
            "median": medians[name],
            "min": min(values),
            "max": max(values),
            "medians": {key: round(value, 3) for key, value in others.items()},
            "rounds": [{key: round(value, 4) for key, value in turn.items()} for turn in turns],
        })  # fmt: skip
    goals = []
    for goal in bench.goals:
        reached = goal.reached(medians)
        goals.append({
            "target": describe(bench, goal),
            "reached": None if reached is None else round(reached, 4),
            "met": None if reached is None else bench.met(goal, reached),
        })  # fmt: skip
    return {
        "name": bench.name,
        "title": bench.title,
        "figure": bench.figure,
        "unit": bench.unit,
        "better": "more" if bench.more_is_better else "less",
        "series": series,
        "goals": goals,
        "errors": dict(errors),
    }


def describe(bench: Bench, goal: Goal) -> str:
    """A goal in words: `velocity >= 6 x caddy`."""
    sign = ">=" if bench.more_is_better else "<="
    bound = f"{goal.factor:,g} {bench.unit}" if goal.against is None else f"{goal.factor:g} x {goal.against}"
    return f"{goal.series} {sign} {bound}"


def markdown(result: Mapping[str, Any]) -> str:
    """The whole result for people."""
    machine, settings = result["machine"], result["settings"]
    lines = [
        f"# {TITLES.get(result['suite'], result['suite'])}, {result['date']}",
        "",
        (
            f"{machine['cpu']}, {machine['cpus']} CPUs, {machine['memory_gib']} GiB, {machine['kernel']}, "
            f"{machine['distribution']}. Server on CPU {settings['server_cpu']}, "
            f"client on CPU {settings['client_cpu']}, "
            f"{settings['rounds']} rounds, contestants taking turns. How and why: [bench/README.md](../README.md)."
        ),
        "",
        ", ".join(f"{name} {version}" for name, version in result["versions"].items()) + ".",
        "",
        "## Goals",
        "",
        "| what | must reach | reached | |",
        "|---|---|---|---|",
    ]
    for bench in result["benches"]:
        lines += [
            f"| {bench['title']} | {goal['target']} | {_reached(goal)} | {_verdict(goal)} |" for goal in bench["goals"]
        ]
    lines += [
        "",
        "## Figures",
        "",
        "Medians over all rounds, with the least and the most. CPU is that of the one core each side has: where the",
        "client is near 100 % it bounds the figure, and the cost to the server is the better comparison.",
        "",
        "| what | series | median | spread | server cost | server CPU | client CPU |",
        "|---|---|---:|---|---:|---:|---:|",
    ]
    for bench in result["benches"]:
        for entry in bench["series"]:
            lines.append(_row(bench, entry))
        for name, error in bench["errors"].items():
            lines.append(f"| {bench['title']} | {name} | failed: {error} | | | | |")
    lines += ["", "## Commands", ""]
    lines += [f"- {name}: `{command}`" for name, command in result["commands"].items()]
    return "\n".join(lines) + "\n"


def _row(bench: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    others = entry["medians"]
    cost = next((text.format(others[key]) for key, text in COSTS.items() if key in others), "")
    cells = [
        bench["title"],
        entry["name"],
        f"{_number(entry['median'])} {bench['unit']}",
        f"{_number(entry['min'])} .. {_number(entry['max'])}",
        cost,
        *(f"{others[key]:.0f} %" if key in others else "" for key in ("server_cpu_percent", "client_cpu_percent")),
    ]
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _reached(goal: Mapping[str, Any]) -> str:
    if goal["reached"] is None:
        return "not measured"
    return f"{goal['reached']:.2f} x" if " x " in goal["target"] else _number(goal["reached"])


def _verdict(goal: Mapping[str, Any]) -> str:
    return {True: "yes", False: "**no**", None: ""}[goal["met"]]
