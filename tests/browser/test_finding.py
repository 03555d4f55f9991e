"""Finding runs: every filter, the order of columns, pages, and acting on all that match.

An engine of its own with a few hundred runs, so that there is a second page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.browser.conftest import opened_page
from tests.browser.stage import Stage, staged

COUNT: Final = 130


@pytest.fixture(scope="module")
def stage(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("finding") / "data") as stage:
        stage.run(fill(stage))
        yield stage


async def fill(stage: Stage) -> None:
    refusals = (stage.engine.call("Router", "refuse", f"teapot {n}") for n in range(2))
    await asyncio.gather(*refusals, return_exceptions=True)
    await asyncio.gather(*(stage.engine.call("Router", "ask", f"Question {n}") for n in range(COUNT)))


def rows(page: Any) -> Any:
    return page.locator(".runs tbody tr")


def test_failed_with(page: Any, stage: Stage) -> None:
    page.goto(f"{stage.url}/ui/")
    page.get_by_text("More filters").click()
    page.get_by_label("Failed with").fill("teapot 1")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**failure=teapot+1**")
    rows(page).get_by_text("[418] teapot 1").wait_for()
    assert rows(page).count() == 1


def test_by_agent(page: Any, stage: Stage) -> None:
    page.goto(f"{stage.url}/ui/?handler=ask")
    page.get_by_text("More filters").click()
    page.get_by_label("Agent").fill("Billing")
    page.keyboard.press("Enter")
    page.wait_for_url("**agent=Billing**")
    rows(page).nth(99).wait_for()
    page.goto(f"{stage.url}/ui/?agent=nobody")
    page.get_by_role("heading", name="No run matches").wait_for()


def test_by_time(page: Any, stage: Stage) -> None:
    page.goto(f"{stage.url}/ui/?handler=refuse")
    page.get_by_text("More filters").click()
    page.get_by_label("Created").select_option("1h")
    page.wait_for_url("**within=1h**")
    rows(page).nth(1).wait_for()
    page.goto(f"{stage.url}/ui/?handler=refuse")
    page.get_by_text("More filters").click()
    page.get_by_label("To (UTC)").fill("2020-01-01T00:00")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("heading", name="No run matches").wait_for()
    assert page.get_by_label("To (UTC)").input_value() == "2020-01-01T00:00"


def test_waiting_for_a_person(page: Any, stage: Stage) -> None:
    run_id = stage.send("Desk", "approve", 1, key="waiting")
    page.goto(f"{stage.url}/ui/")
    page.get_by_role("link", name="waiting for a person").click()
    rows(page).filter(has_text=run_id).wait_for()
    assert rows(page).filter(has_text="Router").count() == 0


def test_order_and_pages(page: Any, stage: Stage) -> None:
    page.goto(f"{stage.url}/ui/?handler=ask")
    rows(page).nth(99).wait_for()
    page.get_by_role("link", name="Next page").click()
    page.wait_for_url("**cursor=**")
    rows(page).first.wait_for()
    assert rows(page).count() == COUNT - 100
    page.get_by_role("link", name="First page").click()
    page.get_by_label("Order").select_option("oldest")
    page.wait_for_url("**order=oldest**")
    rows(page).first.get_by_text("Question").wait_for()
    page.get_by_label("Order").select_option("longest")
    page.wait_for_url("**order=longest**")
    rows(page).nth(99).wait_for()


def test_purge_all_that_match(browser: Any, tmp_path: Path) -> None:
    """More than a page: all but those that come after the question."""
    with (
        staged(tmp_path / "data") as stage,
        opened_page(browser, stage, viewport={"width": 1280, "height": 900}) as page,
    ):
        stage.run(fill(stage))
        page.goto(f"{stage.url}/ui/?handler=ask&status=succeeded")
        rows(page).nth(99).wait_for()
        page.get_by_label("Select all on this page").check()
        page.get_by_label("that match, not only those on this page").check()
        page.locator(".bulk").get_by_role("button", name="Purge").click()
        page.get_by_role("heading", name=f"Purge {COUNT} runs?").wait_for()
        late = stage.send("Router", "ask", "Too late to be meant")
        stage.run(stage.engine.result(late))
        page.get_by_role("button", name=f"Purge {COUNT} runs").click()
        page.get_by_text(f"{COUNT} runs purged").first.wait_for()
        page.goto(f"{stage.url}/ui/?handler=ask")
        rows(page).filter(has_text="Too late to be meant").wait_for()
        assert rows(page).count() == 1
