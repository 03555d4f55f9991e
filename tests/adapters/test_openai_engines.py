"""The same adapter on Rewake and on the real restate-server, over HTTP/2 and HTTP/1.1, handlers killed under way.

Two pairs of engine and transport; the other two as well with REWAKE_ALL_CRASHES=1.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_service import HTTP1_SERVERS, ServerKind, Service
from node_tour import EngineKind
from openai_cases import CASES
from subject import Subject, until

from rewake.testing.models import ModelServer

PAIRS: list[tuple[EngineKind, ServerKind]] = [("rewake", "hypercorn"), ("restate", "uvicorn")]
if os.environ.get("REWAKE_ALL_CRASHES"):
    PAIRS += [("rewake", "uvicorn"), ("restate", "hypercorn")]
ROWS = ("consult", "tools")  # in this order: the rules of the last fit anything


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def desk(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Subject, ModelServer, Path]]:
    """An engine, the model, and the folder of the marks."""
    kind, server = request.param
    folder = tmp_path_factory.mktemp("desk")
    with ModelServer([rule for row in ROWS for rule in CASES[row].rules]) as models:
        environment = models.env() | {"LAB_FOLDER": str(folder), "PYTHONPATH": str(Path(__file__).parent)}
        service = Service("openai_served:app", server, options=(), **environment)
        subject = Subject(kind, folder, service, use_http_11=server in HTTP1_SERVERS)
        yield subject, models, folder
        subject.close()


@pytest.mark.parametrize("row", ROWS)
def test_a_row_over_a_killed_service(row: str, desk: tuple[Subject, ModelServer, Path]) -> None:
    """The right answer; what was stored ran once, what was under way at the kill at most twice."""
    subject, models, folder = desk
    marks = folder / "marks"
    marks.unlink(missing_ok=True)
    models.reset()
    invocation_id = subject.send(f"Desk/{row}", "hello")
    until(marks.exists, lambda: f"a tool that ran: {subject.invocation(invocation_id)}")
    subject.service.restart()
    assert subject.result(invocation_id) == CASES[row].answer
    asked = {rule: models.counts[rule].asked for rule in CASES[row].calls}
    assert asked == CASES[row].calls
    assert {mark: min(count, 1) for mark, count in Counter(marks.read_text().splitlines()).items()} == CASES[row].marks
