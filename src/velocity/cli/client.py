"""`velocity client`: its verbs."""

from __future__ import annotations

import typer

from velocity.cli import client_get, client_probe

__all__ = ["app"]

app = typer.Typer(help="Fetch and probe.", no_args_is_help=True, rich_markup_mode=None)
app.command("get", epilog=client_get.EXAMPLES)(client_get.get)
app.command("probe", short_help="Show what a server speaks.", epilog=client_probe.EXAMPLES)(client_probe.probe)
