"""Tour apps that import `restate.ext`, with `rewake.ext` in its place: nothing else of them changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tour import ALL, HANDOFFS, REMOTE, TOOLS, Tour, TourEngine, asked, needs, plain

from rewake.examples import EXAMPLES
from rewake.testing.models import ModelServer

TOURS = (TOOLS, HANDOFFS, REMOTE)


def test_these_are_all_apps_with_an_import_that_has_both() -> None:
    both = [f"from restate.ext.{framework}" for framework in ("openai", "pydantic")]
    found = {
        example.name
        for example in EXAMPLES
        for file in example.folder.glob("*.py")
        if any(line in file.read_text() for line in both)
    }
    assert found == {tour.name for tour in TOURS}


@pytest.mark.parametrize("tour", [needs(tour) for tour in (TOOLS, REMOTE, *(HANDOFFS,) * ALL)])
def test_an_app_runs_with_the_other_import(tour: Tour, tmp_path: Path) -> None:
    """The same answer, each model asked once. `test_tour_answers.py` runs the app as it is."""
    folder = shutil.copytree(tour.app.parent, tmp_path / "app")
    for file in folder.glob("*.py"):
        file.write_text(file.read_text().replace("from restate.ext.", "from rewake.ext."))
    with ModelServer(tour.rules()) as models, TourEngine(folder / "app.py", tmp_path, models) as engine:
        reply = engine.post(tour.path.format(key="alice"), tour.ask(tour.claim))
        assert plain(reply.body) == tour.answer
        assert asked(models) == dict.fromkeys(tour.models, 1)
