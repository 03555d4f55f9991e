"""Handlers in TypeScript, on both engines and both transports: steps, failures and payloads."""

from __future__ import annotations

import re

import pytest
from subject import Subject, outcome

ROUTE = ["Input", "Run pick", "Call", "Run check", "Output"]


@pytest.fixture
def ts(typescript_subject: Subject) -> Subject:
    return typescript_subject


def test_steps_and_a_call(ts: Subject) -> None:
    sent = ts.send("TsSteps/route", "Ada")
    assert ts.result(sent) == "pick, ask Ada, check"
    assert ts.marks(sent) == ["ran pick", "ran check"]
    assert ts.commands(sent) == ROUTE
    (child,) = ts.children(sent)
    assert ts.commands(child) == ["Input", "Sleep", "Run ask", "Output"]
    assert ts.marks(child) == ["ran ask"]
