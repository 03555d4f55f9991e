"""Every tour app under `rewake run`: right specialist, right answer, each model asked once, a journal one can read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_process import Running, rewake
from tour import (
    ALL,
    CHAIN,
    HANDOFFS,
    REMOTE,
    SUBAGENTS,
    SUPPORT,
    TOOLS,
    Reply,
    Step,
    Tour,
    TourEngine,
    answered,
    asked,
    needs,
    plain,
    titles,
)

from rewake.testing.models import ModelServer


@contextmanager
def running(tour: Tour, folder: Path) -> Iterator[tuple[TourEngine, ModelServer]]:
    with ModelServer(tour.rules()) as models, TourEngine(tour.app, folder, models) as engine:
        assert isinstance(engine, TourEngine)
        yield engine, models


def models_of(models: ModelServer) -> dict[str, int]:
    """How often each rule was asked since the last look; all of them were answered."""
    seen = asked(models)
    assert answered(models) == seen
    models.reset()
    return seen


def says(engine: TourEngine, path: str, body: Any) -> Reply:
    reply = engine.post(path, body)
    assert reply.status == 200, reply
    return reply


def results(steps: list[Step]) -> dict[str, Any]:
    """The results of the steps with a name of their own."""
    return {step.title: step.result for step in steps if step.result is not None}


def claims(tour: Tour, engine: TourEngine, models: ModelServer) -> Reply:
    """The claim of the tour, the first of its engine: answered, each model asked once, in the journals as promised."""
    reply = says(engine, tour.path.format(key="alice"), tour.ask(tour.claim))
    assert plain(reply.body) == tour.answer
    assert models_of(models) == dict.fromkeys(tour.models, 1)
    rows = engine.query("select id, target_service_name as service, status from sys_invocation")
    assert {row["status"] for row in rows} == {"completed"}
    assert {row["service"]: titles(engine.journal(row["id"])) for row in rows} == tour.commands
    return reply


@pytest.mark.parametrize("tour", [needs(CHAIN)])
def test_a_claim(tour: Tour, tmp_path: Path) -> None:
    with running(tour, tmp_path) as (engine, models):
        claims(tour, engine, models)


@pytest.mark.parametrize("tour", [needs(HANDOFFS)])
def test_a_customer_stays_with_the_agent_who_spoke_last(tour: Tour, tmp_path: Path) -> None:
    with running(tour, tmp_path) as (engine, models):
        path = tour.path.format(key="alice")
        first = claims(tour, engine, models)
        known = results(engine.journal(first.invocation_id))
        assert known["Run Pick specialist"] == "Medical specialist: it is about a treatment"
        number = known["Run File medical claim"].partition(":")[0]
        assert first.body["text"] == f"Your claim {number} is filed. We answer within two days."

        second = says(engine, path, "When is the money paid?")
        assert second.body["agent"] == "Medical specialist"
        assert models_of(models) == {"medical-chat": 1}
        assert titles(engine.journal(second.invocation_id))[2:] == ("Run call LLM", "SetState", "SetState", "Output")

        third = says(engine, path, "And somebody hit my car")
        assert plain(third.body)["text"] == "Your claim C-# is filed. We answer within two days."
        assert models_of(models) == {"route-to-car": 1, "car-file": 1, "car-answer": 1}
        known = results(engine.journal(third.invocation_id))
        assert known["Run Pick specialist"] == "Car specialist: it is about a car"

        assert engine.get("/ClaimDesk/alice/agent").body == "Car specialist"
        assert engine.get("/ClaimDesk/bob/agent").body == "Intake"
        (agent,) = engine.query("select value_utf8 from state where service_key = 'alice' and key = 'agent'")
        assert agent["value_utf8"] == '"Car specialist"'


@pytest.mark.parametrize("tour", [needs(SUBAGENTS)])
def test_a_customer_stays_with_the_sub_agent(tour: Tour, tmp_path: Path) -> None:
    with running(tour, tmp_path) as (engine, models):
        path = tour.path.format(key="alice")
        first = claims(tour, engine, models)
        known = results(engine.journal(first.invocation_id))
        assert known["SetState Routed to medical_specialist"] == "medical_specialist"

        second = says(engine, path, "When will I get the money?")
        assert second.body["specialist"] == "medical_specialist"
        assert models_of(models) == {"medical-follows-up": 1}

        third = says(engine, path, "The bike hit my car, too.")
        assert third.body["specialist"] == "car_specialist"
        assert models_of(models) == {"medical-to-car": 1, "car-opens-claim": 1, "car-answers": 1}
        assert "SetState Routed to car_specialist" in titles(engine.journal(third.invocation_id))

        opened = engine.get("/ClaimTeam/alice/claims").body["opened"]
        assert [claim["kind"] for claim in opened] == ["medical", "car"]
        assert f"Opened claim {opened[1]['number']}." in third.body["answer"]
        (specialist,) = engine.query("select value_utf8 from state where key = 'specialist'")
        assert specialist["value_utf8"] == '"car_specialist"'


@pytest.mark.parametrize("tour", [needs(TOOLS)])
def test_both_specialists_are_consulted_or_none(tour: Tour, tmp_path: Path) -> None:
    with running(tour, tmp_path) as (engine, models):
        claims(tour, engine, models)
        both = says(engine, tour.path, tour.ask("Somebody hit my car and I was in hospital."))
        assert both.body.startswith("Your hospital stay is covered in full.")
        assert "The repair is covered" in both.body
        assert models_of(models) == {
            "intake-asks-both": 1,
            "medical-answers": 1,
            "car-answers": 1,
            "intake-replies": 1,
        }
        steps = engine.journal(both.invocation_id)
        named = [title for title in titles(steps) if title not in ("Run Model call", "Output")]
        assert named == ["Run Look up medical cover", "Run Look up car cover"]
        assert results(steps)["Run Look up car cover"].startswith("Collision with 300 euros excess")

        none = says(engine, tour.path, tour.ask("Hello!"))
        assert none.body == "Please tell us what happened, and we will find the right specialist."
        assert models_of(models) == {"intake-alone": 1}


@pytest.mark.parametrize("tour", [needs(SUPPORT)])
def test_the_router_asks_one_specialist_or_answers_itself(tour: Tour, tmp_path: Path) -> None:
    with running(tour, tmp_path) as (engine, models):
        claims(tour, engine, models)
        technical = says(engine, tour.path, "I cannot log in")
        assert technical.body == {"specialist": "technical", "text": "Reset your password, then try again."}
        assert models_of(models) == {"pick-technical": 1, "ask-technical": 1}
        known = results(engine.journal(technical.invocation_id))
        assert known["Run Pick specialist"] == {"specialist": "technical", "answer": None}
        assert known["Run Ask technical"] == "Reset your password, then try again."

        direct = says(engine, tour.path, "Where do you ship?")
        assert direct.body == {"specialist": "router", "text": "We ship to every country of the European Union."}
        assert models_of(models) == {"pick-none": 1}
        assert titles(engine.journal(direct.invocation_id)) == ("Run Pick specialist", "Output")


@pytest.mark.parametrize("tour", [needs(REMOTE)])
def test_specialists_are_called_durably_under_one_trace(tour: Tour, tmp_path: Path) -> None:
    with running(tour, tmp_path) as (engine, models):
        claims(tour, engine, models)
        medical = says(engine, tour.path, "I was in hospital.")
        assert models_of(models) == {"router-picks-medical": 1, "medical-answers": 1}
        router_id, specialist_id = medical.body["invocation_ids"]
        assert medical.invocation_id == router_id
        (called,) = engine.query(f"select target, invoked_by_id from sys_invocation where id = '{specialist_id}'")
        assert called == {"target": "MedicalSpecialist/answer", "invoked_by_id": router_id}
        router, specialist = engine.journal(router_id), engine.journal(specialist_id)
        assert titles(specialist) == ("Run Ask medical specialist", "Output")
        assert results(router)["Run Pick specialist"]["specialist"] == "MedicalSpecialist"
        assert results(router)["Call"]["text"] == medical.body["text"] == results(specialist)[titles(specialist)[0]]
        of_both = f"id in ('{router_id}', '{specialist_id}')"
        traces = engine.query(f"select entry_json from sys_journal where {of_both} and entry_json like '%traceparent%'")
        assert len(traces) == 2  # The call as the router sent it, and as the specialist received it.
        assert all(medical.body["trace_id"] in row["entry_json"] for row in traces)

        alone = says(engine, tour.path, "Hello!")
        assert plain(alone.body) == {"specialist": None, "text": "Please tell us what happened."}
        assert models_of(models) == {"router-alone": 1}
        assert titles(engine.journal(alone.invocation_id)) == ("Run Pick specialist", "Output")


@pytest.mark.parametrize("tour", [needs(tour) for tour in (SUBAGENTS, *(REMOTE, TOOLS, CHAIN) * ALL)])
def test_without_a_key_the_script_answers(tour: Tour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert rewake("example", tour.name, cwd=tmp_path).returncode == 0
    folder = tmp_path / tour.name
    with Running("run", "app.py", cwd=folder) as engine:
        status, answer = engine.call(tour.path.format(key="alice"), tour.ask(tour.claim))
        assert (status, plain(answer)) == (200, tour.answer)
        assert (folder / ".rewake").is_dir()
