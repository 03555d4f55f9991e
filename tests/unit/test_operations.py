"""Operations: one table, and every surface has all of them."""

from __future__ import annotations

from rewake.admin.invocations import REFUSALS
from rewake.cli.invocations import invocations
from rewake.operations import Operation
from rewake.runs.facts import OPEN_STATUSES, STATUSES


def test_each_operation_is_answered_by_the_admin_api_and_is_a_subcommand() -> None:
    assert set(REFUSALS) == set(Operation)
    named = {"purge-journal": "purge", "restart-as-new": "restart"}
    assert {named.get(each, each) for each in Operation} <= set(invocations.commands)


def test_statuses_are_those_of_runs() -> None:
    assert Operation.CANCEL.facts.statuses == Operation.KILL.facts.statuses == OPEN_STATUSES
    assert {status for each in Operation for status in each.facts.statuses} <= set(STATUSES)
