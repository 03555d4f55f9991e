"""Operations on one invocation: the table for engine, admin API, UI and CLI.

core/operations.py and its neighbours execute them; admin/invocations.py turns their outcomes into HTTP answers.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Operation(StrEnum):
    """The operations, by their names in the paths of the admin API."""

    CANCEL = "cancel"
    KILL = "kill"
    PAUSE = "pause"
    RESUME = "resume"
    PURGE = "purge"
    PURGE_JOURNAL = "purge-journal"
    RESTART = "restart-as-new"

    @property
    def facts(self) -> Facts:
        return _FACTS[self]


class Facts(NamedTuple):
    """An operation's words and uses.

    done: the word for the result.   statuses: of runs to include, if it is applied to all that match.
    takes_deployment: it can move the run to another deployment.
    """

    title: str
    done: str
    meaning: str
    statuses: tuple[str, ...] = ()
    takes_deployment: bool = False
    is_destructive: bool = False


_OPEN: Final = ("running", "backing-off", "suspended", "paused", "pending", "scheduled")

_FACTS: Final = {
    Operation.CANCEL: Facts(
        "Cancel",
        "cancelled",
        "The handler sees a terminal error at its next await and may clean up.",
        _OPEN,
        is_destructive=True,
    ),
    Operation.KILL: Facts(
        "Kill",
        "killed",
        "Ends at once, with everything it called. The handler cannot clean up.",
        _OPEN,
        is_destructive=True,
    ),
    Operation.PAUSE: Facts(
        "Pause",
        "paused",
        "No more attempts until it is resumed; the one that runs stops at its next await.",
        ("running", "backing-off", "suspended"),
    ),
    Operation.RESUME: Facts(
        "Resume",
        "resumed",
        "Goes on now instead of waiting for its next attempt or in a pause.",
        ("backing-off", "suspended", "paused"),
        takes_deployment=True,
    ),
    Operation.PURGE: Facts(
        "Purge",
        "purged",
        "Forgets the result and the journal. This cannot be undone.",
        ("failed", "succeeded"),
        is_destructive=True,
    ),
    Operation.PURGE_JOURNAL: Facts(
        "Purge the journal of", "purged", "Forgets the journal and keeps the result. This cannot be undone."
    ),
    Operation.RESTART: Facts(
        "Restart as new",
        "restarted",
        "Runs again from the start with the same input, as a new run.",
        takes_deployment=True,
    ),
}
