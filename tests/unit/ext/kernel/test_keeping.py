"""Questions between turns in state: the stored form, which is read for ever, and which answers count."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from rewake.agents import kept as reader
from rewake.errors import ErrorCode
from rewake.ext.kernel import between, keeping
from rewake.ext.kernel.approvals import Answer, Outcome, Sent
from rewake.ext.kernel.keeping import Kept, Question, ended, late, redefined, refusal, with_answer

QUESTION: Question = {
    "framework": "openai-agents", "agent": "Claims", "path": ["Boss", "Claims"], "calls": ["c0"], "call": "c1",
    "tool": "pay", "fingerprint": "8c4b65f6d7500b69", "id": "ask_1x", "question": "Claims wants to call pay",
    "arguments": '{"amount": 40}', "digest": "d" * 64, "definition": "1" * 16, "who": ["finance"], "quorum": 1,
    "asked_at_ms": 1_000, "deadline_at_ms": 5_000, "turn": "t1", "invocation": "inv_1", "answers": [],
}  # fmt: skip


class State(dict[str, Any]):
    """The state of an object, as its context has it."""

    async def get(self, name: str) -> Any:  # type: ignore[override]
        return super().get(name)

    def set(self, name: str, value: Any) -> None:
        self[name] = json.loads(json.dumps(value))

    def clear(self, name: str) -> None:  # type: ignore[override]
        self.pop(name, None)


def test_the_stored_form_of_a_turn_from_its_questions_to_its_end() -> None:
    """Pinned: other releases, pages and commands read these names."""

    async def play() -> None:
        state = State()
        other = QUESTION | {"id": "ask_1y"}
        await Kept(state).add("t1", [QUESTION, other], {"left": 1})
        assert state == {
            "rewake.approvals": {"rewake": 1, "open": [QUESTION, other]},
            "rewake.approvals.turn/t1": {"rewake": 1, "open": 2, "decided": []},
            "rewake.approvals.snapshot/t1": {"left": 1},
        }
        approved = with_answer(QUESTION, Answer(True, "Ada", "fine"), 2_000)
        given = {"approved": True, "who": "Ada", "why": "fine", "at_ms": 2_000}
        decided = {"outcome": "approved", "decided_at_ms": 2_000, "decided_by": "Ada", "reason": "fine"}
        assert approved == QUESTION | {"answers": [given]} | decided
        assert await Kept(state).close(approved) is False
        assert await Kept(state).take("t1") is None
        expired = ended(other, Outcome.EXPIRED, 5_000)
        assert expired == other | {"outcome": "expired", "decided_at_ms": 5_000}
        assert await Kept(state).close(expired) is True
        assert await Kept(state).take("t1") == ({"left": 1}, [approved, expired])
        assert state == {"rewake.approvals.decided": {"rewake": 1, "decided": [approved, expired]}}
        assert await Kept(state).take("t1") is None

    asyncio.run(play())


def test_readers_of_the_engine_agree() -> None:
    """What the library writes is what pages and commands read."""
    assert (keeping.OPEN.encode(), keeping.DECIDED.encode()) == (reader.OPEN, reader.DECIDED)
    assert (keeping.WITHDRAWN, keeping.OPEN_MAX, between.ANSWER) == (
        reader.WITHDRAWN, reader.QUESTIONS_MAX, reader.ANSWER,
    )  # fmt: skip
    approved = with_answer(QUESTION, Answer(True, "Ada", "fine"), 2_000)
    stored = json.dumps({"rewake": 1, "open": [QUESTION, approved]}).encode()
    first, second = reader.kept_in(stored)
    assert (first.asked.who, first.asked.path, first.run_id, first.decided) == (
        ("finance",), ("Boss", "Claims"), "inv_1", None,
    )  # fmt: skip
    assert second.decided is not None
    assert (second.decided.who, second.decided.why, second.decided.at_ms) == ("Ada", "fine", 2_000)
    assert [each.who for each in second.given] == ["Ada"]
    for content in (b"", b"[]", b"{", b'{"rewake":2,"open":[{"id":"x"}]}', b'{"rewake":1,"open":{"a":1}}'):
        assert reader.kept_in(content) == []
    assert len(reader.kept_in(json.dumps({"rewake": 1, "open": [QUESTION] * 101}).encode())) == reader.QUESTIONS_MAX


@pytest.mark.parametrize(
    ("changes", "sent", "now_ms", "code"),
    [
        ({}, Sent(Answer(True)), 4_999, None),
        ({}, Sent(Answer(True), "d" * 64), 4_999, None),
        ({}, Sent(Answer(False), "e" * 64), 4_999, "RW4029"),
        ({}, Sent(Answer(True)), 5_000, "RW4028"),
        ({"quorum": 2}, Sent(Answer(True)), 0, "RW4030"),
        ({"quorum": 2, "answers": [{"approved": True, "who": "ADA"}]}, Sent(Answer(True, " ada")), 0, "RW4030"),
        ({"quorum": 2, "answers": [{"approved": True, "who": "Ada"}]}, Sent(Answer(True, "Bob")), 0, None),
    ],
)
def test_answers_that_are_refused(changes: dict[str, Any], sent: Sent, now_ms: int, code: str | None) -> None:
    found = refusal(QUESTION | changes, sent, now_ms)
    assert (None if found is None else found.code) == code
    assert code is None or ErrorCode(code)


def test_who_comes_late_reads_why() -> None:
    decided = with_answer(QUESTION, Answer(False, "Ada"), 1)
    cases = {"RW4026": None, "RW4027": decided, "RW4028": ended(QUESTION, Outcome.EXPIRED, 1)}
    cases["RW4031"] = QUESTION | {"outcome": keeping.WITHDRAWN}
    assert {late(question).code for question in cases.values()} == set(cases)
    assert "denied already by Ada" in late(decided).message


def test_a_question_for_other_code_has_another_digest_and_no_answers() -> None:
    again = redefined(QUESTION | {"answers": [{"approved": True}]}, "2" * 16, "changed")
    assert (again["digest"] != QUESTION["digest"], again["answers"], again["refused"]) == (True, [], "changed")


def test_long_arguments_are_not_remembered_with_decided_questions() -> None:
    async def play() -> list[Question]:
        state = State()
        await Kept(state).add("t1", [QUESTION | {"arguments": "x" * 5_000}], None)
        await Kept(state).close(ended(QUESTION | {"arguments": "x" * 5_000}, Outcome.EXPIRED, 1))
        return await Kept(state).decided()

    assert ["arguments" in each for each in asyncio.run(play())] == [False]
