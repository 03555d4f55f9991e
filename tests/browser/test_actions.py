"""Everything a person can do in the UI, on a dark phone: what is clicked, and what it did.

Each action is read back from the page it leads to and from the engine. test_ui.py acts, too, on a wide light screen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
from tests.browser.conftest import opened_page
from tests.browser.stage import Stage

from rewake.core import ids

PHONE: Final[dict[str, Any]] = {
    "viewport": {"width": 390, "height": 844},
    "color_scheme": "dark",
    "has_touch": True,
}


@pytest.fixture
def page(browser: Any, stage: Stage) -> Iterator[Any]:
    with opened_page(browser, stage, **PHONE) as page:
        yield page


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A key of its own for each test."""
    return str(request.node.name)


def visible(page: Any, text: str) -> None:
    page.get_by_text(text).first.wait_for()


def is_in(page: Any, status: str) -> None:
    page.locator(f".run-title .chip.{status}").wait_for()


def press(page: Any, name: str) -> None:
    """A button, and the same word again where one is asked whether one is sure."""
    page.locator(".actions").get_by_role("button", name=name, exact=True).click()
    page.get_by_role("button", name=f"{name} 1 run").click()


def raw(run_id: str) -> bytes:
    return ids.invocation_id_from_str(run_id)


def test_pause_and_resume(page: Any, stage: Stage, key: str) -> None:
    run_id = stage.send("Desk", "approve", 1, key=key)
    page.goto(f"{stage.url}/ui/runs/{run_id}")
    page.get_by_role("button", name="Approve").wait_for()
    press(page, "Pause")
    is_in(page, "paused")
    press(page, "Resume")
    visible(page, "1 run resumed.")
    page.get_by_role("button", name="Approve").click()
    is_in(page, "succeeded")
    assert stage.run(stage.engine.result(run_id)) == "paid"


def test_resume_on_another_deployment(page: Any, stage: Stage, key: str) -> None:
    run_id = stage.send("Desk", "approve", 1, key=key)
    page.goto(f"{stage.url}/ui/runs/{run_id}")
    page.get_by_role("button", name="Approve").wait_for()
    press(page, "Pause")
    is_in(page, "paused")
    deployment = stage.engine.services["Desk"].deployment_id
    page.locator(".actions").get_by_role("button", name="Resume").click()
    page.get_by_label("Deployment").select_option(deployment)
    page.get_by_role("button", name="Resume 1 run").click()
    visible(page, "1 run resumed.")
    page.get_by_role("button", name="Reject").click()
    is_in(page, "failed")


def test_cancel(page: Any, stage: Stage, key: str) -> None:
    run_id = stage.send("Desk", "approve", 1, key=key)
    page.goto(f"{stage.url}/ui/runs/{run_id}")
    page.get_by_role("button", name="Approve").wait_for()
    press(page, "Cancel")
    visible(page, "1 run cancelled.")
    is_in(page, "failed")
    visible(page, "[409] cancelled")


def test_restart_as_new_and_purge(page: Any, stage: Stage) -> None:
    run_id = stage.send("Router", "ask", "Again?")
    assert stage.run(stage.engine.result(run_id)) == "billing answers"
    page.goto(f"{stage.url}/ui/runs/{run_id}")
    press(page, "Restart as new")
    visible(page, "1 run restarted.")
    is_in(page, "succeeded")
    assert run_id not in page.url
    page.get_by_role("link", name=run_id).click()
    press(page, "Purge")
    visible(page, "1 run purged.")
    page.goto(f"{stage.url}/ui/runs/{run_id}")
    visible(page, f"There is no run {run_id}.")


def test_what_cannot_be_done_is_told(page: Any, stage: Stage) -> None:
    """The run completes while the person makes up their mind."""
    run_id = stage.send("Desk", "approve", 1, key="in-doubt")
    page.goto(f"{stage.url}/ui/runs/{run_id}")
    page.get_by_role("button", name="Approve").wait_for()
    page.locator(".actions").get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Pause 1 run").wait_for()
    stage.run(stage.engine.kill(raw(run_id)))
    page.get_by_role("button", name="Pause 1 run").click()
    page.locator(".notice").wait_for()
    assert "1 run paused." not in page.locator(".notice").inner_text()
    is_in(page, "failed")


