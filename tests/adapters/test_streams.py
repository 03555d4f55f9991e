"""Streams from end to end: handlers in workers and over HTTP, readers on real sockets, everything killed with -9."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_process import ROOT, WAIT_S, Running, rewake
from http_service import HTTP1_SERVERS, ServerKind, Service
from node_tour import EngineKind
from speaking_app import ANSWER
from subject import Subject

HERE = Path(__file__).parent
TEXT = "".join(ANSWER)
SSE = {"accept": "text/event-stream"}


class Reader:
    """Reads server-sent events, and goes on where it was. text: the deltas that are not void."""

    def __init__(self, port: int, path: str, *, method: str = "GET", secret: str = "") -> None:
        self.path, self.method = path, method
        self.token = {"authorization": f"Bearer {secret}"} if secret else {}
        self.events: list[dict[str, Any]] = []
        self.text = ""
        self.invocation_id = ""
        self.connect(port)

    def connect(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
        headers = SSE | self.token | ({"last-event-id": str(self.events[-1]["offset"])} if self.events else {})
        path = f"/restate/stream/{self.invocation_id}" if self.events else self.path
        self._connection.request("GET" if self.events else self.method, path, headers=headers)
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        self.invocation_id = self._response.headers["x-restate-id"]

    def close(self) -> None:
        self._response.close()
        self._connection.close()

    def until(self, kind: str, text: str | None = None) -> dict[str, Any]:
        """The next event of a type; of deltas the one that completes `text`."""
        while (event := self._next()) is not None:
            self.events.append(event)
            self._take(event)
            if event["type"] == kind and (text is None or self.text == text):
                return event
        raise AssertionError(f"ended before {kind}: {self.events}")

    def rest(self) -> None:
        while (event := self._next()) is not None:
            self.events.append(event)
            self._take(event)

    def _next(self) -> dict[str, Any] | None:
        with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
            while line := self._response.readline():
                if line.startswith(b"data: "):
                    found: dict[str, Any] = json.loads(line[6:])
                    return found
        return None

    def _take(self, event: dict[str, Any]) -> None:
        if event["type"] == "delta":
            self.text += event["data"]
        elif event["type"] == "void" and event.get("steps"):
            self.text = ""

    @property
    def kinds(self) -> list[str]:
        """Types, repeated ones once."""
        found: list[str] = []
        for event in self.events:
            if found[-1:] != [event["type"]]:
                found.append(event["type"])
        return found


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with start(tmp_path) as engine:
        yield engine


def start(folder: Path, *args: str) -> Running:
    return Running("run", HERE / "speaking_app.py", *args, cwd=folder, SPEAKING_FOLDER=str(folder))


def may_say(folder: Path, count: int) -> None:
    made = folder / "words.new"
    made.write_text(str(count))
    made.rename(folder / "words")


def test_a_call_gives_its_events_and_its_result(running: Running) -> None:
    reader = Reader(running.ingress_port, "/Desk/ask", method="POST")
    ended = reader.until("ended")
    assert (ended["outcome"], ended["result"]) == ("result", TEXT + "0")
    assert reader.text == TEXT
    assert reader.kinds == ["started", "step_started", "delta", "step_committed", "ended"]
    reader.rest()
    reader.close()
    again = Reader(running.ingress_port, f"/restate/invocation/{reader.invocation_id}/stream?from={ended['offset']}")
    again.rest()
    assert again.events == [ended]
    again.close()


def test_a_worker_is_killed_in_mid_answer(running: Running) -> None:
    may_say(running.cwd, 4)
    reader = Reader(running.ingress_port, "/Desk/ask", method="POST")
    reader.until("delta", "".join(ANSWER[:4]))
    os.kill(running.worker_pids[0], signal.SIGKILL)
    void = reader.until("void")
    assert reader.text == ""
    may_say(running.cwd, 99)
    assert reader.until("ended")["result"] == TEXT + "0"
    assert reader.text == TEXT
    (committed,) = (event for event in reader.events if event["type"] == "step_committed")
    assert committed["value"] == TEXT
    assert void["from_offset"] > reader.events[0]["offset"]
    reader.close()


def test_engine_and_worker_are_killed_in_mid_answer(tmp_path: Path) -> None:
    may_say(tmp_path, 3)
    with start(tmp_path, "--data", "data") as first:
        reader = Reader(first.ingress_port, "/Desk/ask", method="POST")
        reader.until("delta", "".join(ANSWER[:3]))
        first.process.kill()
        reader.rest()
        reader.close()
    with start(tmp_path, "--data", "data") as second:
        reader.connect(second.ingress_port)
        reader.until("void")
        assert reader.text == ""
        may_say(tmp_path, 99)
        assert reader.until("ended")["result"] == TEXT + "0"
        assert reader.text == TEXT
        offsets = [event["offset"] for event in reader.events]
        assert offsets == sorted(set(offsets))
        reader.close()


def test_a_try_that_fails_in_place_is_void(running: Running) -> None:
    reader = Reader(running.ingress_port, "/Desk/again", method="POST")
    assert reader.until("ended")["result"] == "at last"
    assert reader.text == "never mind at last"
    assert "void" in reader.kinds
    reader.close()


def test_a_reader_that_leaves_stops_nothing_and_a_stop_does(running: Running) -> None:
    reader = Reader(running.ingress_port, "/Desk/wait", method="POST")
    reader.until("started")
    reader.close()
    other = Reader(running.ingress_port, f"/restate/stream/{reader.invocation_id}")
    status, answer = running.call(f"/restate/stop/{reader.invocation_id}")
    assert (status, answer["status"]) == (202, "Stopping")
    assert other.until("ended")["outcome"] == "cancelled"
    other.close()
    status, answer = running.call(f"/restate/stop/{reader.invocation_id}")
    assert (status, answer["status"]) == (202, "AlreadyCompleted")


def test_stopping_the_engine_does_not_wait_for_readers(running: Running) -> None:
    reader = Reader(running.ingress_port, "/Desk/wait", method="POST")
    reader.until("started")
    began = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - began < 4.0  # the grace of open calls is 5 s
    reader.rest()
    reader.close()


def test_nobody_writes_without_the_capability(running: Running) -> None:
    reader = Reader(running.ingress_port, "/Desk/wait", method="POST")
    reader.until("started")
    run = reader.invocation_id
    for capability in ("x", f"{run}.1.{'0' * 32}", f"{run}.1."):
        assert running.call(f"/restate/deltas/{capability}", {"step": "x"})[0] == 404
    reader.close()


def test_handlers_write_without_a_token_and_readers_show_theirs(tmp_path: Path) -> None:
    secret = rewake("tokens", "create", "web", "--role", "call", cwd=tmp_path).stdout.strip()
    limited = rewake("tokens", "create", "limited", "--service", "Desk", cwd=tmp_path).stdout.strip()
    with start(tmp_path, "--require-tokens") as engine:
        reader = Reader(engine.ingress_port, "/Desk/ask", method="POST", secret=secret)
        reader.until("ended")
        assert reader.text == TEXT
        reader.close()
        path = f"/restate/stream/{reader.invocation_id}"
        by_key = "/restate/invocation/Desk/ask/some-key/stream"
        for shown, asked, expected in (("", path, 401), (limited, path, 200), (limited, by_key, 403)):
            connection = http.client.HTTPConnection("127.0.0.1", engine.ingress_port, timeout=WAIT_S)
            connection.request("GET", asked, headers={"authorization": f"Bearer {shown}"} if shown else {})
            assert connection.getresponse().status == expected
            connection.close()


PAIRS: list[tuple[EngineKind, ServerKind]] = [("rewake", "hypercorn"), ("restate", "uvicorn")]


@pytest.mark.parametrize(("kind", "server"), PAIRS, ids=["rewake", "restate"])
def test_over_http_and_on_a_restate_server(kind: EngineKind, server: ServerKind, tmp_path: Path) -> None:
    """The same app: with deltas on Rewake, without on the other, and the same answer."""
    environment = {"SPEAKING_FOLDER": str(tmp_path), "PYTHONPATH": os.pathsep.join([str(HERE), str(ROOT / "src")])}
    service = Service("speaking_app:app", server, options=(), **environment)
    subject = Subject(kind, tmp_path, service, use_http_11=server in HTTP1_SERVERS)
    try:
        if kind == "rewake":
            reader = Reader(subject.ingress_port, "/Desk/ask", method="POST")
            assert reader.until("ended")["result"] == TEXT + "0"
            assert reader.text == TEXT
            reader.close()
        else:
            assert subject.call("Desk/ask").json == TEXT + "0"
            run = subject.send("Desk/ask")
            assert subject.result(run) == TEXT + "0"
            assert subject.ingress("GET", f"/restate/stream/{run}").status in (400, 404)
    finally:
        subject.close()
