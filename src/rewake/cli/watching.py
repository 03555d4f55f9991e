"""`rewake invocations watch`: the list of invocations, or one of them, drawn again and again until Ctrl-C.

On a terminal each picture replaces the one before. Elsewhere (a pipe, a log) only changes are printed: a line for
each invocation whose status has changed.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

import click

from rewake.cli.admin_client import AdminClient, admin_options, sql_text
from rewake.cli.durations import Duration
from rewake.cli.exits import not_found
from rewake.cli.following import Following
from rewake.cli.invocations import LIST_COLUMNS, STATUSES, check_id, list_query, list_row, reading_of
from rewake.cli.settings import COUNT_MAX
from rewake.cli.tables import cell, one_line, print_json, print_table
from rewake.errors import ErrorCode

_HOME_AND_CLEAR: Final = "\033[H\033[J"


@click.command()
@click.argument("invocation_id", metavar="[ID]", required=False)
@click.option("--service", multiple=True, metavar="NAME", help="Of this service; may be repeated.")
@click.option("--status", multiple=True, type=click.Choice(STATUSES), help="In this status; may be repeated.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, COUNT_MAX), help="How many, newest first."
)
@click.option("--interval", default="1s", show_default=True, type=Duration(), help="Time between two updates.")
@admin_options
def watch(
    invocation_id: str | None,
    service: tuple[str, ...],
    status: tuple[str, ...],
    limit: int,
    interval: int,
    admin: AdminClient,
    as_json: bool,
) -> None:
    """Watch the newest invocations, or the timeline of one until it has completed. Ctrl-C ends it."""
    with contextlib.suppress(KeyboardInterrupt):
        if invocation_id is not None:
            check_id(invocation_id)
            _watch_one(admin, invocation_id, interval / 1_000, as_json)
            return
        looks = (admin.query(list_query(service, status, limit)) for _ in _ticks(interval / 1_000))
        if as_json or not sys.stdout.isatty():
            _tell_changes(looks, as_json)
            return
        for rows in looks:
            click.echo(_HOME_AND_CLEAR, nl=False)
            print_table(LIST_COLUMNS, [list_row(row) for row in rows])


def _watch_one(admin: AdminClient, invocation_id: str, interval_s: float, as_json: bool) -> None:
    """Draw it until it has completed. On a terminal, live text of its steps is shown below the timeline."""
    said = Following(admin.url, invocation_id) if sys.stdout.isatty() and not as_json else None
    wanted = sql_text(invocation_id)
    last_status = None
    for _ in _ticks(interval_s, said):
        rows = admin.query(f"select * from sys_invocation where id = {wanted}")
        if not rows:
            hint = "See `rewake invocations list`; runs past their retention are deleted."
            raise not_found("invocation", invocation_id, hint, ErrorCode.INVOCATION_NOT_FOUND)
        is_over = rows[0]["status"] == "completed"
        if as_json:
            if rows[0]["status"] != last_status:
                print_json(rows[0])
        elif sys.stdout.isatty() or is_over:
            _draw(admin, rows[0], said)
        elif rows[0]["status"] != last_status:
            click.echo("  ".join(one_line(cell(value)) for value in list_row(rows[0])[:3]))
        last_status = rows[0]["status"]
        if is_over:
            return


def _draw(admin: AdminClient, row: dict[str, Any], said: Following | None) -> None:
    from rewake.cli.timeline_view import picture_lines

    lines = [f"{cell(row['target'])}  {row['status']}", "", *picture_lines(*reading_of(admin, row["id"]))]
    if said is not None and row["status"] != "completed":
        lines += said.lines(shutil.get_terminal_size().columns)
    click.echo((_HOME_AND_CLEAR if sys.stdout.isatty() else "") + "\n".join(lines))


def _tell_changes(looks: Iterator[list[dict[str, Any]]], as_json: bool) -> None:
    """One line for each invocation that is new or whose status has changed."""
    known: dict[str, str] = {}
    for rows in looks:
        for row in reversed(rows):
            if known.get(row["id"]) != row["status"]:
                if as_json:
                    print_json(row)
                else:
                    click.echo("  ".join(one_line(cell(value)) for value in list_row(row)))
        known = {row["id"]: row["status"] for row in rows}
        sys.stdout.flush()


def _ticks(interval_s: float, said: Following | None = None) -> Iterator[None]:
    """A look each interval, and sooner when something is said."""
    while True:
        yield
        if said is None:
            time.sleep(interval_s)
        else:
            said.wait(interval_s)