def test_an_answer_with_a_value(page: Any, stage: Stage, key: str) -> None:
    run_id = stage.send("Desk", "approve", 1, key=key)
    page.goto(f"{stage.url}/ui/runs/{run_id}")
    page.get_by_role("button", name="Approve").wait_for()
    page.get_by_label("Answer, as JSON").fill("false")
    page.get_by_role("button", name="Approve").click()
    is_in(page, "succeeded")
    assert stage.run(stage.engine.result(run_id)) == "refused"


def test_a_promise_is_answered(page: Any, stage: Stage, key: str) -> None:
    run_id = stage.send("Release", "run", "1.0", key=key)
    page.goto(f"{stage.url}/ui/runs/{run_id}")
    visible(page, "review")
    page.get_by_label("Answer, as JSON").fill('"ship it"')
    page.get_by_role("button", name="Approve").click()
    is_in(page, "succeeded")
    assert stage.run(stage.engine.result(run_id)) == "1.0: ship it"


def test_state_is_added_changed_and_removed(page: Any, stage: Stage, key: str) -> None:
    address = f"{stage.url}/ui/sessions/Desk?key={key}"
    page.goto(address)
    page.get_by_text("Add a value").click()
    page.get_by_label("Name").fill("mood")
    page.get_by_label("Value, as JSON").fill('"good"')
    page.get_by_role("button", name="Add").click()
    value = page.locator(".state-value", has_text="mood")
    value.get_by_text('"good"').first.wait_for()
    value.get_by_text("Edit").click()
    value.locator("textarea").fill("not JSON")
    value.get_by_role("button", name="Save").click()
    visible(page, "The value is not JSON")
    page.goto(address)
    value.get_by_text("Edit").click()
    value.get_by_role("button", name="Remove").click()
    visible(page, "No state.")


def test_state_that_changed_meanwhile_is_not_overwritten(page: Any, stage: Stage, key: str) -> None:
    stage.run(stage.engine.mutate_state("Desk", key, {b"mood": b'"good"'}))
    page.goto(f"{stage.url}/ui/sessions/Desk?key={key}")
    value = page.locator(".state-value", has_text="mood")
    value.get_by_text("Edit").click()
    stage.run(stage.engine.mutate_state("Desk", key, {b"mood": b'"bad"'}))
    value.locator("textarea").fill('"better"')
    value.get_by_role("button", name="Save").click()
    visible(page, "The state has changed since you opened the page")
    page.goto(f"{stage.url}/ui/sessions/Desk?key={key}")
    value.get_by_text('"bad"').first.wait_for()


def test_the_queue_of_a_session(page: Any, stage: Stage, key: str) -> None:
    """Who holds the key, who waits for it, and that the next one has it by itself."""
    holder = stage.send("Desk", "approve", 1, key=key)
    waiting = stage.send("Desk", "answer", "next", key=key)
    page.goto(f"{stage.url}/ui/sessions/Desk?key={key}")
    page.locator(".side").get_by_text("Held by").wait_for()
    page.locator(".queue").get_by_role("link", name="answer").wait_for()
    stage.run(stage.engine.kill(raw(holder)))
    visible(page, "Nobody holds the key.")
    assert stage.run(stage.engine.result(waiting)) == "NEXT"


def test_the_playground_tells_what_was_wrong(page: Any, stage: Stage) -> None:
    page.goto(f"{stage.url}/ui/services/Router/refuse")
    page.locator(".playground textarea").fill("short and stout")
    page.get_by_role("button", name="Call").click()
    page.get_by_role("alert").get_by_text("short and stout").wait_for()
    page.goto(f"{stage.url}/ui/services/Desk/approve")
    page.locator(".playground").get_by_label("Key").fill("from-the-playground")
    page.locator(".playground").get_by_role("textbox").last.fill("not a number")
    page.get_by_role("button", name="Call").click()
    page.get_by_role("alert").get_by_text("not JSON").wait_for()


def test_a_drained_deployment_is_removed(page: Any, stage: Stage) -> None:
    old = stage.add_unused_deployment()
    page.goto(f"{stage.url}/ui/deployments")
    row = page.locator(f"#{old}")
    row.get_by_text("drained").wait_for()
    in_use = page.locator(f"#{stage.engine.services['Mover'].deployment_id}")
    assert in_use.get_by_role("button", name="Remove").count() == 0
    row.get_by_role("button", name="Remove").click()
    visible(page, "Removed.")
    assert old not in stage.engine.deployments
