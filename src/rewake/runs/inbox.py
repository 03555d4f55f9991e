"""The inbox: all open questions to people, from runs and from objects that keep them between turns."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Final

import msgspec

from rewake import formats
from rewake.core import ids
from rewake.core.ids import InvalidId
from rewake.errors import ErrorCode, RewakeError
from rewake.runs.agents import plain_words
from rewake.runs.approvals import Approval, approvals_of
from rewake.runs.facts import STATUSES
from rewake.runs.filters import RunFilter
from rewake.runs.kept import kept_by_id, kept_page
from rewake.runs.reading import Reading

_KEPT: Final = "kept:"


class Inbox(msgspec.Struct, frozen=True):
    """Open questions: those of objects first, then those of runs, newest run first. next_cursor: of the next page.

    encrypted: (service, key) of objects with questions that no key here opens, so that no filter of people and agents
    knows them.
    """

    approvals: list[Approval]
    next_cursor: str | None = None
    encrypted: list[tuple[str, str]] = []


def inbox(reading: Reading, wanted: RunFilter | None = None, *, who: str = "") -> Inbox:
    """The open questions on one page of the objects and runs that match a filter. who: only questions to this person.

    Questions of objects are filtered by service and agent only, because objects have no run.
    """
    wanted = wanted or RunFilter()
    found: list[Approval] = []
    encrypted: list[tuple[str, str]] = []
    if not wanted.cursor or wanted.cursor.startswith(_KEPT):
        kept = kept_page(reading, wanted.service, _after(wanted.cursor))
        found = [each for each in kept.approvals if not wanted.agent or _is_by(each, wanted.agent)]
        encrypted = kept.encrypted
        if kept.after is not None:
            return Inbox(_asked_of(who, found), _cursor(kept.after), encrypted)
        wanted = msgspec.structs.replace(wanted, cursor="")
    runs = reading.find(msgspec.structs.replace(wanted, asking=True), dict.fromkeys(STATUSES, 0))
    for run in runs.runs:
        invocation = reading.invocation(ids.invocation_id_from_str(run.id))
        if invocation is not None:
            found += approvals_of(reading, invocation)
    return Inbox(_asked_of(who, found), runs.next_cursor, encrypted)


def approval_of(reading: Reading, approval_id: str) -> Approval:
    """One question by its id or by any of its awakeables. Raises RewakeError RW4026 if it is not known."""
    try:
        kept = kept_by_id(reading, approval_id)
    except InvalidId:
        return _of_run(reading, approval_id)
    if kept is None:
        raise _unknown(approval_id)
    return kept


def _of_run(reading: Reading, approval_id: str) -> Approval:
    try:
        invocation_id, _ = ids.awakeable_id_parse(approval_id)
    except InvalidId:
        raise _unknown(approval_id) from None
    invocation = reading.invocation(invocation_id)
    found = [] if invocation is None else approvals_of(reading, invocation)
    for each in found:
        if approval_id == each.id or approval_id in each.names:
            return each
    raise _unknown(approval_id)


def _is_by(approval: Approval, agent: str) -> bool:
    return plain_words(agent) in map(plain_words, (approval.asked.agent, *approval.asked.path))


def _asked_of(who: str, found: Iterable[Approval]) -> list[Approval]:
    return [each for each in found if each.state == "waiting" and (not who or who in each.asked.who)]


def _cursor(after: tuple[str, str]) -> str:
    return _KEPT + base64.urlsafe_b64encode("/".join(after).encode()).decode()


def _after(cursor: str) -> tuple[str, str]:
    """The object before a page's first one. An invalid cursor means the first page, as for runs."""
    try:
        service, _, key = base64.urlsafe_b64decode(cursor.removeprefix(_KEPT)).decode().partition("/")
    except (binascii.Error, ValueError):
        return "", ""
    return service, key


def _unknown(approval_id: str) -> RewakeError:
    return RewakeError(
        ErrorCode.APPROVAL_NOT_FOUND,
        f"No approval {formats.shortened(approval_id, 80)!r} is known.",
        "Its run may have been forgotten after its retention. `rewake approvals list` shows what waits.",
        http_status=404,
    )
