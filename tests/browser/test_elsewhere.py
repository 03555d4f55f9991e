"""`rewake ui` in a browser: its pages follow a server elsewhere by themselves, and act on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cli_process import Running
from tests.browser.conftest import opened_page
from tests.browser.stage import Stage


@dataclass
class Ui:
    """Where `rewake ui` listens."""

    url: str


@pytest.fixture(scope="module")
def ui(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    with Running("ui", "--admin", stage.url, cwd=tmp_path_factory.mktemp("elsewhere")) as running:
        yield Ui(f"http://127.0.0.1:{running.port}")


def test_a_run_appears_is_answered_and_ends_without_a_reload(browser: Any, stage: Stage, ui: Ui) -> None:
    with opened_page(browser, ui, viewport={"width": 1280, "height": 900}) as page:  # type: ignore[arg-type]
        page.goto(f"{ui.url}/ui/?service=Desk&key=elsewhere")
        page.get_by_text(stage.url, exact=True).wait_for()
        run_id = stage.send("Desk", "approve", 7, key="elsewhere")
        row = page.locator("tbody tr", has_text=run_id)
        row.wait_for()
        row.locator("a").first.click()
        page.locator(".asked").get_by_text('"amount": 7').wait_for()
        page.get_by_role("button", name="Approve").click()
        page.get_by_text("Answered.").wait_for()
        page.locator(".run-title .chip.succeeded").wait_for()
        page.locator("#live").wait_for(state="hidden")


def test_the_pages_fit_a_phone(browser: Any, stage: Stage, ui: Ui) -> None:
    stage.call("Router", "ask", "phone")
    with opened_page(browser, ui, viewport={"width": 360, "height": 740}) as page:  # type: ignore[arg-type]
        for path in ("/", "/services/Desk/approve", "/deployments"):
            page.goto(f"{ui.url}/ui{path}")
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
