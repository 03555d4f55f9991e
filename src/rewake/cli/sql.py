"""`rewake sql`: a read-only query over the sys_* tables and the state."""

from __future__ import annotations

import click

from rewake.cli.admin_client import AdminClient, admin_options
from rewake.cli.tables import print_json, print_table


@click.command()
@click.argument("query")
@admin_options
def sql(query: str, admin: AdminClient, as_json: bool) -> None:
    """Run a read-only SQL QUERY: rewake sql "select id, status from sys_invocation"

    Tables: sys_invocation, sys_journal, sys_journal_events, sys_inbox, sys_keyed_service_status, sys_service,
    sys_deployment, sys_promise, state.
    """
    rows = admin.query(query)
    if as_json:
        print_json(rows)
        return
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if columns:
        print_table(columns, [[row.get(name) for name in columns] for row in rows])
    click.echo(f"{len(rows)} row{'' if len(rows) == 1 else 's'}", err=True)
