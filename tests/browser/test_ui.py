"""The UI as people use it, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
from tests.browser.stage import HOSTILE, NASTY, Stage


def visible(page: Any, text: str) -> None:
    page.get_by_text(text).first.wait_for()


def test_new_runs_appear_by_themselves(page: Any, stage: Stage) -> None:
    page.goto(f"{stage.url}/ui/?service=Router&handler=ask")
    run_id = stage.send("Router", "ask", "Why was I charged twice?")
    page.locator(f"text={run_id}").wait_for()
    visible(page, "Why was I charged twice?")


def test_the_root_leads_to_the_runs(page: Any, stage: Stage) -> None:
    page.goto(stage.url)
    assert page.url == f"{stage.url}/ui/"


def test_filters_stand_in_the_address(page: Any, stage: Stage) -> None:
    with pytest.raises(Exception, match="teapot"):
        stage.call("Router", "refuse", "teapot")
    page.goto(f"{stage.url}/ui/")
    page.get_by_role("link", name="failed").click()
    visible(page, "[418] teapot")
    assert "status=failed" in page.url
    page.get_by_placeholder("Text in input").fill("no such text")
    page.keyboard.press("Enter")
    visible(page, "No run matches")


def test_a_step_in_full_with_the_keyboard_alone(page: Any, stage: Stage) -> None:
    stage.call("Router", "through", "Hello?")
    page.goto(f"{stage.url}/ui/?handler=through")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/ui/runs/**")
    for _ in range(3):
        page.keyboard.press("j")
    assert "Pick specialist" in page.evaluate("document.activeElement.innerText")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.locator("#step").get_by_text("Router/ask").first.wait_for()
    page.keyboard.press("Escape")
    visible(page, "Choose a step to see")


def test_the_agents_of_a_run(page: Any, stage: Stage) -> None:
    stage.call("Router", "ask", "Hello?")
    page.goto(f"{stage.url}/ui/?handler=ask")
    page.locator("main .row-link").first.click()
    page.get_by_role("link", name="Agents").click()
    page.locator(".turn.decision").get_by_text("billing").first.wait_for()
    page.locator(".graph .node").first.wait_for()
    visible(page, "billing answers")


def test_an_approval(page: Any, stage: Stage) -> None:
    run_id = stage.send("Desk", "approve", 12_000, key="alice")
    page.goto(f"{stage.url}/ui/runs/{run_id}")
    page.get_by_role("button", name="Approve").click()
    page.locator(".chip.succeeded").first.wait_for()
    page.locator(".side").get_by_text('"paid"').first.wait_for()
    assert stage.run(stage.engine.result(run_id)) == "paid"


def test_failures_and_kill(page: Any, stage: Stage) -> None:
    run_id = stage.send("Router", "flaky", "x")
    page.goto(f"{stage.url}/ui/runs/{run_id}")
    visible(page, "the provider is overloaded")
    page.get_by_role("button", name="Kill").click()
    page.get_by_role("heading", name="Kill 1 run?").wait_for()
    page.get_by_role("button", name="Kill 1 run").click()
    visible(page, "1 run killed.")
    page.locator(".chip.failed").first.wait_for()


def test_many_at_once_says_how_many(page: Any, stage: Stage) -> None:
    for number in range(3):
        stage.send("Desk", "approve", number, key=f"bulk{number}")
    page.goto(f"{stage.url}/ui/?service=Desk&status=running&status=suspended")
    page.locator("tbody tr").nth(2).wait_for()
    page.get_by_label("Select all on this page").check()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("heading", name="Cancel 3 runs?").wait_for()
    page.get_by_role("button", name="Cancel 3 runs").click()
    visible(page, "3 runs cancelled.")


def test_a_fork_goes_to_the_other_specialist(page: Any, stage: Stage) -> None:
    """The first run stays as it is, and the step before the fork is not repeated."""
    run_id = stage.send("Router", "ask", "Fork me")
    assert stage.run(stage.engine.result(run_id)) == "billing answers"
    page.goto(f"{stage.url}/ui/runs/{run_id}?step=1")
    page.get_by_text("Fork from here").click()
    page.get_by_label("with another result").check()
    page.locator(".fork textarea").fill('{"specialist": "technical", "answer": null}')
    page.get_by_role("button", name="Fork").click()
    visible(page, "Forked: this is the new run.")
    page.locator(".side").get_by_text('"technical answers"').first.wait_for()
    assert run_id not in page.url
    page.get_by_role("link", name="compare").click()
    page.locator("tr.result", has_text="Pick specialist").get_by_text("technical").wait_for()
    page.locator("tr.step", has_text="Ask billing").get_by_text("Ask technical").wait_for()
    assert page.locator("tr.same").count() == 1
    page.get_by_role("table").get_by_role("link", name="After").click()
    page.get_by_role("link", name=run_id).click()
    page.locator(".turn.answer").get_by_text("billing answers").wait_for()


def test_a_session_is_edited(page: Any, stage: Stage) -> None:
    run_id = stage.send("Desk", "approve", 5, key="edited")
    page.goto(f"{stage.url}/ui/sessions/Desk?key=edited")
    page.locator(".side").get_by_text("Held by").wait_for()
    visible(page, "Approver")
    stage.run(stage.engine.kill(_raw(run_id)))
    page.reload()
    page.locator(".state-value", has_text="agent").get_by_text("Edit").click()
    page.locator(".state-value", has_text="agent").locator("textarea").fill('"Nobody"')
    page.locator(".state-value", has_text="agent").get_by_role("button", name="Save").click()
    page.locator(".state-value pre").get_by_text("Nobody").wait_for()


def test_the_playground(page: Any, stage: Stage) -> None:
    page.goto(f"{stage.url}/ui/services")
    page.get_by_role("link", name="ask", exact=True).click()
    page.locator(".playground textarea").fill("Where do you ship?")
    page.get_by_role("button", name="Call").click()
    page.locator(".answer-box").get_by_text("billing answers").wait_for()


def test_hostile_output_is_text(page: Any, stage: Stage) -> None:
    stage.call("Router", "repeat", HOSTILE)
    page.goto(f"{stage.url}/ui/?handler=repeat")
    page.locator("main .row-link").first.click()
    page.wait_for_url("**/ui/runs/**")
    url = page.url
    for view in ("?step=0", "?step=1", "/agents"):
        page.goto(url + view)
        visible(page, "onerror")
        assert page.locator("main img, main script").count() == 0
        assert page.title() not in ("1", "2")
        assert "\u202e" not in page.content()


def test_output_that_is_hard_to_show(page: Any, stage: Stage) -> None:
    """Megabytes, words without end, depth, bytes that are no text: the page stays small, quick and in its window."""
    sent = {kind: stage.send("Router", "say", kind.encode()) for kind in NASTY}
    every = ("", "?step=0", "?step=1", "?step=3", "/agents", "/steps/1")
    for kind, run_id in sent.items():
        stage.run(stage.engine.attach(run_id))
        for view in every if kind == "huge" else ("?step=1", "/agents"):
            response = page.goto(f"{stage.url}/ui/runs/{run_id}{view}")
            assert response.status == 200, (kind, view)
            assert len(response.body()) < 300_000, (kind, view)
            assert page.evaluate("document.documentElement.scrollWidth") <= 1280, (kind, view)
            assert "\ufffd\ufffd\ufffd\ufffd" not in page.locator("main").inner_text(), (kind, view)
    page.goto(f"{stage.url}/ui/?handler=say")
    for run_id in sent.values():
        page.locator("tbody tr", has_text=run_id).wait_for()


def test_every_field_has_a_name(page: Any, stage: Stage) -> None:
    """What a screen reader says of each control of the patterns page."""
    page.goto(f"{stage.url}/ui/patterns")
    nameless = page.evaluate(
        "[...document.querySelectorAll('input:not([type=hidden]), select, textarea, button, a')].filter("
        "e => !(e.innerText || '').trim() && !e.labels?.length && !e.getAttribute('aria-label')).map(e => e.outerHTML)"
    )
    assert nameless == []


def _raw(run_id: str) -> bytes:
    from rewake.core import ids

    return ids.invocation_id_from_str(run_id)
