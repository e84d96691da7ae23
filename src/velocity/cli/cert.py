"""`velocity cert`: its verbs."""

from __future__ import annotations

import typer

from velocity.cli import cert_inspect, cert_issue

__all__ = ["app"]

app = typer.Typer(help="Issue, inspect and verify hybrid certificates.", no_args_is_help=True, rich_markup_mode=None)
app.command("issue", epilog=cert_issue.ISSUE_EXAMPLES)(cert_issue.issue)
app.command("request", epilog=cert_issue.REQUEST_EXAMPLES)(cert_issue.request)
app.command("hybridize", epilog=cert_issue.HYBRIDIZE_EXAMPLES)(cert_issue.hybridize)
app.command("inspect", epilog=cert_inspect.INSPECT_EXAMPLES)(cert_inspect.inspect)
app.command("verify", epilog=cert_inspect.VERIFY_EXAMPLES)(cert_inspect.verify)
