"""Questions to people and their answers: the stored forms, written by the kernel and read back by the engine's side."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from rewake.agents import approvals as read
from rewake.ext.kernel import Decision, Envelope, Outcome
from rewake.ext.kernel.approvals import (
    Answer,
    Unusable,
    answer_json,
    arguments_text,
    decision_from,
    digest_of,
    sent_answer,
)
from rewake.ext.kernel.asking import QUORUM_MAX, REMINDERS_MAX, Approvals
from rewake.ext.kernel.envelope import encode

AT = datetime(2026, 9, 21, 12, tzinfo=UTC)
QUESTION = (
    '{"rewake":1,"kind":"approval","framework":"openai-agents","agent":"Desk","path":["Desk"],"call":"c1","tool":"pay",'
    '"value":{"id":"sign_1a","awakeables":["sign_1a","sign_1b"],"question":"Desk wants to call pay",'
    '"arguments":"{\\"amount\\": 7}","digest":"d","who":["finance"],"quorum":2,"asked_at_ms":5,"deadline_at_ms":9}}'
)
OUTCOME = (
    '{"rewake":1,"kind":"approval","framework":"kernel","value":{"outcome":"denied","id":"sign_1a","digest":"d",'
    '"at_ms":7,"who":"Ada","why":"no","answers":[{"approved":true,"at_ms":6},'
    '{"approved":false,"who":"Ada","why":"no","at_ms":7}]}}'
)


class Order(BaseModel):
    amount: int


@dataclasses.dataclass
class Wire:
    order: Order
    on: datetime


def test_the_question_is_pinned_and_read() -> None:
    found = read.asked_in(QUESTION.encode())
    assert found == read.Asked(
        id="sign_1a", awakeables=("sign_1a", "sign_1b"), question="Desk wants to call pay", arguments='{"amount": 7}',
        digest="d", framework="OpenAI Agents", agent="Desk", path=("Desk",), tool="pay", call="c1", who=("finance",),
        quorum=2, asked_at_ms=5, deadline_at_ms=9,
    )  # fmt: skip
    assert read.outcome_in(QUESTION.encode()) is None


def test_the_outcome_is_pinned_and_read_on_both_sides() -> None:
    found = read.outcome_in(OUTCOME.encode())
    assert found is not None
    assert (found.id, found.outcome, found.digest, found.at_ms, found.who, found.why) == (
        "sign_1a", "denied", "d", 7, "Ada", "no",
    )  # fmt: skip
    assert [(each.approved, each.who) for each in found.answers] == [(True, ""), (False, "Ada")]
    assert read.asked_in(OUTCOME.encode()) is None
    decision = decision_from(json.loads(OUTCOME)["value"])
    assert (decision.outcome, decision.who, decision.why, decision.is_approved) == (Outcome.DENIED, "Ada", "no", False)
    assert [*map(answer_json, decision.answers)] == json.loads(OUTCOME)["value"]["answers"]


@pytest.mark.parametrize(
    "value",
    [None, [], {"awakeables": []}, {"awakeables": "x"}, {"outcome": "perhaps", "id": "x"}, {"outcome": "denied"}],
)
def test_what_is_neither_is_passed_over(value: Any) -> None:
    stored = encode(Envelope(kind="approval", framework="kernel", value=value))
    assert read.asked_in(stored) is None
    assert read.outcome_in(stored) is None


def test_no_more_names_are_read_than_a_question_has() -> None:
    value = {"awakeables": ["sign_1a"] * 999, "who": ["Ada"] * 999, "quorum": 999}
    found = read.asked_in(encode(Envelope(kind="approval", framework="kernel", value=value)))
    assert found is not None
    assert (len(found.awakeables), len(found.who), found.quorum) == (read.TEXTS_MAX, read.TEXTS_MAX, 1)


@pytest.mark.parametrize("content", [b"true", b"yes", b'"Approved"', b'{"approved": true}', b' "approve" '])
def test_a_yes(content: bytes) -> None:
    assert sent_answer(content.strip()).answer == Answer(is_approved=True)
    given = read.given_in(content.strip())
    assert given is not None
    assert given.approved


def test_a_no_with_all_its_fields() -> None:
    content = b'{"approved": false, "who": "Ada", "reason": "too much", "digest": "d", "at_ms": 1789992000000}'
    sent = sent_answer(content)
    assert (sent.answer, sent.digest) == (Answer(False, "Ada", "too much", AT), "d")
    assert read.given_in(content) == read.Given(
        approved=False, who="Ada", why="too much", at_ms=1_789_992_000_000, digest="d"
    )
    assert sent_answer(b"no").answer == Answer(is_approved=False)


@pytest.mark.parametrize("content", [b"", b"null", b"1", b"perhaps", b'{"approved": "yes"}', b"\xff\xfe"])
def test_anything_else_is_neither(content: bytes) -> None:
    with pytest.raises(Unusable, match="neither yes nor no"):
        sent_answer(content)
    assert read.given_in(content) is None


def test_arguments_have_one_text_and_one_digest() -> None:
    assert arguments_text({"b": 1, "a": "ü"}) == arguments_text({"a": "ü", "b": 1}) == '{"a": "ü", "b": 1}'
    assert arguments_text('{"a":1}') == '{"a":1}'
    assert arguments_text(Wire(Order(amount=7), AT)) == '{"on": "2026-09-21T12:00:00Z", "order": {"amount": 7}}'
    assert digest_of('{"a":1}', "?") == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    assert digest_of("", "Pay?") != digest_of("", "Pay all?")
    with pytest.raises(TypeError, match="has no JSON form"):
        arguments_text(object())


async def _nobody(_: Any) -> None: ...


def test_missed_reminders_are_skipped_and_there_is_a_last_one() -> None:
    day = timedelta(days=1)
    daily = Approvals(remind=day, notify=_nobody).terms("?")
    assert daily.reminder_after_ms(0, 0) == (1, 86_400_000)
    assert daily.reminder_after_ms(1, 86_400_005) == (2, 2 * 86_400_000)
    assert daily.reminder_after_ms(1, 5 * 86_400_000 + 1) == (6, 6 * 86_400_000)
    assert daily.reminder_after_ms(1, 3) == (2, 2 * 86_400_000)  # the clock of the engine is ahead
    assert daily.reminder_after_ms(REMINDERS_MAX, 0) is None
    twice = Approvals(remind=[3 * day, day], notify=_nobody).terms("?")
    assert twice.reminder_after_ms(0, 0) == (1, 86_400_000)
    assert twice.reminder_after_ms(1, 86_400_000) == (2, 3 * 86_400_000)
    assert twice.reminder_after_ms(2, 0) is None


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"quorum": 0}, "quorum"),
        ({"quorum": QUORUM_MAX + 1}, "quorum"),
        ({"remind": timedelta(days=1)}, "notify"),
        ({"remind": timedelta(0), "notify": _nobody}, "longer"),
        ({"deadline": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001
    ],
)
def test_terms_that_cannot_be(terms: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Approvals(**terms)


def test_a_decision_is_approved_or_not() -> None:
    outcomes = {each: Decision(each, AT, "d").is_approved for each in Outcome}
    assert outcomes == {Outcome.APPROVED: True, Outcome.DENIED: False, Outcome.EXPIRED: False}
