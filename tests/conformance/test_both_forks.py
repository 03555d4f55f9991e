"""Restart as new of what is still open, on both engines: refused, or run on from a step it has done."""

from __future__ import annotations

from subject import Subject


def test_an_open_one_is_forked_at_a_step_it_has_done(subject: Subject) -> None:
    """Without steps to keep both refuse; and the first one runs on in any case."""
    gate = subject.unique()
    invocation_id = subject.send("Steps/pick_then_hold", gate)
    subject.marked(invocation_id, "holding")
    plain = subject.operate(invocation_id, "restart-as-new")
    still_running = (409, f"The invocation '{invocation_id}' is still running.")
    assert (plain.status, plain.json["message"]) == still_running
    fork = subject.operate(invocation_id, "restart-as-new", **{"from": 1})
    subject.open_gate(gate)
    first_result = subject.result(invocation_id)
    if subject.differs("fork-open", rewake=True, restate=False):
        new_id = fork.json["new_invocation_id"]
        assert subject.result(new_id) == first_result
        assert (subject.marks(invocation_id), subject.marks(new_id)) == (["ran pick", "holding"], ["holding"])
        assert subject.journal(new_id) == subject.journal(invocation_id)
    else:
        assert (fork.status, fork.json["message"]) == still_running
