"""The same plays on Rewake and on the real restate-server, over HTTP/2 and HTTP/1.1, the handlers killed under way.

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
from pydantic_kit import Log
from pydantic_served import PLAYS
from subject import Subject, until

PAIRS: list[tuple[EngineKind, ServerKind]] = [("rewake", "hypercorn"), ("restate", "uvicorn")]
if os.environ.get("REWAKE_ALL_CRASHES"):
    PAIRS += [("rewake", "uvicorn"), ("restate", "hypercorn")]


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Subject, Path]]:
    """An engine, and the file of what ran."""
    kind, server = request.param
    folder = tmp_path_factory.mktemp("desk")
    environment = {"LAB_FOLDER": str(folder), "PYTHONPATH": str(Path(__file__).parent)}
    subject = Subject(
        kind, folder, Service("pydantic_served:app", server, options=(), **environment),
        use_http_11=server in HTTP1_SERVERS,
    )  # fmt: skip
    yield subject, folder / "marks"
    subject.close()


@pytest.mark.parametrize("play", PLAYS)
def test_a_play_over_a_killed_service(play: str, desk: tuple[Subject, Path]) -> None:
    """The right answer; each body ends once, or twice if it was under way at the kill."""
    subject, marks = desk
    marks.unlink(missing_ok=True)
    invocation_id = subject.send(f"Desk/{play}")
    until(marks.exists, lambda: f"something that ran: {subject.invocation(invocation_id)}")
    subject.service.restart()
    given = PLAYS[play](Log())
    assert subject.result(invocation_id) == given.expected
    ended = Counter(line[:-1] for line in marks.read_text().splitlines() if line.endswith("+"))
    assert set(ended) == set(given.ran)
    assert all(given.ran[name] <= count <= given.ran[name] + 1 for name, count in ended.items()), ended
