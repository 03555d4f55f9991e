"""Every page, wide in light colours and on a phone in dark ones: what axe-core, the browsers' own checker, finds.

Names of controls, order of headings, landmarks, and colours against their background. The look of a page depends on
its width and its colours, each by rules of their own, so two looks show every rule. axe-core comes from npm; it is run
in the page and sends nothing anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pytest
from node_tour import npm_folder
from tests.browser.stage import HOSTILE, Stage

AXE: Final = "axe-core@4.14.1"
LOOKS: Final = (("light", 1280), ("dark", 390))
RULES: Final = "{resultTypes: ['violations'], rules: {'region': {enabled: true}}}"


class Runs(NamedTuple):
    """A run of each kind that has a page of its own look."""

    done: str
    open: str
    waiting: str
    hostile: str
    fork: str


@pytest.fixture(scope="module")
def axe() -> str:
    return (npm_folder(AXE) / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.fixture(scope="module")
def runs(stage: Stage) -> Runs:
    done = stage.send("Router", "through", "Hello?")
    stage.run(stage.engine.result(done))
    first = stage.send("Router", "ask", "Fork me")
    stage.run(stage.engine.result(first))
    forked = stage.run(stage.engine.restart_as_new(first, from_index=0))
    hostile = stage.send("Router", "repeat", HOSTILE)
    stage.run(stage.engine.result(hostile))
    with pytest.raises(Exception, match="teapot"):
        stage.call("Router", "refuse", "teapot")
    return Runs(
        done=done,
        open=stage.send("Router", "flaky", "x"),
        waiting=stage.send("Desk", "approve", 12_000, key="alice"),
        hostile=hostile,
        fork=_public(forked.invocation_id),
    )


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page without motion; what axe-core finds may depend on its moment else."""
    context = browser.new_context(reduced_motion="reduce")
    yield context.new_page()
    context.close()


def paths(runs: Runs) -> Iterator[str]:
    """Every page of the UI, and the looks of those that have several."""
    yield from ("/", "/?status=failed", "/?text=nothing-has-this", "/?service=Unknown")
    for run in runs:
        yield from (f"/runs/{run}", f"/runs/{run}/agents")
    yield from (f"/runs/{runs.done}?step=1", f"/runs/{runs.done}/steps/1", f"/runs/{runs.open}?step=0")
    yield from (f"/runs/{runs.fork}/compare", f"/runs/{runs.hostile}?step=1")
    yield from ("/sessions", "/sessions?service=Desk", "/sessions/Desk?key=alice", "/sessions/Desk?key=nobody")
    yield from ("/services", "/services/Desk", "/services/Router/ask", "/services/Desk/approve", "/deployments")
    yield from ("/patterns", "/help", "/no-such-page", "/runs/inv_1nothing", "/services/Unknown")


@pytest.mark.timeout(180)  # about 60 checks in one browser
def test_axe_finds_nothing(page: Any, stage: Stage, runs: Runs, axe: str) -> None:
    found = []
    for path in paths(runs):
        page.goto(f"{stage.url}/ui{path}")
        page.evaluate(axe)
        for scheme, width in LOOKS:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            violations = page.evaluate(f"axe.run(document, {RULES}).then(done => done.violations)")
            found += [f"{path} in {scheme}, {width} wide: {told(each)}" for each in violations]
    assert not found, "\n".join(found)


def told(violation: Any) -> str:
    """One line for a person: the rule, and the first elements that break it."""
    nodes = violation["nodes"]
    shown = "; ".join(f"{node['html'][:160]} [{_why(node)}]" for node in nodes[:3])
    return f"{violation['id']} ({len(nodes)}): {shown}"


def _why(node: Any) -> str:
    return " ".join(check["message"] for check in (*node["any"], *node["all"], *node["none"]))[:200]


def _public(invocation_id: bytes | None) -> str:
    from rewake.core import ids

    assert invocation_id is not None
    return ids.invocation_id_to_str(invocation_id)
