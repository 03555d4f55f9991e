"""What the errors of the core carry."""

from __future__ import annotations

from rewake.core import ids
from rewake.core.errors import CommandRejected, EngineBug
from rewake.core.ids import InvocationId


def test_a_bug_names_the_invocation_whose_state_it_is() -> None:
    raw = InvocationId(bytes(range(24)))
    bug = EngineBug(raw, "suspended without a reason")
    assert bug.invocation_id == raw
    assert str(bug) == f"suspended without a reason ({ids.invocation_id_to_str(raw)})"


def test_a_rejected_command_has_a_code() -> None:
    rejected = CommandRejected("RT0018", "nobody is called so")
    assert (rejected.code, str(rejected)) == ("RT0018", "nobody is called so")
