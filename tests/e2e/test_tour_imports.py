"""Tour apps that import `restate.ext`, with `rewake.ext` in its place: nothing else of them changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tour import ALL, HANDOFFS, TOOLS, Tour, TourEngine, asked, needs, plain

from rewake.testing.models import ModelServer


@pytest.mark.parametrize("tour", [needs(tour) for tour in (TOOLS, *(HANDOFFS,) * ALL)])
def test_an_app_runs_with_the_other_import(tour: Tour, tmp_path: Path) -> None:
    """The same answer, each model asked once. `test_tour_answers.py` runs the app as it is."""
    folder = shutil.copytree(tour.app.parent, tmp_path / "app")
    app = folder / "app.py"
    code = app.read_text()
    assert "from restate.ext." in code
    app.write_text(code.replace("from restate.ext.", "from rewake.ext."))
    with ModelServer(tour.rules()) as models, TourEngine(app, tmp_path, models) as engine:
        reply = engine.post(tour.path.format(key="alice"), tour.ask(tour.claim))
        assert plain(reply.body) == tour.answer
        assert asked(models) == dict.fromkeys(tour.models, 1)
