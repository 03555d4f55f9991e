"""Operations on runs: their words, which runs they are for, and how one of them went.

What an operation answers in which status is the admin API's table, so that the words here are those of the API and the
command line. Used by actions.py for the runs that were ticked, by bulk.py for all that match.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from rewake.admin.invocations import REFUSALS, RESTART
from rewake.core import ids
from rewake.errors import RewakeError
from rewake.runs.facts import OPEN_STATUSES
from rewake.ui.port import UiEngine


class Words(NamedTuple):
    """An operation's name, what was done, and what it means."""

    title: str
    done: str
    meaning: str


WORDS: Final = {
    "cancel": Words("Cancel", "cancelled", "The handler sees a terminal error at its next await and may clean up."),
    "kill": Words("Kill", "killed", "Ends at once, with everything it called. The handler cannot clean up."),
    "pause": Words(
        "Pause", "paused", "No more attempts until it is resumed; the one that runs stops at its next await."
    ),
    "resume": Words("Resume", "resumed", "Goes on now instead of waiting for its next attempt or in a pause."),
    "purge": Words("Purge", "purged", "Forgets the result and the journal. This cannot be undone."),
    RESTART: Words("Restart as new", "restarted", "Runs again from the start with the same input, as a new run."),
}

STATUSES_FOR: Final[dict[str, tuple[str, ...]]] = {
    "cancel": OPEN_STATUSES,
    "kill": OPEN_STATUSES,
    "pause": ("running", "backing-off", "suspended"),
    "resume": ("backing-off", "suspended", "paused"),
    "purge": ("failed", "succeeded"),
}
"""Operations that can be done to all runs that match -> the statuses a run must have for it."""


class Outcome(NamedTuple):
    """problem: why it was not done, None when it was.   new_id: of the run it started."""

    problem: str | None
    new_id: str | None = None


async def operate(engine: UiEngine, action: str, invocation_id: bytes, deployment: str | None) -> Outcome:
    """Do it to one run."""
    try:
        reply = await engine.operate(action, invocation_id, deployment=deployment)
    except RewakeError as error:
        return Outcome(refused_elsewhere(error).rstrip("."))
    refusal = REFUSALS[action].get(reply.status)
    if refusal is not None:
        return Outcome(refusal.batch.format(id=ids.invocation_id_to_str(invocation_id)))
    if action == RESTART and reply.invocation_id is not None:
        return Outcome(None, ids.invocation_id_to_str(reply.invocation_id))
    return Outcome(None)


def refused_elsewhere(error: RewakeError) -> str:
    """What a server elsewhere says to an operation it does not do. Raises any other error again."""
    if "http_status" not in error.facts:
        raise error
    return error.message
