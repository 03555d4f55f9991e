"""The inbox of approvals in a real browser: wide and on a phone, by keyboard, and what axe-core finds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
import restate
from node_tour import npm_folder
from tests.browser.conftest import opened_page
from tests.browser.stage import HOSTILE, Stage, staged
from tests.browser.test_accessibility import AXE, RULES, told

from rewake.ext.kernel import ask

LOOKS: Final[dict[str, dict[str, Any]]] = {
    "wide": {"viewport": {"width": 1280, "height": 900}},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "has_touch": True},
}
teller = restate.Service("Teller")


@teller.handler()
async def pay(ctx: restate.Context, amount: int) -> str:
    return (await ask("Pay it?", {"amount": amount, "note": HOSTILE}, who=("finance", "Ada"))).outcome


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("inbox") / "data", restate.app([teller])) as stage:
        yield stage


@pytest.fixture(params=LOOKS)
def page(request: pytest.FixtureRequest, browser: Any, stage: Stage) -> Iterator[Any]:
    with opened_page(browser, stage, **LOOKS[request.param]) as page:
        yield page


@pytest.fixture(scope="module")
def axe() -> str:
    return (npm_folder(AXE) / "node_modules" / "axe-core" / "axe.min.js").read_text()


def test_many_at_once_and_one_by_keyboard(page: Any, stage: Stage, axe: str) -> None:
    runs = [stage.send("Teller", "pay", amount) for amount in (10, 20, 30)]
    page.goto(f"{stage.url}/ui/approvals")
    page.locator("li.approval").nth(2).wait_for()
    _clean(page, axe)
    page.get_by_label("Your name").fill("Ada")
    for amount in (10, 20):
        page.locator("li.approval", has_text=f'"amount": {amount},').get_by_role("checkbox").check()
    page.get_by_role("button", name="Approve selected").click()
    page.get_by_text("2 approved.").wait_for()
    assert [stage.run(stage.engine.result(run)) for run in runs[:2]] == ["approved", "approved"]
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Exact arguments").wait_for()
    _clean(page, axe)
    assert page.get_by_label("Your name").input_value() == "Ada"
    page.get_by_label("Reason").fill("too much")
    page.get_by_role("button", name="Deny").focus()
    page.keyboard.press("Enter")
    page.get_by_text("denied by Ada").wait_for()
    assert stage.run(stage.engine.result(runs[2])) == "denied"
    _clean(page, axe)


def _clean(page: Any, axe: str) -> None:
    """Nothing for axe-core to find, nothing wider than the screen, and hostile text did nothing."""
    page.evaluate(axe)
    found = page.evaluate(f"axe.run(document, {RULES})")["violations"]
    assert not found, [*map(told, found)]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.title() not in ("1", "2")
