"""Pages that have nothing to show, and addresses that are wrong: each says what it is and where to go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.browser.stage import Stage, staged


@pytest.fixture(scope="module")
def empty(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """An engine that serves nothing and has run nothing."""
    with staged(tmp_path_factory.mktemp("empty") / "data", app=None) as stage:
        yield stage


NOTHING_THERE = {
    "/": "No runs yet",
    "/?status=failed&service=Nobody": "No run matches",
    "/sessions": "No keyed services",
    "/services": "No services",
    "/deployments": "No deployments",
}
WRONG = {
    "/nowhere": "There is no such page.",
    "/runs/inv_1short": "is not a run's id",
    "/runs/inv_1dceKvwtEc2n6aThD2PKylK9aMjkfpaoQF": "There is no run inv_1dceKvwtEc2n6aThD2PKylK9aMjkfpaoQF",
    "/runs/inv_1dceKvwtEc2n6aThD2PKylK9aMjkfpaoQF/agents": "There is no run",
    "/services/Nobody": "Nobody",
    "/services/Router/nothing": "nothing",
    "/sessions/Desk": "names no key",
}


def test_nothing_there_yet(browser: Any, empty: Stage) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800})
    for path, said in NOTHING_THERE.items():
        page.goto(f"{empty.url}/ui{path}")
        page.get_by_role("heading", name=said).wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    page.close()


def test_a_wrong_address(page: Any, stage: Stage) -> None:
    for path, said in WRONG.items():
        assert page.goto(f"{stage.url}/ui{path}").status == 404, path
        page.get_by_role("heading").get_by_text(said).first.wait_for()
        page.locator("main").get_by_role("link").first.click()
        page.wait_for_url(f"{stage.url}/ui/")


def test_a_step_that_is_not_there(page: Any, stage: Stage) -> None:
    run_id = stage.send("Router", "ask", "Hello?")
    stage.run(stage.engine.result(run_id))
    assert page.goto(f"{stage.url}/ui/runs/{run_id}/steps/999").status == 404
    page.get_by_text("The run has no step 999.").wait_for()
    assert page.goto(f"{stage.url}/ui/runs/{run_id}/compare").status == 404
    page.get_by_text("There is no run to compare it with.").wait_for()


def test_a_key_nobody_used(page: Any, stage: Stage) -> None:
    page.goto(f"{stage.url}/ui/sessions/Desk?key=nobody")
    for said in ("No run of this key is kept.", "Nobody holds the key.", "No state."):
        page.get_by_text(said).wait_for()


def test_a_form_of_another_site_is_refused(page: Any, stage: Stage) -> None:
    """A request that does not carry the token of a page of ours changes nothing."""
    run_id = stage.send("Desk", "approve", 1, key="forged")
    answer = page.request.post(f"{stage.url}/ui/actions", form={"action": "kill", "run": run_id})
    assert answer.status == 403
    page.goto(f"{stage.url}/ui/runs/{run_id}")
    page.get_by_role("button", name="Approve").wait_for()


def test_text_nobody_wrote_finds_nothing_and_says_so(page: Any, stage: Stage) -> None:
    page.goto(f"{stage.url}/ui/?text=%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    page.get_by_role("heading", name="No run matches").wait_for()
    assert page.get_by_placeholder("Text in input").input_value() == "<script>alert(1)</script>"
