"""An operation on all runs that match: how many, in several requests, without those that came later."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.browser.stage import Stage, staged
from tests.unit.ui.test_pages import Answer, ask, done, token

from rewake.core import ids
from rewake.core.effects import Reply
from rewake.errors import ErrorCode, RewakeError
from rewake.operations import Operation
from rewake.runs.local import scan
from rewake.ui import bulk
from rewake.ui.bulk import SHOWN_RUNS_MAX


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("bulk") / "data") as stage:
        yield stage


def fields_of(page: str) -> dict[str, str]:
    """The hidden fields of the form that goes on."""
    form = page[page.index('action="/ui/actions"') :]
    return {name: unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)}


def confirmed(stage: Stage, action: str, query: str) -> Answer:
    fields = {"action": action, "all": "yes", "filter": query, "token": token(stage), "back": "/ui/?text=x"}
    return ask(stage, "POST", "/confirm", fields)


def notice_of(answer: Answer) -> str:
    assert answer.status == 303
    parts = urlsplit(answer.headers["location"])
    assert parts.path == "/ui/"
    return parse_qs(parts.query)["notice"][0]


@pytest.mark.parametrize("act_s", [0.0, 10.0])
def test_all_that_match_are_purged_and_nothing_that_came_later(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, act_s: float
) -> None:
    monkeypatch.setattr(bulk, "ACT_S", act_s)
    monkeypatch.setattr(scan, "PAGE_RUNS_MAX", 2)
    runs = [done(stage, "ask", f"purge {number}") for number in range(5)]
    other = done(stage, "ask", "keep")
    page = confirmed(stage, "purge", "text=purge")
    assert page.status == 200
    assert "Purge 5 runs?" in page.text
    assert "failed or succeeded" in page.text
    later = done(stage, "ask", "purge later")
    answer, requests = ask(stage, "POST", "/actions", fields_of(page.text)), 1
    while answer.status == 200:
        assert f"Purge: {requests * 2} of 5 runs" in answer.text
        assert "data-continue" in answer.text
        answer, requests = ask(stage, "POST", "/actions", fields_of(answer.text)), requests + 1
    assert notice_of(answer) == "5 runs purged."
    assert requests == (1 if act_s else 3)
    assert [ask(stage, "GET", f"/runs/{run}?scale=time").status for run in (*runs, other, later)] == [404] * 5 + [
        200
    ] * 2
    ask(stage, "POST", "/actions", {"action": "purge", "run": later, "token": token(stage)})


def test_what_could_not_be_done_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Added up over the requests, with the first reason."""
    monkeypatch.setattr(scan, "PAGE_RUNS_MAX", 2)
    runs = [stage.send("Desk", "approve", number, key=f"bulk{number}") for number in range(3)]
    page = confirmed(stage, "kill", "service=Desk&handler=approve")
    assert "Kill 3 runs?" in page.text
    fields = fields_of(page.text) | {"problems": "1", "problem": "Gone.", "done": "7"}
    answer = ask(stage, "POST", "/actions", fields)
    assert notice_of(answer) == "10 runs killed. 1 could not be: Gone."
    assert all(stage.run(stage.engine.output(run)).result is not None for run in runs)


@pytest.mark.parametrize("broken", [1, 3])
def test_an_error_at_one_run_does_not_stop_the_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    """One at all of them does: then the engine is stopping, or worse."""
    runs = [stage.send("Desk", "approve", number, key=f"error{number}") for number in range(3)]
    operate = stage.engine.operate

    async def failing(operation: Operation, invocation_id: bytes, **options: Any) -> Reply:
        if ids.invocation_id_to_str(invocation_id) in runs[:broken]:
            raise RewakeError(ErrorCode.ENGINE_BUG, "It broke.")
        return await operate(operation, invocation_id, **options)

    monkeypatch.setattr(stage.engine, "operate", failing)
    answer = ask(stage, "POST", "/actions", fields_of(confirmed(stage, "kill", "service=Desk").text))
    monkeypatch.undo()
    if broken == 1:
        assert notice_of(answer) == "2 runs killed. 1 could not be: RW3003 It broke."
    else:
        assert (answer.status, "RW3003" in answer.text) == (503, True)
    for run in runs:
        stage.run(stage.engine.kill(run))


def test_a_count_that_took_too_long_is_a_least(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "COUNT_S", 0.0)
    monkeypatch.setattr(scan, "LOOK_S", 0.0)
    monkeypatch.setattr(scan, "_SLICE_RUNS", 1)
    monkeypatch.setattr(scan, "PAGE_RUNS_MAX", 1)
    for _ in range(8):
        done(stage, "ask", "least")
    page = confirmed(stage, "purge", "status=failed,succeeded")
    assert "Purge at least " in page.text
    assert "could be counted" in page.text


@pytest.mark.parametrize(
    ("action", "query", "status"),
    [("purge", "status=running", 409), ("kill", "text=nothing+says+this", 409), ("pause", "status=paused", 409),
     ("restart-as-new", "", 400), ("explode", "", 400), ("purge", "waiting=person&status=failed", 409)],
)  # fmt: skip
def test_nothing_to_do(stage: Stage, action: str, query: str, status: int) -> None:
    assert confirmed(stage, action, query).status == status


@pytest.mark.parametrize("query", ["x", "status=failed", "as_of=99999999999999", "as_of=99999999999999&status=running"])
def test_a_form_that_does_not_say_which_runs_does_nothing(stage: Stage, query: str) -> None:
    run = done(stage, "ask", "stay")
    answer = ask(stage, "POST", "/actions", {"action": "purge", "query": query, "token": token(stage)})
    assert answer.status == 400
    assert ask(stage, "GET", f"/runs/{run}?scale=time").status == 200


def test_the_list_offers_all_that_match(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only when they are more than a page, with how many there are when that is known."""
    monkeypatch.setattr(scan, "PAGE_RUNS_MAX", 2)
    for _ in range(3):
        stage.run(stage.engine.attach(stage.send("Router", "refuse", "no more")))
    assert "that match, not only those on this page" in ask(stage, "GET", "/?status=failed").text
    page = ask(stage, "GET", "/?status=failed&failure=no+more&order=longest").text
    assert 'name="filter" value="failure=no+more&amp;status=failed&amp;order=longest"' in page
    assert "that match, not only" not in ask(stage, "GET", "/?text=nothing+says+this").text


def test_only_the_first_of_many_are_named(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [stage.send("Desk", "approve", number, key=f"named{number}") for number in range(3)]
    for shown_max in (SHOWN_RUNS_MAX, 3, 2):
        monkeypatch.setattr(bulk, "SHOWN_RUNS_MAX", shown_max)
        text = confirmed(stage, "kill", "service=Desk&handler=approve").text
        assert "Kill 3 runs?" in text
        assert sum(run in text for run in runs) == min(shown_max, 3)
    for run in runs:
        stage.run(stage.engine.kill(run))
