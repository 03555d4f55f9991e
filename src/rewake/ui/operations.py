"""Operations on runs: those that the pages offer, and the outcome of one.

The admin API's table gives the answer of each operation in each status, so the words are those of the API and the
command line. Used by actions.py for the runs that were ticked, by bulk.py for all that match.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from rewake.admin.invocations import REFUSALS
from rewake.core import ids
from rewake.errors import RewakeError
from rewake.operations import Operation
from rewake.ui.port import UiEngine

OFFERED: Final = tuple(each for each in Operation if each is not Operation.PURGE_JOURNAL)
"""What the pages offer for runs that are ticked."""


def operation_named(name: str) -> Operation | None:
    """The operation that a form names; None if the pages do not offer it."""
    return next((each for each in OFFERED if each == name), None)


class OperationOutcome(NamedTuple):
    """problem: why it was not done, else None.   new_id: of the run it started."""

    problem: str | None
    new_id: str | None = None


async def operate(
    engine: UiEngine, operation: Operation, invocation_id: bytes, deployment: str | None
) -> OperationOutcome:
    """Do it to one run."""
    try:
        reply = await engine.operate(operation, invocation_id, deployment=deployment)
    except RewakeError as error:
        return OperationOutcome(refused_elsewhere(error).rstrip("."))
    refusal = REFUSALS[operation].get(reply.status)
    if refusal is not None:
        return OperationOutcome(refusal.batch.format(id=ids.invocation_id_to_str(invocation_id)))
    if operation is Operation.RESTART and reply.invocation_id is not None:
        return OperationOutcome(None, ids.invocation_id_to_str(reply.invocation_id))
    return OperationOutcome(None)


def refused_elsewhere(error: RewakeError) -> str:
    """The refusal of a server elsewhere that lacks an operation. Raises any other error again."""
    if "http_status" not in error.facts:
        raise error
    return error.message
