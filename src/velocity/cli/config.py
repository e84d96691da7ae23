"""`velocity config`: its verbs."""

from __future__ import annotations

import typer

from velocity.cli import config_diff, config_fmt, config_init, config_lint, config_schema, config_show

__all__ = ["app"]

app = typer.Typer(
    help="Check, show, compare and write configuration files.", no_args_is_help=True, rich_markup_mode=None
)
app.command("lint", epilog=config_lint.EXAMPLES)(config_lint.lint)
app.command("show", epilog=config_show.EXAMPLES)(config_show.show)
app.command("diff", epilog=config_diff.EXAMPLES)(config_diff.diff)
app.command("fmt", epilog=config_fmt.EXAMPLES)(config_fmt.fmt)
app.command("init", epilog=config_init.EXAMPLES)(config_init.init)
app.command("schema", epilog=config_schema.EXAMPLES)(config_schema.schema)
