"""Every page, wide in light colours and on a phone in dark ones: axe-core finds nothing, and the page fits its window.

axe-core looks at names of controls, order of headings, landmarks, and colours against their background. The look of a
page depends on its width and its colours, each by rules of their own, so two looks show every rule. Pages of one
template have them in turns; with REWAKE_ALL_CRASHES=1 each has both. axe-core comes from npm; it is run in the page and
sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pytest
from node_tour import npm_folder
from tests.browser.stage import HOSTILE, Stage
from tour import ALL

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


def templates(runs: Runs) -> Iterator[tuple[str, ...]]:
    """Every page of the UI, by template, and the looks of those that have several."""
    yield "/", "/?status=failed", "/?text=nothing-has-this", "/?service=Unknown"
    yield tuple(f"/runs/{run}" for run in runs)
    yield tuple(f"/runs/{run}/agents" for run in runs)
    yield f"/runs/{runs.done}?step=1", f"/runs/{runs.open}?step=0", f"/runs/{runs.hostile}?step=1"
    yield "/sessions", "/sessions?service=Desk"
    yield "/sessions/Desk?key=alice", "/sessions/Desk?key=nobody"
    yield "/services/Router/ask", "/services/Desk/approve"
    yield "/no-such-page", "/runs/inv_1nothing", "/services/Unknown"
    yield from ((path,) for path in (f"/runs/{runs.done}/steps/1", f"/runs/{runs.fork}/compare"))
    yield from ((path,) for path in ("/services", "/services/Desk", "/deployments", "/patterns", "/help"))


def paths(runs: Runs) -> Iterator[tuple[str, tuple[tuple[str, int], ...]]]:
    """The pages and the looks that each is checked in: the only one of a template in both."""
    for pages in templates(runs):
        for number, path in enumerate(pages):
            yield path, LOOKS if ALL or len(pages) == 1 else LOOKS[number % 2 :][:1]


@pytest.mark.timeout(180)  # dozens of checks in one browser
def test_each_page_in_its_looks(page: Any, stage: Stage, runs: Runs, axe: str) -> None:
    found = []
    for path, looks in paths(runs):
        page.goto(f"{stage.url}/ui{path}")
        page.evaluate(axe)
        for scheme, width in looks:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            if page.evaluate("document.documentElement.scrollWidth") > width:
                found.append(f"{path} is wider than {width}")
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
