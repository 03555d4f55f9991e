"""`rewake`: the command with its subcommands, each imported when it is asked for."""

from __future__ import annotations

from typing import Final

import click

import rewake
from rewake.cli import exits

SUBCOMMANDS: Final = {
    "run": "rewake.cli.run:run",
    "server": "rewake.cli.run:server",
    "serve": "rewake.cli.serve:serve",
    "ui": "rewake.cli.ui:ui",
    "demo": "rewake.cli.demo:demo",
    "crash-test": "rewake.cli.crash_test:crash_test",
    "replay-test": "rewake.cli.replay_test:replay_test",
    "example": "rewake.cli.example:example",
    "invocations": "rewake.cli.invocations:invocations",
    "journal": "rewake.cli.journal:journal",
    "services": "rewake.cli.registry:services",
    "deployments": "rewake.cli.registry:deployments",
    "identity": "rewake.cli.identity:identity",
    "encryption": "rewake.cli.encryption:encryption",
    "tokens": "rewake.cli.tokens:tokens",
    "login": "rewake.cli.login:login",
    "logout": "rewake.cli.login:logout",
    "state": "rewake.cli.state:state",
    "promises": "rewake.cli.promises:promises",
    "awakeables": "rewake.cli.awakeables:awakeables",
    "approvals": "rewake.cli.approvals:approvals",
    "sql": "rewake.cli.sql:sql",
    "backup": "rewake.cli.data:backup",
    "restore": "rewake.cli.data:restore",
    "compact": "rewake.cli.data:compact",
    "upgrade": "rewake.cli.data:upgrade",
    "explain": "rewake.cli.explain:explain",
}
"""In the order of the help."""


@click.group(
    cls=exits.Group, places=SUBCOMMANDS, epilog=exits.HELP, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(rewake.__version__, message="rewake %(version)s")
def main() -> None:
    """Run multi-agent systems that survive crashes."""
