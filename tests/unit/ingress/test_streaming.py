"""Streams at the ingress: what is answered to readers, writers and who wants a run to stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.unit.ingress.fake_engine import FakeEngine
from tests.unit.streams.kit import RUN, OneRun

from rewake.core.effects import Reply, ReplyStatus
from rewake.core.ids import invocation_id_to_str
from rewake.http_server.exchange import PATIENT
from rewake.ingress.api import Ingress
from rewake.ingress.message import Request, Response
from rewake.protocol.messages import Success
from rewake.streams.events import Delta, Void
from rewake.streams.sending import OFFSET_DIGITS_MAX, sent_events

ID = invocation_id_to_str(RUN)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[OneRun]:
    with OneRun(tmp_path) as found:
        yield found


def ask(world: OneRun, method: str, target: str, **headers: str) -> tuple[Response, bytes]:
    """The answer, and all of its stream up to the run's end."""
    engine = FakeEngine()
    engine.streams = world.streams
    engine.answer = Reply(0, ReplyStatus.ACCEPTED, RUN)
    path, _, query = target.partition("?")
    given = {name.replace("_", "-"): value for name, value in headers.items()}

    async def main() -> tuple[Response, bytes]:
        response = await Ingress(engine).handle(Request(method, path, query, given, b""))
        pieces = [piece async for piece in response.stream] if response.stream is not None else []
        return response, b"".join(pieces)

    return asyncio.run(main())


def ids_in(body: bytes) -> list[int]:
    return [int(line[4:]) for line in body.splitlines() if line.startswith(b"id: ")]


def test_a_run_is_read_from_any_place(world: OneRun) -> None:
    world.begin()
    world.command("Look up", 1)
    world.result(1, b"1")
    world.end(Success(b"1"))
    response, body = ask(world, "GET", f"/restate/stream/{ID}")
    head = dict(response.head)
    assert (response.status, head[b"content-type"]) == (200, b"text/event-stream; charset=utf-8")
    assert (head[b"x-restate-id"], body.startswith(b"retry: 1000\n\n")) == (ID.encode(), True)
    ids = ids_in(body)
    assert len(ids) == 4
    for path in (f"/restate/invocation/{ID}/stream", f"/restate/stream/{ID}?from=0"):
        assert ids_in(ask(world, "GET", path)[1]) == ids
    assert ids_in(ask(world, "GET", f"/restate/stream/{ID}?from={ids[2]}")[1]) == ids[2:]
    assert ids_in(ask(world, "GET", f"/restate/stream/{ID}?from=0", last_event_id=str(ids[1]))[1]) == ids[2:]
    assert ask(world, "GET", f"/restate/stream/{ID}", last_event_id=str(ids[-1]))[0].status == 204
    for unknown in ("7", str(ids[-1] + 1), "9" * (OFFSET_DIGITS_MAX + 1), "-1", "x"):  # what it has is void
        body = ask(world, "GET", f"/restate/stream/{ID}", last_event_id=unknown)[1]
        assert b'"from_offset":0' in body and ids_in(body)[1:] == ids


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("POST", f"/restate/stream/{ID}", 405),
        ("GET", f"/restate/stream/{ID}?from=x", 400),
        ("GET", f"/restate/stream/{ID}?from={'9' * (OFFSET_DIGITS_MAX + 1)}", 400),
        ("GET", "/restate/stream/inv_x", 400),
        ("GET", "/restate/stream", 400),
        ("GET", f"/restate/stream/{invocation_id_to_str(bytes(24))}", 404),
        ("GET", f"/restate/stop/{ID}", 405),
        ("GET", "/restate/workflow/Flow/k/stream", 404),
        ("GET", "/restate/invocation/Greeter/greet/key/stream", 404),
    ],
)
def test_what_is_refused(world: OneRun, method: str, target: str, status: int) -> None:
    assert ask(world, method, target)[0].status == status


def test_an_engine_that_keeps_no_streams_says_so() -> None:
    response = asyncio.run(Ingress(FakeEngine()).handle(Request("GET", f"/restate/stream/{ID}", "", {}, b"")))
    assert response.status == 501
    assert b"--stream-log-mib" in response.body


def test_a_silent_stream_shows_that_it_is_alive(world: OneRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.streams, "records", partial(world.streams.records, heartbeat_s=0.0))
    world.begin()

    async def main() -> list[bytes]:
        found = []
        async with contextlib.aclosing(sent_events(world.streams, RUN)) as pieces:
            async for piece in pieces:
                found.append(piece)
                if found.count(b":\n\n") == 2 and len(found) == 4:  # the pause, the beginning, two comments
                    world.end(Success(b"1"))
        return found

    assert b'"type":"ended"' in asyncio.run(main())[-1]


def test_a_call_that_accepts_events_gets_them(world: OneRun) -> None:
    world.begin()
    world.end(Success(b'"hi"'))
    response, body = ask(world, "POST", "/Counter/k/add", accept="text/event-stream")
    assert (response.status, b'"outcome":"result","result":"hi"' in body) == (200, True)


class Sender:
    """The body of a writer, in pieces; then its end, or nothing more."""

    def __init__(self, *pieces: bytes, is_whole: bool = True) -> None:
        self.pieces = list(pieces)
        self.is_whole = is_whole

    async def receive(self) -> dict[str, Any]:
        if self.pieces:
            piece = self.pieces.pop(0)
            more = bool(self.pieces) or not self.is_whole
            return {"type": "http.request", "body": piece, "more_body": more}
        return {"type": "http.disconnect"}


def write(world: OneRun, sender: Sender, capability: str | None = None, method: str = "POST") -> tuple[int, list[bool]]:
    """The status, and whether the request may take its time."""
    engine = FakeEngine()
    engine.streams = world.streams
    patient: list[bool] = []
    scope = {"method": method, "extensions": {PATIENT: lambda: patient.append(True)}}
    found = world.streams.capability(RUN, world.epoch) if capability is None else capability
    response = asyncio.run(Ingress(engine).streaming.take(found, scope, sender.receive))
    return response.status, patient


def test_a_writer_that_is_let_in_may_take_its_time_and_ends_well_or_is_cut(world: OneRun) -> None:
    world.begin()
    world.command("Desk: model", 1)
    assert write(world, Sender(b'{"step": "Desk', b': model"}\n"a"\n"', b'b"\n')) == (204, [True])
    events = asyncio.run(world.events())
    assert [event.data for event in events if isinstance(event, Delta)] == ["a", "b"]
    assert write(world, Sender(b'{"step": "Desk: model"}\n"c"\n', is_whole=False)) == (204, [True])
    last = asyncio.run(world.events())[-1]
    assert isinstance(last, Void) and len(last.steps) == 1


def test_a_writer_that_is_not_let_in_gets_no_patience(world: OneRun) -> None:
    world.begin()
    assert write(world, Sender(b'{"step": "x"}\n'), capability="x") == (404, [])
    assert write(world, Sender(b'{"step": "x"}\n'), method="GET") == (405, [])
    assert write(world, Sender(b"[]\n"))[0] == 404
