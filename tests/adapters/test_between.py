"""Questions between turns on public Context, ingress and tables alone: on the real restate-server; and under kills.

REWAKE_ALL_CRASHES=1 plays both engines and both frameworks, and kills before and after each entry.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import between_app
import crash_lab
import pytest
from adapter_kit import marks
from http_service import Service
from node_tour import EngineKind
from subject import Subject, until
from tour import ALL

from rewake.clients.admin import AdminClient
from rewake.runs.approvals import Approval
from rewake.runs.elsewhere.reading import ReadingElsewhere
from rewake.runs.inbox import approval_of, inbox
from rewake.testing.crash.lab import crash_everywhere
from rewake.testing.crash.playing import Call
from rewake.testing.models import ModelServer, rule, text, tool_call

RULES = [
    rule(name="end", system="you are claims", after_tool="pay", answer=text("It is paid.")),
    rule(name="pay", system="you are claims", answer=tool_call("pay", {"amount": 40})),
]
PACKAGES = {"OpenAIDesk": "agents", "PydanticDesk": "pydantic_ai"}
ENGINES: list[EngineKind] = ["rewake", "restate"] if ALL else ["restate"]
DESKS = PACKAGES if ALL else ["OpenAIDesk"]
"""Chats on Rewake play the same with both frameworks (test_chat_between.py, test_chat_pydantic.py)."""


class Lab:
    """The objects on one engine. folder: theirs, with what they have done."""

    def __init__(self, subject: Subject, models: ModelServer, folder: Path) -> None:
        self.subject, self.models, self.folder = subject, models, folder

    def reading(self) -> ReadingElsewhere:
        return ReadingElsewhere(AdminClient(f"http://127.0.0.1:{self.subject.admin_port}"), 0, is_rewake=False)

    def answer(self, approval: Approval, *, approved: bool = True, digest: str = "") -> Any:
        assert approval.keeper is not None
        body = {"id": approval.id, "approved": approved, "who": "Ada", "digest": digest or approval.asked.digest}
        answer = self.subject.call("/".join((*approval.keeper, "answer_approval")), body)
        assert answer.status == 200, answer.body
        return answer.json.get("refused") or answer.json["state"]

    def state(self, service: str, key: str, name: str) -> Any:
        found = self.reading().state_value(service, key, name.encode())
        return None if found is None else json.loads(found)


@pytest.fixture(scope="module", params=ENGINES)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = Path(tmp_path_factory.mktemp("between"))
    with ModelServer(RULES) as models:
        environment = models.env() | {"LAB_FOLDER": str(folder), "PYTHONPATH": str(Path(__file__).parent)}
        service = Service("between_served:app", "hypercorn", options=(), framework="agents", **environment)
        subject = Subject(request.param, folder, service)
        yield Lab(subject, models, folder)
        subject.close()


@pytest.mark.parametrize("desk", DESKS)
def test_a_question_outlives_code_handlers_and_engine(lab: Lab, desk: str) -> None:
    """kill -9 of both, and code with another definition of the tool, between question and answer.

    The approval of before is refused, the one after a second look starts one turn: no model call and no payment twice.
    """
    if find_spec(PACKAGES[desk]) is None:
        pytest.skip(f"{PACKAGES[desk]} is not installed")
    (lab.folder / "changed").unlink(missing_ok=True)
    (lab.folder / "marks").unlink(missing_ok=True)
    lab.subject.service.restart()
    before = {name: count.asked for name, count in lab.models.counts.items()}
    left = lab.subject.call(f"{desk}/ada/message", "please")
    assert (left.status, left.body) == (200, b"")
    (waiting,) = inbox(lab.reading()).approvals
    assert lab.reading().asking_count(9) == 1
    assert (waiting.target, waiting.asked.tool, waiting.asked.who) == (f"{desk}/ada", "pay", ("finance",))
    assert json.loads(waiting.asked.arguments) == {"amount": 40}
    (lab.folder / "changed").touch()
    lab.subject.service.restart()
    lab.subject.restart()
    until(lambda: lab.subject.ingress("GET", "/restate/health").status == 200, lambda: "the engine")
    assert lab.answer(waiting, digest="0" * 64) == "RW4029"
    assert lab.answer(waiting) == "RW4034"
    assert lab.answer(waiting) == "RW4029"
    again = approval_of(lab.reading(), waiting.id)
    assert (again.state, again.asked.arguments) == ("waiting", waiting.asked.arguments)
    assert lab.answer(again) == "approved"
    assert lab.answer(again) == "RW4027"
    until(lambda: lab.state(desk, "ada", "answer") == "It is paid.", lambda: str(lab.state(desk, "ada", "answer")))
    assert (lab.folder / "marks").read_text().splitlines() == ["pay 40"]
    assert {name: count.asked - before[name] for name, count in lab.models.counts.items()} == {"end": 1, "pay": 1}
    assert [inbox(lab.reading()).approvals, lab.state(desk, "ada", "rewake.approvals")] == [[], None]
    assert lab.reading().asking_count(9) == 0
    assert approval_of(lab.reading(), waiting.id).state == "approved"


def test_answers_and_next_turns_under_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engine and handlers die at each result that the object reads, while it asks, takes answers and goes on."""
    monkeypatch.setenv("LAB_FOLDER", str(tmp_path))
    told = crash_lab.played("between_app", tmp_path, "Suspending", "asked")
    assert told["answer"] == ["waiting", "approved", "denied", "refused", "RW4027"]
    died_in = Counter((tmp_path / "died-in").read_text().splitlines())
    assert told["kills"] == died_in.total()
    assert died_in["answer_approval"] >= 12
    assert died_in["continue_turn"] >= 6
    assert marks() == {"ask Pay it?": 1, "pay 40": 1, "ask Pay more?": 1, "refuse 50": 1}


@pytest.mark.skipif(not ALL, reason="384 plays, half an hour: REWAKE_ALL_CRASHES=1")
@pytest.mark.timeout(3_600)
def test_answers_and_next_turns_killed_around_every_entry() -> None:
    """Worker or engine; state that a handler has set, and a turn that it has begun, come once."""
    app = Path(between_app.__file__)
    places = os.pathsep.join(str(app.parent.parent / each) for each in ("adapters", "conformance", "e2e"))
    call = Call(app=str(app), service="Suspending", handler="asked", body='""', environment={"PYTHONPATH": places})
    report = crash_everywhere(call, who=("worker", "engine"))
    assert (report.kinds, report.not_landed) == (set(), [])
    within = {play.what for play in report.plays if "Desk/answer_approval" in play.what}
    assert len(within) >= 12
