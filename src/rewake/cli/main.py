"""`rewake`: the command with its subcommands."""

from __future__ import annotations

import click

import rewake
from rewake.cli import exits
from rewake.cli.approvals import approvals
from rewake.cli.awakeables import awakeables
from rewake.cli.crash_test import crash_test
from rewake.cli.data import backup, compact, restore, upgrade
from rewake.cli.demo import demo
from rewake.cli.example import example
from rewake.cli.explain import explain
from rewake.cli.identity import identity
from rewake.cli.invocations import invocations
from rewake.cli.login import login, logout
from rewake.cli.promises import promises
from rewake.cli.registry import deployments, services
from rewake.cli.run import run, server
from rewake.cli.serve import serve
from rewake.cli.sql import sql
from rewake.cli.state import state
from rewake.cli.tokens import tokens
from rewake.cli.ui import ui
from rewake.cli.watching import watch


@click.group(cls=exits.Group, epilog=exits.HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(rewake.__version__, message="rewake %(version)s")
def main() -> None:
    """Run multi-agent systems that survive crashes."""


for subcommand in (
    run,
    server,
    serve,
    ui,
    demo,
    crash_test,
    example,
    invocations,
    services,
    deployments,
    identity,
    tokens,
    login,
    logout,
    state,
    promises,
    awakeables,
    approvals,
    sql,
    backup,
    restore,
    compact,
    upgrade,
    explain,
):
    main.add_command(subcommand)
invocations.add_command(watch)
