"""The page of agents finds room: nothing runs off it or out of its box, at three widths, with the longest names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.browser.agents_app import SPECIALISTS, app
from tests.browser.conftest import opened_page
from tests.browser.stage import Stage, staged

WIDTHS = (1400, 1000, 390)
OVERFLOWING = """() => [...document.querySelectorAll("main *")]
  .filter(each => !each.closest(".graph-scroll, pre, .sr, .usage"))
  .filter(each => each.getBoundingClientRect().right > innerWidth + 1)
  .map(each => each.className + ": " + each.textContent.slice(0, 40))"""
BOXES = """() => [...document.querySelectorAll(".node")].map(node => {
  const box = node.querySelector("rect").getBoundingClientRect()
  const texts = [...node.querySelectorAll("text")].map(each => each.getBoundingClientRect())
  return {left: box.left, right: box.right, top: box.top, bottom: box.bottom,
          textLeft: Math.min(...texts.map(each => each.left)), textRight: Math.max(...texts.map(each => each.right))}
})"""


@pytest.fixture(scope="module")
def stage(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(Path(tmp_path_factory.mktemp("agents")) / "data", app) as stage:
        yield stage


def test_a_run_of_agents_has_room_at_each_width(browser: Any, stage: Stage) -> None:
    run_id = stage.send("Claims", "answer", "a claim")
    stage.run(stage.engine.result(run_id))
    with opened_page(browser, stage, viewport={"width": WIDTHS[0], "height": 900}) as page:
        page.goto(f"{stage.url}/ui/runs/{run_id}")
        assert page.url.endswith(f"{run_id}/agents"), "a run of agents opens on them"
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(OVERFLOWING) == []
            _check_boxes(page.evaluate(BOXES))
            _check_steps(page, width)
        assert page.locator(".usage tbody tr").count() == 1 + len(SPECIALISTS)
        page.get_by_role("link", name="Timeline").click()
        page.locator(".steps .step").first.wait_for()


def _check_boxes(boxes: list[dict[str, float]]) -> None:
    """Titles are inside their boxes; the router is left of its specialists, who are below each other."""
    for box in boxes:
        assert box["left"] <= box["textLeft"] and box["textRight"] <= box["right"], box
    router, *specialists = boxes
    assert all(router["right"] < each["left"] for each in specialists)
    assert len({each["left"] for each in specialists}) == 1
    tops = [each["top"] for each in specialists]
    assert tops == sorted(set(tops))


def _check_steps(page: Any, width: int) -> None:
    """A step that returned JSON has the width of the conversation, and so has its value when it is opened."""
    step = page.locator(".turn.step").first
    details = step.locator("details")
    details.evaluate("each => { each.open = true }")
    turn, value = step.bounding_box(), details.locator("pre").bounding_box()
    assert value["width"] > 0.85 * turn["width"]
    assert turn["width"] > (0.5 if width == 1400 else 0.75) * width
