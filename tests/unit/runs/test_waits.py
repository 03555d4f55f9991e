"""What runs wait for a person with: awakeables and promises, listed, counted and answered."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import restate
from tests.browser.stage import WAIT_S, Stage, staged
from tests.unit.ui.test_pages import ask

from rewake.core import ids
from rewake.protocol.messages import Success
from rewake.runs import waits

SENT: list[str] = []
trip = restate.Workflow("Trip")
desk = restate.VirtualObject("Desk")
patient = restate.VirtualObject("Patient", inactivity_timeout=timedelta(milliseconds=1))


@trip.main()
async def run(ctx: restate.WorkflowContext, place: str) -> str:
    return await ctx.promise("approval", type_hint=str).value()


@trip.handler()
async def watch(ctx: restate.WorkflowSharedContext, place: str) -> str:
    return await ctx.promise("approval", type_hint=str).value()


@desk.handler()
async def approve(ctx: restate.ObjectContext, amount: int) -> bool:
    name, approved = ctx.awakeable(type_hint=bool)
    ctx.set("asked", {"awakeable": name, "amount": amount})
    return await approved


@desk.handler()
async def refund(ctx: restate.ObjectContext, amount: int) -> bool:
    """Sends the awakeable's id to a reviewer, so that no entry of the journal has it."""
    name, approved = ctx.awakeable(type_hint=bool)
    SENT.append(name)
    await ctx.run_typed("Request review", lambda: {"amount": amount})
    return await approved


@desk.handler()
async def through(ctx: restate.ObjectContext, amount: int) -> bool:
    return await ctx.object_call(approve, "inner", amount)


@patient.handler("approve")
async def approve_some_day(ctx: restate.ObjectContext, amount: int) -> bool:
    _, approved = ctx.awakeable(type_hint=bool)
    return await approved


@patient.handler()
async def ask_desk(ctx: restate.ObjectContext, amount: int) -> bool:
    return await ctx.object_call(approve, "patient", amount)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("waits") / "data", restate.app([trip, desk, patient])) as stage:
        yield stage


def found(stage: Stage, path: str) -> Any:
    return json.loads(ask(stage, "GET", f"{path}{'&' if '?' in path else '?'}format=json").text)


def asked(stage: Stage, service: str, handler: str, key: str, status: str = "") -> str:
    """A run that waits now. status: that it has by then."""
    run_id = stage.send(service, handler, "Rome" if service == "Trip" else 7, key=key)
    kinds = ("awakeable", "promise", "call")
    until(stage, run_id, lambda page: any(item["kind"] in kinds for item in page["waiting"]))
    until(stage, run_id, lambda page: not status or page["run"]["status"] == status)
    return run_id


def until(stage: Stage, run_id: str, condition: Callable[[Any], bool]) -> Any:
    """A run's page once it is so."""
    ends_at_s = time.monotonic() + WAIT_S
    while not condition(page := found(stage, f"/runs/{run_id}")):
        assert time.monotonic() < ends_at_s, page
    return page


def result(stage: Stage, run_id: str) -> Any:
    return stage.run(stage.engine.attach(run_id)).result


@pytest.mark.parametrize(
    ("fields", "answer"),
    [({"value": '"yes"', "outcome": "resolve"}, b'"yes"'), ({"reason": "too far", "outcome": "reject"}, "too far"),
     ({"outcome": "reject"}, "Rejected")],
)  # fmt: skip
def test_a_promise_is_answered_from_the_page(stage: Stage, fields: dict[str, str], answer: Any) -> None:
    key = f"trip {answer!r}/&"
    runs = [asked(stage, "Trip", "run", key), asked(stage, "Trip", "watch", key)]
    (waiting,) = found(stage, f"/runs/{runs[0]}")["waiting"]
    assert (waiting["kind"], waiting["promise"]) == ("promise", ["Trip", key, "approval"])
    assert 'action="/ui/sessions/Trip/promises"' in ask(stage, "GET", f"/runs/{runs[0]}").text
    assert {run["id"] for run in found(stage, "/?waiting=person")["runs"]} == set(runs)
    form = {"key": key, "name": "approval", "token": token_of(stage), "back": f"/ui/runs/{runs[0]}"} | fields
    told = ask(stage, "POST", "/sessions/Trip/promises", form)
    assert (told.status, urlsplit(told.headers["location"]).path) == (303, f"/ui/runs/{runs[0]}")
    for run_id in runs:
        given = result(stage, run_id)
        assert getattr(given, "content", None) == answer or getattr(given, "message", None) == answer
    assert ask(stage, "POST", "/sessions/Trip/promises", form).status == 409
    assert found(stage, "/?waiting=person")["runs"] == []


def token_of(stage: Stage) -> str:
    """Of a form on any page."""
    page = ask(stage, "GET", "/services/Trip/run").text
    return page.partition('name="token" value="')[2].partition('"')[0]


def test_a_promise_of_nobody(stage: Stage) -> None:
    form = {"key": "nobody", "name": "approval", "value": "1", "token": token_of(stage)}
    assert ask(stage, "POST", "/sessions/Trip/promises", form).status == 404


