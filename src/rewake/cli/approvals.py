"""`rewake approvals`: lists the questions of agents to people, and answers them from a terminal.

Read in rewake.runs and answered over the ingress, so it works with every server, as `rewake awakeables` does.
"""

from __future__ import annotations

import json
from typing import Any, Final

import click

from rewake.cli.admin_client import AdminClient, admin_options, segment
from rewake.cli.awakeables import ingress_of, ingress_option
from rewake.cli.exits import Group
from rewake.cli.state import confirm
from rewake.cli.tables import one_line, print_facts, print_json, print_table, shortened
from rewake.cli.times import now_ms
from rewake.errors import RewakeError

COLUMNS: Final = ("id", "run", "asked", "since", "deadline", "missing")
_ASKED_CHARS: Final = 80
_SEEN_S: Final = 3.0
_LOOK_AGAIN_S: Final = 0.05


@click.group(cls=Group)
def approvals() -> None:
    """List what agents ask people, approve it or deny it."""


@approvals.command("list")
@click.option("--who", metavar="NAME", default="", help="Only questions to this person or role.")
@admin_options
def list_approvals(who: str, admin: AdminClient, as_json: bool) -> None:
    """List what waits for an approval: of the newest 100 runs that wait for a person, paused ones included."""
    from rewake.runs.inbox import inbox

    found = inbox(_reading(admin), who=who)
    if as_json:
        print_json([_json(each) for each in found.approvals])
    elif found.approvals:
        print_table(COLUMNS, [_row(each) for each in found.approvals])
    elif not found.encrypted:
        click.echo("No approval waits.", err=True)
    if found.encrypted:
        of = ", ".join(shortened("/".join(each), _ASKED_CHARS) for each in found.encrypted)
        click.echo(f"Encrypted, name the keys with --encryption-keys SOURCE: questions of {of}", err=True)


@approvals.command()
@click.argument("approval_id", metavar="ID")
@admin_options
def show(approval_id: str, admin: AdminClient, as_json: bool) -> None:
    """Show the approval ID: its exact arguments, the answers so far, and the outcome."""
    from rewake.runs.inbox import approval_of

    found = approval_of(_reading(admin), approval_id)
    if as_json:
        print_json(_json(found))
        return
    print_facts(_facts(found))


@approvals.command()
@click.argument("approval_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--who", metavar="NAME", envvar="REWAKE_WHO", show_envvar=True, help="Who answers. [default: the login]")
@click.option("--why", metavar="TEXT", default="", help="The reason, which is kept with the answer.")
@click.option("--digest", metavar="SHA256", default="", help="Approve only these arguments; `show` has the digest.")
@ingress_option
@admin_options
def approve(admin: AdminClient, as_json: bool, **given: Any) -> None:
    """Approve ID, for exactly the arguments that wait now."""
    _answer(admin, as_json, approved=True, **given)


@approvals.command()
@click.argument("approval_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--who", metavar="NAME", envvar="REWAKE_WHO", show_envvar=True, help="Who answers. [default: the login]")
@click.option("--why", metavar="TEXT", default="", help="The reason, which the agent's model reads.")
@ingress_option
@admin_options
def deny(admin: AdminClient, as_json: bool, **given: Any) -> None:
    """Deny ID."""
    _answer(admin, as_json, approved=False, **given)


@approvals.command()
@click.argument("approval_id", metavar="ID")
@click.option("--who", metavar="NAME", default="", help="The person it is for; the answer carries this name.")
@click.option("--lasts", metavar="DURATION", help="How long it is valid. [default: until the deadline, or 30 days]")
@admin_options
def link(approval_id: str, who: str, lasts: str | None, admin: AdminClient, as_json: bool) -> None:
    """Make a signed link to a page that asks for the answer to ID. Anyone who has it may answer."""
    body: dict[str, str] = {"who": who} if lasts is None else {"who": who, "lasts": lasts}
    made = admin.ask("POST", f"/approvals/{segment(approval_id)}/link", body)
    if as_json:
        print_json(made)
    else:
        click.echo(made["url"])


def _answer(
    admin: AdminClient,
    as_json: bool,
    *,
    approval_ids: tuple[str, ...],
    approved: bool,
    who: str | None,
    why: str,
    ingress: str | None,
    digest: str = "",
) -> None:
    from rewake.agents.approvals import Given
    from rewake.runs.approvals import asker, checked
    from rewake.runs.inbox import approval_of

    for approval_id in approval_ids:
        found = approval_of(_reading(admin), approval_id)
        answer = Given(
            approved=approved, who=who or _login(), why=why, digest=digest or found.asked.digest, at_ms=now_ms()
        )
        slot = checked(found, answer, now_ms())
        now = _answered(admin, ingress_of(admin, ingress), found, answer, slot)
        more = f" ({now.missing} more must approve)" if approved and now.missing else ""
        confirm(as_json, f"{'Approved' if approved else 'Denied'}: {one_line(asker(found.asked))}{more}")


