"""Runs of the tour apps, replayed on the code that made them: whole, and cut off after each entry of their journals.

Each of these is what a crash at that entry would leave, so all must fit, and no model is asked.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tour import ALL, CHAIN, HANDOFFS, SUBAGENTS, SUPPORT, TOOLS, Tour, needs

from rewake.core.ids import invocation_id_from_str
from rewake.deployments.app_loader import load_app
from rewake.runs.facts import STATUSES
from rewake.runs.filters import RunFilter
from rewake.runs.local.database import local_reading
from rewake.testing import VirtualEngine
from rewake.testing.harness import quiet_log
from rewake.testing.models import ModelServer
from rewake.testing.replay.export import recorded
from rewake.testing.replay.files import RecordedJournal
from rewake.testing.replay.replayer import replay_all

OTHERS = (HANDOFFS, SUBAGENTS, TOOLS, CHAIN) if ALL else ()
CASES = [(SUPPORT, ""), *((tour, "restate.ext.") for tour in OTHERS), *((HANDOFFS, "rewake.ext."),) * ALL]


@pytest.mark.filterwarnings("ignore")  # those of the frameworks, which run in this process
@pytest.mark.parametrize(
    ("tour", "layer"),
    [pytest.param(*each, marks=needs(each[0]).marks, id=f"{each[0].name} {each[1]}") for each in CASES],
)
def test_every_cut_of_a_run_fits(tour: Tour, layer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(tour.app.parent, tmp_path / "app")
    code = folder / "app.py"
    code.write_text(code.read_text().replace("restate.ext.", layer or "restate.ext."))
    with ModelServer(tour.rules()) as models, quiet_log("restate"):
        for name, value in models.env().items():
            monkeypatch.setenv(name, value)
        monkeypatch.syspath_prepend(str(folder))
        app = load_app(str(code))
        journals = made_by(tour, app, tmp_path / "data")
        asked = len(models.requests)
        outcomes = list(replay_all(app, (cut for journal in journals for cut in cuts_of(journal))))
        assert [each for each in outcomes if not each.fits or each.answers_differ] == []
        assert len(outcomes) == sum(len(journal.entries) for journal in journals) > 5
        assert len(models.requests) == asked


def made_by(tour: Tour, app: Any, folder: Path) -> list[RecordedJournal]:
    """The journals of all runs that the tour's claim takes."""
    service, *key, handler = tour.path.format(key="alice").strip("/").split("/")
    with VirtualEngine(folder) as engine:
        engine.serve(app).call(service, handler, tour.ask(tour.claim), key=key[0] if key else None)
        with local_reading(engine.path, engine.now_ms) as reading:
            runs = reading.find(RunFilter(), dict.fromkeys(STATUSES, 0)).runs
            found = [reading.invocation(invocation_id_from_str(run.id)) for run in runs]
            return [recorded(reading, run, is_rewake=True) for run in found if run is not None]


def cuts_of(journal: RecordedJournal) -> Iterator[RecordedJournal]:
    yield journal
    for length in range(1, len(journal.entries)):
        yield msgspec.structs.replace(journal, status="running", entries=journal.entries[:length])
