"""The page of a run shows what its steps say at this moment, without being loaded again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import restate
from tests.browser.stage import Stage, staged

from rewake.ext.kernel import InPlace, current_run, put_delta

speaker = restate.Service("Speaker")
may_go_on: list[asyncio.Event] = []


async def speak() -> str:
    """The first try fails after its words, the second speaks on."""
    number = len(may_go_on)
    for word in (f"Try {number} ", "begins, ", "<b>bold</b>"):
        put_delta(word)
    put_delta({"type": "reasoning", "text": "hm"})
    may_go_on.append(asyncio.Event())
    await may_go_on[-1].wait()
    if number == 0:
        raise ConnectionError("the model hung up")
    return "said"


@speaker.handler()
async def say(ctx: restate.Context, name: str) -> str:
    run = current_run()
    assert run is not None
    return str(await run.step("Desk: model", speak, retry=InPlace(attempts=2, first_delay_s=0.5)))


@pytest.fixture(scope="module")
def stage(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("saying") / "data", restate.app([speaker])) as stage:
        yield stage


def test_words_come_and_those_of_a_failed_try_go(page: Any, stage: Stage) -> None:
    async def go_on() -> None:
        may_go_on[-1].set()

    run_id = stage.send("Speaker", "say", "Ada")
    page.goto(f"{stage.url}/ui/runs/{run_id}")
    page.evaluate("window.isTheSame = true")
    said = page.get_by_label("Said live")
    said.get_by_text("Try 0 begins, <b>bold</b>").wait_for()
    assert said.locator("b").all_inner_texts() == ["Desk: model"]
    stage.run(go_on())
    said.get_by_text("Try 0").wait_for(state="hidden")
    said.get_by_text("Try 1 begins, <b>bold</b>").wait_for()
    stage.run(go_on())
    said.wait_for(state="hidden")
    page.locator(".run-title .chip.succeeded").wait_for()
    assert page.evaluate("window.isTheSame")
