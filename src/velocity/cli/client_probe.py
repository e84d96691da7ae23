"""`velocity client probe`: what a server speaks, and how well it is protected."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from velocity.cli import style

__all__ = ["EXAMPLES", "probe"]

EXAMPLES = """\b
Examples:
  velocity client probe localhost:4433 --insecure
  velocity client probe example.com --json
"""


def probe(
    server: Annotated[str, typer.Argument(metavar="HOST[:PORT]", help="Port 443 by default.")],
    insecure: Annotated[bool, typer.Option("--insecure", "-k", help="Accept any certificate.")] = False,
    cacert: Annotated[str | None, typer.Option("--cacert", metavar="FILE", help="PEM roots to trust.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="For each handshake.", min=0.1, max=86_400)
    ] = 5.0,
) -> int:
    """Show which protocols a server speaks, and what each handshake negotiated.

    One real handshake for each protocol, and under velocity/1 one for each profile.
    Exits with 0 only if velocity/1 works.
    """
    from velocity.client.connect import Trust
    from velocity.client.probe import probe as ask
    from velocity.client.url import parse_authority

    host, port = parse_authority(server)
    result = ask(host, port, Trust(cacert, insecure), timeout)
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        _print(result)
    return 0 if result["ok"] else 1


def _rows(result: dict[str, Any]) -> list[list[str]]:
    named = [(name, facts) for name, facts in result["protocols"].items()]
    named += [(f"velocity/1 {profile}", facts) for profile, facts in result["profiles"].items()]
    return [
        [
            name,
            facts["group"] or "-",
            facts["cipher"] or "-",
            facts["signature_scheme"] or "-",
            _verified(facts["verification"]),
            str(facts["round_trips"]),
            f"{facts['handshake_ms']:.1f} ms",
        ]
        if facts["ok"]
        else [name, f"no: {style.plain(facts['error'])}", "", "", "", "", ""]
        for name, facts in named
    ]


def _verified(verdicts: dict[str, Any]) -> str:
    """`classical, ML-DSA-65`; `no` where nobody looked."""
    passed = ["classical"] if verdicts["classical"] else []
    passed += [verdicts["ml_dsa_level"]] if verdicts["ml_dsa"] else []
    return ", ".join(passed) or "no"


def _print(result: dict[str, Any]) -> None:
    """A table on stdout: drawn on a terminal, aligned text elsewhere."""
    header = ["protocol", "group", "cipher", "signature", "verified", "round trips", "handshake"]
    rows = _rows(result)
    if style.terminal(1):
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*header, title=Text(f"{result['host']}:{result['port']}"), title_justify="left")
        for row in rows:
            table.add_row(*map(Text, row))  # Text, because rich would read markup in what a peer wrote
        Console().print(table)
    else:
        widths = [max(len(row[i]) for row in [header, *rows] if row[1][:3] != "no:") for i in range(len(header))]
        for row in [header, *rows]:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            print("  ".join(cells).rstrip())
    certificate = result["certificate"]
    if certificate and "names" in certificate:
        names = style.plain(", ".join(certificate["names"]) or certificate["subject"])
        print(f"certificate  {names}; {certificate['key']}; {certificate['days_left']} days left")
        print(f"             SHA-256 {certificate['sha256']}")
