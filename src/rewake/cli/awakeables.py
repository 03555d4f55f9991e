"""`rewake awakeables`: lists the answers that runs wait for from outside, and gives one.

The list is read in rewake.runs, as the pages have it; answers go to the ingress, which the admin API names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from rewake.cli.admin_client import AdminClient, admin_options
from rewake.cli.exits import Group
from rewake.cli.invocations import waits_of
from rewake.cli.state import check_json, confirm
from rewake.cli.tables import print_json, print_table, shortened
from rewake.cli.times import now_ms

COLUMNS: Final = ("id", "run", "since", "asked")
_ASKED_CHARS: Final = 80

_Function = TypeVar("_Function", bound=Callable[..., Any])


def ingress_option(function: _Function) -> _Function:
    text = "Address of the ingress; by default the one that the admin API names."
    return click.option("--ingress", metavar="URL", envvar="REWAKE_INGRESS", show_envvar=True, help=text)(function)


@click.group(cls=Group)
def awakeables() -> None:
    """List the awakeables that runs wait for, and resolve or reject one."""


@awakeables.command("list")
@admin_options
def list_awakeables(admin: AdminClient, as_json: bool) -> None:
    """List what runs wait for from outside: of the newest 100 runs that wait for a person.

    A run that has not suspended yet has no id here, unless the id is in its journal.
    """
    found = _waiting(admin)
    if as_json:
        print_json(found)
    elif not found:
        click.echo("No run waits for an answer from outside.", err=True)
    else:
        rows = ((*map(item.get, ("id", "target", "since")), shortened(item["asked"], _ASKED_CHARS)) for item in found)
        print_table(COLUMNS, list(rows))


def _waiting(admin: AdminClient) -> list[dict[str, Any]]:
    from rewake.cli.durations import spoken_duration
    from rewake.cli.waits_view import asked_in
    from rewake.core.ids import invocation_id_from_str
    from rewake.runs.elsewhere.reading import ReadingElsewhere
    from rewake.runs.facts import STATUSES
    from rewake.runs.filters import RunFilter

    reading = ReadingElsewhere(admin, now_ms(), is_rewake=False)
    found = []
    for run in reading.find(RunFilter(waiting=True), dict.fromkeys(STATUSES, 0)).runs:
        invocation = reading.invocation(invocation_id_from_str(run.id))
        if invocation is None:
            continue
        for item in waits_of(reading, invocation):
            if item.kind in ("awakeable", "answer"):
                since = None if item.since_ms is None else f"{spoken_duration(max(now_ms() - item.since_ms, 0))} ago"
                told = {"id": item.awakeable, "invocation_id": run.id, "target": run.target}
                found.append(told | {"since": since, "asked": asked_in(item)})
    return found


@awakeables.command()
@click.argument("awakeable_id", metavar="ID")
@click.argument("value", default="null")
@ingress_option
@admin_options
def resolve(awakeable_id: str, value: str, ingress: str | None, admin: AdminClient, as_json: bool) -> None:
    """Resolve the awakeable ID with VALUE (JSON)."""
    from rewake.protocol.messages import Success

    check_json(value)
    ingress_of(admin, ingress).answer(awakeable_id, Success(value.encode()))
    confirm(as_json, f"{awakeable_id} is resolved.")


@awakeables.command()
@click.argument("awakeable_id", metavar="ID")
@click.argument("reason", default="Rejected")
@ingress_option
@admin_options
def reject(awakeable_id: str, reason: str, ingress: str | None, admin: AdminClient, as_json: bool) -> None:
    """Reject the awakeable ID: the run that waits for it gets a terminal error with REASON."""
    from rewake.protocol.messages import Failure

    ingress_of(admin, ingress).answer(awakeable_id, Failure(500, reason))
    confirm(as_json, f"{awakeable_id} is rejected.")


def ingress_of(admin: AdminClient, given: str | None) -> Any:
    from rewake.clients.ingress import IngressClient, checked_url, url_beside

    if given:
        return IngressClient(checked_url(given))
    return IngressClient(url_beside(admin.url, admin.get("/version").get("ingress_endpoint")))
