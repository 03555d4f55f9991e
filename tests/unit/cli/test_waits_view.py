"""What a run waits for on the terminal: what is asked, by whom, and the command that answers it."""

from __future__ import annotations

from rewake.cli.waits_view import wait_lines, wait_text
from rewake.runs.questions import Question
from rewake.runs.turns import OpenCall
from rewake.runs.waits import Wait

NOW_MS = 100_000


def call(tool: str) -> OpenCall:
    return OpenCall(run_id="inv_1", index=1, agent="Intake", tool=tool, arguments='{"amount": 7}', since_ms=0)


def test_an_awakeable_with_its_question_and_its_commands() -> None:
    question = Question(agent="Intake", tool="approve", arguments='{"amount": 7}')
    item = Wait(
        kind="awakeable", title="An answer from outside", since_ms=97_000, awakeable="sign_1a", question=question
    )
    assert wait_lines([item], [call("approve"), call("note")], NOW_MS) == [
        "",
        "waits for",
        "  An answer from outside, since 3.0 s",
        '    Intake asked for approve({"amount": 7})',
        "    rewake awakeables resolve sign_1a JSON",
        "    rewake awakeables reject sign_1a REASON",
        '  Intake asked for note, which has no step yet: {"amount": 7}',
    ]


def test_the_step_before_where_no_model_asked() -> None:
    item = Wait(kind="answer", title="An answer", since_ms=None, question=Question(after="Request review", text="7"))
    assert wait_lines([item], [], NOW_MS)[3] == "    after Request review: 7"


def test_promises_and_called_runs() -> None:
    promise = Wait(kind="promise", title="Wait for promise ok", since_ms=None, promise=("Trip", "it's", "ok"))
    called = Wait(kind="call", title="Car/answer", since_ms=None, run_id="inv_1x")
    lines = wait_lines([promise, called], [], NOW_MS)
    assert lines[3] == "    rewake promises resolve Trip 'it'\"'\"'s' ok JSON"
    assert lines[-1] == "    rewake invocations show inv_1x"


def test_nothing() -> None:
    assert wait_lines([], [], NOW_MS) == []
    assert wait_text([], NOW_MS) == ""


def test_a_list_has_the_first_one_in_a_few_words() -> None:
    sleep = Wait(kind="sleep", title="Sleep", since_ms=0, due_at_ms=NOW_MS + 9_000)
    called = Wait(kind="call", title="Car/answer", since_ms=None, run_id="inv_1x")
    assert wait_text([sleep], NOW_MS) == "waits for: Sleep, 9.0 s more"
    assert wait_text([called, sleep, sleep], NOW_MS) == "waits for: Car/answer, and 2 more"
