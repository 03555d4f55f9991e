"""What runs wait for a person with: awakeables and promises, listed, counted and answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import restate
from tests.browser.stage import Stage, staged
from tests.unit.ui.test_pages import ask

trip = restate.Workflow("Trip")
desk = restate.VirtualObject("Desk")


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
async def through(ctx: restate.ObjectContext, amount: int) -> bool:
    return await ctx.object_call(approve, "inner", amount)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("waits") / "data", restate.app([trip, desk])) as stage:
        yield stage


def found(stage: Stage, path: str) -> Any:
    return json.loads(ask(stage, "GET", f"{path}{'&' if '?' in path else '?'}format=json").text)


def asked(stage: Stage, service: str, handler: str, key: str) -> str:
    """A run that waits now."""
    run_id = stage.send(service, handler, 7 if service == "Desk" else "Rome", key=key)
    while not any(
        item["kind"] in ("awakeable", "promise", "call") for item in found(stage, f"/runs/{run_id}")["waiting"]
    ):
        pass  # Each look is a request, so this is no busy loop.
    return run_id


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