def _answered(admin: AdminClient, ingress: Any, found: Any, answer: Any, slot: str) -> Any:
    """The approval after the answer. Raises RewakeError when it is not taken."""
    from rewake.protocol.messages import Success
    from rewake.runs.approvals import answer_body
    from rewake.runs.inbox import approval_of

    if found.keeper is None:
        ingress.answer(slot, Success(answer_body(answer)))
        return _seen(admin, found.id, answer)
    _call_keeper(ingress, found, answer)
    return approval_of(_reading(admin), found.id)


def _call_keeper(ingress: Any, found: Any, answer: Any) -> None:
    """Call the object that keeps the question. One that is busy with a turn takes the answer after it."""
    from rewake.agents.kept import ANSWER
    from rewake.disclosure import sealed
    from rewake.runs.kept import call_body, not_taken, require_taken

    body = sealed(call_body(found, answer), *found.keeper)
    path = "/".join(segment(each) for each in (*found.keeper, ANSWER))
    status, content = ingress.send("POST", f"/{path}/send", body, {"content-type": "application/json"})
    if status < 300:
        run_id = json.loads(content)["invocationId"]
        try:
            status, content = ingress.send("GET", f"/restate/invocation/{run_id}/attach", b"", {}, _SEEN_S)
        except RewakeError:  # it is sent, and not taken yet
            return
    if status >= 300:
        raise not_taken(found, content.decode("utf-8", "replace")[:500])
    require_taken(content)


def _seen(admin: AdminClient, approval_id: str, answer: Any) -> Any:
    """The approval with the answer in it. Raises RewakeError RW4027 when another one came first."""
    import time

    from rewake.runs.approvals import came_late, is_counted
    from rewake.runs.inbox import approval_of

    ends_at_s = time.monotonic() + _SEEN_S
    while not is_counted(now := approval_of(_reading(admin), approval_id), answer):
        if now.state != "waiting":
            raise came_late(now)
        if time.monotonic() >= ends_at_s:  # sent, and not shown yet
            return now
        time.sleep(_LOOK_AGAIN_S)
    return now


def _reading(admin: AdminClient) -> Any:
    from rewake.runs.elsewhere.reading import ReadingElsewhere

    return ReadingElsewhere(admin, now_ms(), is_rewake=False)


def _json(found: Any) -> dict[str, Any]:
    from rewake.runs.approvals import approval_json

    return approval_json(found)


def _row(found: Any) -> tuple[Any, ...]:
    from rewake.runs.approvals import asker

    asked = f"{asker(found.asked)} {found.asked.arguments}"
    return (found.id, found.target, shortened(asked, _ASKED_CHARS), _since(found), _due(found), found.missing)


def _facts(found: Any) -> list[tuple[str, str | None]]:
    from rewake.runs.approvals import asker

    asked = found.asked
    answers = [
        f"{'approved' if each.approved else 'denied'} by {each.who or 'somebody'}{each.why and ': ' + each.why}"
        for each in found.given
    ]
    facts = [
        ("asked", asker(asked)),
        ("arguments", asked.arguments),
        (
            "state",
            f"{found.state}; the run is paused and reads an answer when resumed" if found.is_paused else found.state,
        ),
        ("run", f"{found.run_id}  {found.target}"),
        ("for", ", ".join(asked.who)),
        ("since", _since(found)),
        ("deadline", _due(found)),
        ("quorum", str(asked.quorum) if asked.quorum > 1 else ""),
        ("answers", "\n".join(answers)),
        ("digest", asked.digest),
    ]
    return [(name, value or None) for name, value in facts]


def _since(found: Any) -> str:
    from rewake.cli.durations import spoken_duration

    at_ms = found.asked.asked_at_ms
    return "" if at_ms is None else f"{spoken_duration(max(now_ms() - at_ms, 0))} ago"


def _due(found: Any) -> str:
    from rewake.cli.durations import spoken_duration

    at_ms = found.asked.deadline_at_ms
    if at_ms is None:
        return ""
    left_ms = at_ms - now_ms()
    return f"in {spoken_duration(left_ms)}" if left_ms > 0 else "passed"


def _login() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user, as in a container
        return ""
