"""An engine with runs of every kind, and `rewake ui` in front of it, for the tests of the UI of a server elsewhere.

The engine is Rewake or the real restate-server (node_tour.py); the app is ui_elsewhere_app.py behind hypercorn. Pages
are asked for as JSON, forms are sent as a browser sends them.
"""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from cli_process import Running
from node_tour import HYPERCORN, Engine, EngineKind, Process, free_port, make_engine, until

HERE = Path(__file__).parent
LATER = "1h"
WAIT_S = 20.0


class Pages:
    """The UI that listens on a port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._token = ""

    def ask(self, method: str, path: str, fields: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        """Status, text and where it leads."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        try:
            connection.request(method, f"/ui{path}", None if fields is None else urlencode(fields))
            response = connection.getresponse()
            return response.status, response.read().decode(), response.getheader("location") or ""
        finally:
            connection.close()

    def page(self, path: str, **query: str) -> Any:
        """A page as data."""
        status, text, _ = self.ask("GET", f"{path}?{urlencode({**query, 'format': 'json'})}")
        assert status == 200, text
        return json.loads(text)

    def html(self, path: str) -> str:
        status, text, _ = self.ask("GET", path)
        assert status == 200, text
        return text

    def send(self, path: str, **fields: str) -> tuple[int, str, str]:
        """A form, with the token the pages carry."""
        if not self._token:
            found = re.search(r'name="token" value="([0-9a-f]+)"', self.html("/sessions/Desk?key=none"))
            assert found is not None
            self._token = found[1]
        return self.ask("POST", path, {"token": self._token, **fields})

    def act(self, action: str, run_id: str, **fields: str) -> str:
        """An operation on a run; where it leads."""
        status, text, place = self.send("/actions", action=action, run=run_id, back=f"/ui/runs/{run_id}", **fields)
        assert status == 303, text
        return place

    def status(self, run_id: str) -> str:
        status: str = self.page(f"/runs/{run_id}")["run"]["status"]
        return status


class UiStage:
    """kind: of the engine.   runs: ids by what they are.   local: the engine's own UI, when it is a Rewake."""

    def __init__(self, kind: EngineKind, engine: Engine, ui: Running, runs: dict[str, str]) -> None:
        self.kind = kind
        self.engine = engine
        self.runs = runs
        self.made_at_ms = time.time_ns() // 1_000_000
        self.ui = ui
        self.elsewhere = Pages(ui.port)
        self.local = Pages(engine.port)

    def send(self, path: str, body: Any) -> str:
        return send(self.engine, path, body)

    def until_status(self, run_id: str, *statuses: str) -> None:
        until_status(self.engine, run_id, *statuses)


@contextmanager
def ui_staged(folder: Path, kind: EngineKind) -> Iterator[UiStage]:
    """Everything up and every run in the status it keeps."""
    port = free_port()
    command = [*HYPERCORN, "--bind", f"127.0.0.1:{port}", "ui_elsewhere_app:app"]
    app = Process(command, port, folder=HERE, log=folder / "app.log", environment={})
    engine = make_engine(folder, kind)
    try:
        app.start()
        engine.start()
        engine.register(port)
        runs = _make_runs(engine)
        with Running("ui", "--admin", f"http://127.0.0.1:{engine.port}", cwd=folder) as ui:
            yield UiStage(kind, engine, ui, runs)
    finally:
        engine.kill()
        app.kill()


def send(engine: Engine, path: str, body: Any) -> str:
    answer = engine.call(path, body)
    assert answer.status == 202, answer
    return str(answer.body["invocationId"])


def until_status(engine: Engine, run_id: str, *statuses: str) -> None:
    def is_there() -> bool:
        rows = engine.query(f"select status from sys_invocation where id = '{run_id}'")
        return bool(rows) and rows[0]["status"] in statuses

    until(is_there)


def _make_runs(engine: Engine) -> dict[str, str]:
    """One run of every kind, in an order the list can be checked for."""
    runs = {
        "tree": engine.call("/Router/ask", "my car").invocation_id,
        "failed": engine.call("/Router/refuse", "x").invocation_id,
        "retried": engine.call("/Router/flaky", "once").invocation_id,
        "killed": send(engine, "/Router/broken/send", "killed"),
        "paused": send(engine, "/Router/broken/send", "paused"),
        "approval": send(engine, "/Desk/a/approve/send", 12),
        "queued": send(engine, "/Desk/a/note/send", "queued"),
        "noted": engine.call("/Desk/b/note", "hello").invocation_id,
        "long": engine.call("/Desk/long/count", 1_100).invocation_id,
        "napping": send(engine, "/Desk/c/nap/send", 3600),
        "scheduled": send(engine, f"/Router/ask/send?delay={LATER}", "later"),
        "promised": send(engine, "/Flow/w/run/send", "waits"),
        "kept": send(engine, "/Flow/k/run/send", "ends"),
    }
    until_status(engine, runs["kept"], "suspended")
    assert engine.call("/Flow/k/go", "now").status == 200
    for name in ("killed", "paused"):
        until_status(engine, runs[name], "backing-off")
    for name, operation in (("killed", "kill"), ("paused", "pause")):
        engine.operate(operation, runs[name])
    settled = {"paused": "paused", "killed": "completed", "kept": "completed"}
    settled |= dict.fromkeys(("approval", "napping", "promised"), "suspended")
    for name, status in settled.items():
        until_status(engine, runs[name], status)
    return runs
