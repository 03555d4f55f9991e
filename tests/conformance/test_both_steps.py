"""Steps, calls and sends, on both engines."""

from __future__ import annotations

from subject import Subject


def test_steps_and_calls_are_journaled(subject: Subject) -> None:
    invocation_id = subject.send("Steps/route", "Ada")
    assert subject.result(invocation_id) == "pick, ask Ada, check"
    assert subject.journal(invocation_id) == [
        "Input", "Run pick", "> Run", "Call", "> CallInvocationId", "> Call", "Run check", "> Run", "Output",
    ]  # fmt: skip