def test_a_session_shows_what_a_person_can_answer(stage: Stage) -> None:
    """Once, however many runs wait for it; and the list counts the runs."""
    runs = [asked(stage, "Trip", "run", "s"), asked(stage, "Trip", "watch", "s"), asked(stage, "Desk", "approve", "s")]
    (promise,) = found(stage, "/sessions/Trip?key=s")["waiting"]
    (awakeable,) = found(stage, "/sessions/Desk?key=s")["waiting"]
    assert promise["promise"] == ["Trip", "s", "approval"]
    assert '"amount": 7' in awakeable["asked"]
    page = found(stage, "/")
    assert page["waiting_count"] == 3
    assert {run["id"] for run in found(stage, "/?waiting=person&status=running,suspended")["runs"]} == set(runs)
    assert found(stage, "/?waiting=person&status=failed")["runs"] == []
    form = {"value": "true", "outcome": "resolve", "token": token_of(stage), "back": "/ui/sessions/Desk?key=s"}
    told = ask(stage, "POST", f"/runs/{runs[2]}/awakeables/{awakeable['awakeable']}", form)
    assert told.headers["location"] == "/ui/sessions/Desk?key=s&notice=Answered."
    stage.run(stage.engine.complete_promise("Trip", "s", "approval", result(stage, runs[2])))
    for run_id in runs:
        assert result(stage, run_id).content == b"true"


def test_a_run_that_asked_a_person_waits_at_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it runs still, and neither its journal nor the engine knows the awakeable's id."""
    monkeypatch.setattr(waits, "QUIET_MS", 0)
    run_id = stage.send("Desk", "refund", 7, key="q")
    page = until(stage, run_id, lambda page: any(item["kind"] == "answer" for item in page["waiting"]))
    (item,) = page["waiting"]
    assert (page["run"]["status"], item["question"]["after"]) == ("running", "Request review")
    assert '"amount": 7' in item["question"]["text"]
    assert "it seems" in ask(stage, "GET", f"/runs/{run_id}").text
    assert [run["id"] for run in found(stage, "/?waiting=person")["runs"]] == [run_id]
    monkeypatch.setattr(waits, "QUIET_MS", 1 << 40)
    assert found(stage, f"/runs/{run_id}")["waiting"] == []
    owner, signal = ids.awakeable_id_parse(SENT.pop())
    stage.run(stage.engine.complete_awakeable(owner, signal, Success(b"true")))
    assert result(stage, run_id).content == b"true"


def step_of(stage: Stage, run_id: str, kind: str) -> Any:
    """The step of a kind, in full."""
    row = next(row for row in found(stage, f"/runs/{run_id}")["rows"] if row["kind"] == kind)
    return found(stage, f"/runs/{run_id}/steps/{row['index']}")


def test_who_waits_for_a_step_is_told(stage: Stage) -> None:
    """Other runs that wait for the same promise, and who called a run."""
    first, second = asked(stage, "Trip", "run", "who"), asked(stage, "Trip", "watch", "who")
    outer = asked(stage, "Desk", "through", "outer")
    detail = step_of(stage, first, "wait")
    assert [run["id"] for run in detail["waiters"]] == [second]
    inner = step_of(stage, outer, "call")["child"]["id"]
    assert [run["id"] for run in found(stage, f"/runs/{inner}")["family"]["waiters"]] == [outer]
    assert "Waited for by" in ask(stage, "GET", f"/runs/{inner}").text
    assert "Waited for by" in ask(stage, "GET", f"/runs/{first}?step={detail['index']}").text
    stage.run(stage.engine.complete_promise("Trip", "who", "approval", Success(b"1")))
    stage.run(stage.engine.kill(outer))


def test_a_suspended_run_says_so(stage: Stage) -> None:
    """With the step that holds it; and what waits for a person is found by what it awaits."""
    asks, waits = (asked(stage, "Patient", name, name, "suspended") for name in ("ask_desk", "approve"))
    for run_id in (asks, waits):
        assert found(stage, f"/runs/{run_id}")["standstills"][-1]["status"] == "suspended"
        assert "no process holds it" in ask(stage, "GET", f"/runs/{run_id}").text
    detail = step_of(stage, asks, "call")
    assert detail["holds_run"] is True
    assert "suspended until this is done" in ask(stage, "GET", f"/runs/{asks}?step={detail['index']}").text
    assert [run["id"] for run in found(stage, "/?waiting=person&status=suspended")["runs"]] == [waits]
    for run_id in (asks, waits):
        stage.run(stage.engine.kill(run_id))


def test_a_paused_run_says_so(stage: Stage) -> None:
    run_id = asked(stage, "Desk", "approve", "still")
    stage.run(stage.engine.pause(run_id))
    page = until(stage, run_id, lambda page: page["run"]["status"] == "paused")
    assert page["standstills"][-1]["status"] == "paused"
    assert "nothing happens until it is resumed" in ask(stage, "GET", f"/runs/{run_id}").text
    stage.run(stage.engine.resume(run_id))
    page = until(stage, run_id, lambda page: page["run"]["status"] == "running")
    assert [(item["status"], item["is_over"]) for item in page["standstills"]] == [("paused", True)]
    stage.run(stage.engine.kill(run_id))
