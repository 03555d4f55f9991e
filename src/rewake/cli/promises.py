"""`rewake promises`: lists the promises that workflows wait for, and completes one.

Only Rewake's admin API completes a promise from outside; another server answers that it has no such path.
"""

from __future__ import annotations

import json

import click

from rewake.cli.admin_client import AdminClient, admin_options, segment, sql_text
from rewake.cli.exits import Group
from rewake.cli.state import check_json, confirm
from rewake.cli.tables import print_json, print_table

LISTED_MAX = 1_000


@click.group(cls=Group)
def promises() -> None:
    """List the promises of workflows, and resolve or reject one."""


@promises.command("list")
@click.argument("service", required=False)
@admin_options
def list_promises(service: str | None, admin: AdminClient, as_json: bool) -> None:
    """List the promises somebody waits for, of all workflows or of SERVICE."""
    of_service = f" and service_name = {sql_text(service)}" if service else ""
    rows = admin.query(
        "select service_name, service_key, key from sys_promise "
        f"where not completed{of_service} order by service_name, service_key, key limit {LISTED_MAX}"
    )
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("Nobody waits for a promise.", err=True)
    else:
        columns = ("service_name", "service_key", "key")
        print_table(("service", "key", "promise"), [tuple(row[name] for name in columns) for row in rows])


@promises.command()
@click.argument("service")
@click.argument("key")
@click.argument("name")
@click.argument("value", default="null")
@admin_options
def resolve(service: str, key: str, name: str, value: str, admin: AdminClient, as_json: bool) -> None:
    """Complete the promise NAME of the workflow KEY with VALUE (JSON)."""
    check_json(value)
    _complete(admin, service, {"workflow_key": key, "name": name}, "value", value)
    confirm(as_json, f"{service}/{key}: {name} is resolved.")


@promises.command()
@click.argument("service")
@click.argument("key")
@click.argument("name")
@click.argument("reason", default="Rejected")
@admin_options
def reject(service: str, key: str, name: str, reason: str, admin: AdminClient, as_json: bool) -> None:
    """Reject the promise NAME of the workflow KEY: handlers that wait for it get a terminal error with REASON."""
    _complete(admin, service, {"workflow_key": key, "name": name}, "failure", json.dumps(reason))
    confirm(as_json, f"{service}/{key}: {name} is rejected.")


def _complete(admin: AdminClient, service: str, promise: dict[str, str], field: str, content: str) -> None:
    """The result is sent as it was written: 1.0 stays 1.0."""
    body = f'{json.dumps(promise)[:-1]}, "{field}": {content}}}'
    admin.send("POST", f"/services/{segment(service)}/promises", body.encode(), {})
