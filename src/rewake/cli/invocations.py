"""`rewake invocations`: lists, shows and changes invocations.

Lists are SQL over the admin API, as the public tables have them; one invocation is read in rewake.runs and drawn by
timeline_view.py and journal_view.py. A change is one PATCH for each id; the server decides whether the status allows
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import click

from rewake.cli.admin_client import AdminClient, admin_options, segment, sql_text
from rewake.cli.exits import Group, not_found
from rewake.cli.progress import with_progress
from rewake.cli.settings import COUNT_MAX
from rewake.cli.tables import cell, print_facts, print_json, print_table, shortened
from rewake.cli.times import at_ms, now_ms, time_and_age
from rewake.errors import ErrorCode, RewakeError
from rewake.operations import Operation

if TYPE_CHECKING:
    from rewake.core.model import Invocation
    from rewake.runs.reading import Reading
    from rewake.runs.waits import Wait

STATUSES: Final = ("pending", "scheduled", "ready", "running", "backing-off", "suspended", "paused", "completed")
FAILURE_CHARS_MAX: Final = 60
WAITS_MAX: Final = 20
"""For so many rows of a list it is found out what they wait for; each takes a few queries."""

ID_CHARS: Final = 38
LIST_COLUMNS: Final = ("id", "target", "status", "created", "took", "about")


@click.group(cls=Group, places={"watch": "rewake.cli.watching:watch"})
def invocations() -> None:
    """List, show, watch, cancel, kill, purge, pause, resume, restart."""


@invocations.command("list")
@click.option("--service", multiple=True, metavar="NAME", help="Of this service; may be repeated.")
@click.option("--status", multiple=True, type=click.Choice(STATUSES), help="In this status; may be repeated.")
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, COUNT_MAX), help="How many, newest first."
)
@admin_options
def list_invocations(
    service: tuple[str, ...], status: tuple[str, ...], limit: int, admin: AdminClient, as_json: bool
) -> None:
    """List invocations, newest first."""
    rows = admin.query(list_query(service, status, limit))
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("No invocations match." if service or status else "No invocations yet.", err=True)
    else:
        waits = waits_in(admin, rows)
        print_table(LIST_COLUMNS, [list_row(row, waits.get(row["id"], "")) for row in rows])


def list_query(service: Sequence[str], status: Sequence[str], limit: int) -> str:
    """The newest invocations of these services, in these statuses; of all when empty."""
    conditions = [
        f"{column} in ({', '.join(sql_text(value) for value in values)})"
        for column, values in (("target_service_name", service), ("status", status))
        if values
    ]
    where = f" where {' and '.join(conditions)}" if conditions else ""
    return (
        "select id, target, status, created_at, modified_at, completed_at, completion_result, completion_failure, "
        f"retry_count, last_failure from sys_invocation{where} order by created_at desc, id limit {limit}"
    )


def list_row(row: dict[str, Any], waits: str = "") -> tuple[Any, ...]:
    """A row of sys_invocation under LIST_COLUMNS.   waits: what the invocation waits for."""
    from rewake.cli.durations import spoken_duration

    created_ms, completed_ms = at_ms(row.get("created_at")), at_ms(row.get("completed_at"))
    took = None if created_ms is None or completed_ms is None else spoken_duration(completed_ms - created_ms)
    since = None if created_ms is None else f"{spoken_duration(max(now_ms() - created_ms, 0))} ago"
    return row["id"], row["target"], row["status"], since, took, _about(row) or waits


def _about(row: dict[str, Any]) -> str:
    """What an operator wants to know beside the status."""
    if row["status"] == "completed":
        return shortened(row.get("completion_failure", ""), FAILURE_CHARS_MAX) or "ok"
    if failure := row.get("last_failure"):
        failed = "paused by" if row["status"] == "paused" else f"attempt {row.get('retry_count', '?')} failed:"
        return shortened(f"{failed} {failure}", FAILURE_CHARS_MAX)
    return ""


@invocations.command()
@click.argument("invocation_id", metavar="ID")
@admin_options
def show(invocation_id: str, admin: AdminClient, as_json: bool) -> None:
    """Show one invocation: its timeline with all it called, who handed over to whom, its journal and its failures."""
    from rewake.cli.effects_view import effect_lines, effects_json
    from rewake.cli.journal_view import fetch_journal, journal_lines, mismatch_facts
    from rewake.cli.timeline_view import picture_lines
    from rewake.runs.effects import effects_of
    from rewake.runs.steps import steps_of

    check_id(invocation_id)
    wanted = sql_text(invocation_id)
    rows = admin.query(f"select * from sys_invocation where id = {wanted}")
    if not rows:
        hint = "See `rewake invocations list`; runs past their retention are deleted."
        raise not_found("invocation", invocation_id, hint, ErrorCode.INVOCATION_NOT_FOUND)
    reading, invocation = reading_of(admin, invocation_id)
    if as_json:
        effects = effects_of(reading, invocation, steps_of(reading.entries(invocation.id)))
        print_json(rows[0] | _journal_of(admin, wanted) | {"effects": effects_json(effects)})
        return
    _show_facts(rows[0])
    for line in _waits(reading, invocation):
        click.echo(line)
    entries, record = fetch_journal(reading, invocation)
    for line in effect_lines(effects_of(reading, invocation, record.steps)):
        click.echo(line)
    lines = [*picture_lines(reading, invocation), "", *journal_lines(entries, record)]
    click.echo("\n" + "\n".join(lines))
    if facts := mismatch_facts(record):
        click.echo("\nThe last attempt took another way than the journal:\n")
        print_facts(facts, indent="  ")


def waits_in(admin: AdminClient, rows: list[dict[str, Any]]) -> dict[str, str]:
    """What the newest open ones without a failure wait for, by id."""
    from rewake.cli.waits_view import wait_text

    found = {}
    for row in [row for row in rows if row["status"] != "completed" and not _about(row)][:WAITS_MAX]:
        with suppress(RewakeError):  # it has just been forgotten
            reading, invocation = reading_of(admin, row["id"])
            found[row["id"]] = wait_text(waits_of(reading, invocation), reading.now_ms)
    return found


def _waits(reading: Reading, invocation: Invocation) -> list[str]:
    """What an open run waits for, or an ended one has left to people, and the commands that answer it."""
    from rewake.cli.waits_view import left_lines, wait_lines
    from rewake.runs.agents import agent_trace
    from rewake.runs.waits import questions_left

    if not invocation.is_open:
        return left_lines(questions_left(reading, invocation), reading.now_ms)
    return wait_lines(waits_of(reading, invocation), agent_trace(reading, invocation).open_calls, reading.now_ms)


def waits_of(reading: Reading, invocation: Invocation) -> list[Wait]:
    """What an open run waits for."""
    from rewake.runs.steps import steps_of
    from rewake.runs.waits import waiting_for

    return waiting_for(reading, invocation, steps_of(reading.entries(invocation.id)))


def reading_of(admin: AdminClient, invocation_id: str) -> tuple[Reading, Invocation]:
    """A reading, and the invocation in it. Raises RewakeError when there is no such invocation."""
    from rewake.core.ids import invocation_id_from_str
    from rewake.runs.elsewhere.reading import ReadingElsewhere

    reading = ReadingElsewhere(admin, now_ms(), is_rewake=False)
    invocation = reading.invocation(invocation_id_from_str(invocation_id))
    if invocation is None:
        hint = "It has just been forgotten; see `rewake invocations list`."
        raise not_found("invocation", invocation_id, hint, ErrorCode.INVOCATION_NOT_FOUND)
    return reading, invocation


def _journal_of(admin: AdminClient, wanted: str) -> dict[str, Any]:
    """The rows of the journal and of its events, for programs. wanted: the id in SQL."""
    journal = admin.query(
        f"select index, entry_type, name, entry_json, appended_at from sys_journal where id = {wanted} order by index"
    )
    events = admin.query(
        "select after_journal_entry_index, appended_at, event_type, event_json from sys_journal_events "
        f"where id = {wanted} order by appended_at"
    )
    return {"journal": journal, "events": events}


def _show_facts(row: dict[str, Any]) -> None:
    called_by = row.get("invoked_by_target") or row.get("invoked_by")
    if caller_id := row.get("invoked_by_id"):
        called_by = f"{called_by} ({caller_id})"
    last_failure = None if row["status"] == "completed" else row.get("last_failure")
    click.echo(f"{cell(row['target'])}  {row['status']}\n")
    print_facts(
        (
            ("id", row["id"]),
            ("called by", called_by),
            ("idempotency key", row.get("idempotency_key")),
            ("restarted from", row.get("restarted_from")),
            ("created", time_and_age(row.get("created_at"))),
            ("due", time_and_age(row.get("scheduled_start_at")) if row["status"] == "scheduled" else None),
            ("started", time_and_age(row.get("running_at"))),
            ("completed", time_and_age(row.get("completed_at"))),
            ("result", row.get("completion_failure") or row.get("completion_result")),
            ("deployment", row.get("pinned_deployment_id")),
            ("attempts", row.get("retry_count")),
            ("next attempt", time_and_age(row.get("next_retry_at"))),
            ("last failure", last_failure),
        ),
        indent="  ",
    )


def _operation(operation: Operation, done: str, text: str) -> Any:
    """A subcommand that does one operation to each id and reports the result."""

    @invocations.command(operation.value, help=text)
    @click.argument("ids", metavar="ID...", nargs=-1, required=True)
    @admin_options
    def operate(ids: tuple[str, ...], admin: AdminClient, as_json: bool) -> None:
        _operate(admin, ids, operation, done, as_json)

    return operate


def _operate(
    admin: AdminClient,
    ids: tuple[str, ...],
    operation: Operation,
    done: str,
    as_json: bool,
    body: Any = None,
    **parameters: str | None,
) -> None:
    """Ask for each id and report which succeeded. Fails at the end with the first error."""
    answers: list[dict[str, Any]] = []
    first_error: RewakeError | None = None
    for invocation_id in with_progress(ids, "Asking", len(ids)):
        try:
            check_id(invocation_id)
            answer = admin.ask("PATCH", f"/invocations/{segment(invocation_id)}/{operation}", body, **parameters)
        except RewakeError as error:
            answers.append({"id": invocation_id, "error": error.message})
            if first_error is not None:
                click.echo(cell(error), err=True)
            first_error = first_error or error
        else:
            answers.append({"id": invocation_id, "done": done} | (answer or {}))
    if as_json:
        print_json(answers)
    else:
        for each in answers:
            if "done" in each:
                click.echo(each.get("new_invocation_id") or f"{each['id']} {each['done']}")
    if first_error is not None:
        raise first_error


def check_id(invocation_id: str) -> None:
    """Refuse text that is not an id, and name the likely mistake."""
    if len(invocation_id) != ID_CHARS or not invocation_id.startswith("inv_1"):
        hint = f"An id is {ID_CHARS} characters and starts with inv_1; see `rewake invocations list`."
        raise not_found("invocation", invocation_id, hint, ErrorCode.ID_INVALID)


_operation(Operation.CANCEL, "is being cancelled", "Ask the handler to stop; it may clean up first.")
_operation(Operation.KILL, "killed", "End it and everything it called, without asking the handlers.")
_operation(Operation.PAUSE, "is being paused", "Start no more attempts until it is resumed.")


@invocations.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--journal", is_flag=True, help="Only the journal; keep the result.")
@admin_options
def purge(ids: tuple[str, ...], journal: bool, admin: AdminClient, as_json: bool) -> None:
    """Forget completed invocations: result, journal, and the state of a workflow."""
    _operate(admin, ids, Operation.PURGE_JOURNAL if journal else Operation.PURGE, "purged", as_json)


@invocations.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--deployment", metavar="latest|keep|ID", help="Move it to this deployment.")
@admin_options
def resume(ids: tuple[str, ...], deployment: str | None, admin: AdminClient, as_json: bool) -> None:
    """Continue now: end a pause, or the wait for the next attempt."""
    _operate(admin, ids, Operation.RESUME, "resumed", as_json, deployment=deployment)


@invocations.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option(
    "--from",
    "from_index",
    metavar="INDEX",
    type=click.IntRange(0, COUNT_MAX),
    help="Keep journal entries up to this one.",
)
@click.option("--result", metavar="JSON", help="Result of the step at --from, in place of its own.")
@click.option("--deployment", metavar="latest|keep|ID", help="Run on this deployment.")
@click.option(
    "--overwrite-state",
    is_flag=True,
    help="Fork on the key itself instead of a copy, even if later runs changed its state.",
)
@admin_options
def restart(
    ids: tuple[str, ...],
    from_index: int | None,
    result: str | None,
    deployment: str | None,
    overwrite_state: bool,
    admin: AdminClient,
    as_json: bool,
) -> None:
    """Run completed invocations again with the same input, or fork any at a step with --from; prints the new ids."""
    start = None if from_index is None else str(from_index)
    body = None if result is None else {"result": _json_value(result, from_index)}
    parameters = {"deployment": deployment, "from": start, "overwrite-state": "true" if overwrite_state else None}
    _operate(admin, ids, Operation.RESTART, "restarted", as_json, body, **parameters)


def _json_value(text: str, from_index: int | None) -> Any:
    import json

    if from_index is None:
        raise click.UsageError("--result needs --from: the index of the step whose result it replaces.")
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--result is not JSON: {error}. A text needs quotes: '\"yes\"'") from None
