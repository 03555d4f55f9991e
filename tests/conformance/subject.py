"""An engine as one sees it from outside: ingress, admin API, SQL, and the marks its handlers leave.

A Subject is Rewake or the public restate-server, a process with one app registered by URL. Tests that take the fixture
`subject` (conftest.py) run on both. The engine is started once and shared, so whatever a test names (keys, gates,
idempotency keys) comes from `unique`, and marks are kept by invocation. Where the two differ on purpose, `differs`
picks what is expected of the one at hand; differences.toml tells why.
"""

from __future__ import annotations

import itertools
import json
import os
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from http_service import HTTP1_SERVERS, ServerKind, Service
from node_tour import EngineKind, make_engine
from raw_http import Answer, fetch

from rewake.core.ids import awakeable_id_format, invocation_id_from_str

DEADLINE_S = 30.0
FIRST_AWAKEABLE_SIGNAL = 17
POLL_S = 0.01
UNKNOWN_ID = "inv_1aDcgkwRzurf63EjxyzWlE7fxLFXQM1sVg"
JSON = {"content-type": "application/json"}
_Value = TypeVar("_Value")


class Subject:
    """One engine with one app. kind: which engine; service: the process with the app."""

    def __init__(
        self,
        kind: EngineKind,
        folder: Path,
        service: Service,
        *,
        use_http_11: bool = False,
        sweep_interval: str = "1s",
    ) -> None:
        self.kind = kind
        self.folder = folder
        self.service = service
        self.is_full_duplex = not use_http_11  # else each wait ends an attempt
        self.engine = make_engine(folder, kind, **_environment(kind, sweep_interval))
        self.ingress_port, self.admin_port = self.engine.ingress_port, self.engine.port
        self._start()
        answer = self.register(service.uri, use_http_11=use_http_11)
        assert answer.status == 201, answer.body
        self.deployment_id: str = answer.json["id"]
        self._numbers = itertools.count(1)
        self._callers = ThreadPoolExecutor(32, "caller")

    def close(self) -> None:
        """Ends the processes, hard."""
        self.engine.kill()
        self.service.kill()
        self._callers.shutdown(cancel_futures=True)

    def restart(self) -> None:
        """kill -9 of the engine, and a new start on its data."""
        self.engine.kill()
        self._start()

    def differs(self, name: str, *, rewake: _Value, restate: _Value) -> _Value:
        """What is expected of this engine, where the two differ on purpose. name: in differences.toml."""
        return rewake if self.kind == "rewake" else restate

    def unique(self, prefix: str = "k") -> str:
        """A name no other test uses."""
        return f"{prefix}-{next(self._numbers)}-{os.getpid()}"

    # The ingress

    def ingress(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request. body: bytes as they are; anything else but None as JSON, with its content type."""
        return self._request(self.ingress_port, method, path, body, headers)

    def call(
        self,
        target: str,
        body: Any = None,
        *,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Call and wait. target: `Service/handler` or `Service/key/handler`, the key percent-encoded."""
        return self.ingress("POST", f"/{target}", body, _with_key(headers, idempotency_key))

    def calling(self, target: str, body: Any = None, **options: Any) -> Future[Answer]:
        """The same, beside the test."""
        return self._callers.submit(self.call, target, body, **options)

    def send(
        self, target: str, body: Any = None, *, delay: str | None = None, idempotency_key: str | None = None
    ) -> str:
        """Send; the invocation's id."""
        query = "" if delay is None else f"?delay={delay}"
        answer = self.ingress("POST", f"/{target}/send{query}", body, _with_key(None, idempotency_key))
        assert answer.status == 202, answer.body
        invocation_id: str = answer.json["invocationId"]
        return invocation_id

    def attach(self, invocation_id: str) -> Answer:
        """Wait for the result."""
        return self.ingress("GET", f"/restate/attach/{invocation_id}")

    def attaching(self, invocation_id: str) -> Future[Answer]:
        """The same, beside the test."""
        return self._callers.submit(self.attach, invocation_id)

    def output(self, invocation_id: str) -> Answer:
        """The result as of now."""
        return self.ingress("GET", f"/restate/output/{invocation_id}")

    def result(self, invocation_id: str) -> Any:
        """The value it ended with, which may take a while; or `CODE message` of its failure."""
        return outcome(self.attach(invocation_id))

    def resolve(self, awakeable_id: str, value: Any) -> Answer:
        return self.ingress("POST", f"/restate/awakeables/{awakeable_id}/resolve", value)

    def reject(self, awakeable_id: str, reason: str) -> Answer:
        return self.ingress("POST", f"/restate/awakeables/{awakeable_id}/reject", reason.encode())

    # The admin API

    def admin(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request; `body` as in `ingress`."""
        return self._request(self.admin_port, method, path, body, headers)

    def operate(self, invocation_id: str, operation: str, **query: Any) -> Answer:
        """cancel, kill, pause, resume, purge, purge-journal or restart-as-new."""
        asked = f"?{urllib.parse.urlencode(query)}" if query else ""
        return self.admin("PATCH", f"/invocations/{invocation_id}/{operation}{asked}")

    def register(self, uri: str, **options: Any) -> Answer:
        return self.admin("POST", "/deployments", {"uri": uri, **options})

    # SQL

    def query(self, sql: str) -> list[dict[str, Any]]:
        answer = self.admin("POST", "/query", {"query": sql}, {"accept": "application/json"})
        assert answer.status == 200, answer.body
        rows: list[dict[str, Any]] = answer.json["rows"]
        return rows

    def invocation(self, invocation_id: str) -> dict[str, Any] | None:
        """The row of sys_invocation; columns that are null are not in it."""
        rows = self.query(f"SELECT * FROM sys_invocation WHERE id = '{invocation_id}'")
        return rows[0] if rows else None

    def status(self, invocation_id: str) -> str | None:
        found = self.invocation(invocation_id)
        return found["status"] if found else None

    def reaches(self, invocation_id: str, *statuses: str) -> dict[str, Any]:
        """Wait until it has one of these statuses; the row."""

        def there() -> dict[str, Any] | None:
            found = self.invocation(invocation_id)
            return found if found and found["status"] in statuses else None

        return until(there, lambda: f"{statuses}: {self.invocation(invocation_id)}")

    def failing(self, invocation_id: str, code: str) -> dict[str, Any]:
        """Wait until an attempt of it has failed with this code; the row."""

        def there() -> dict[str, Any] | None:
            found = self.invocation(invocation_id)
            return found if found and found.get("last_failure_error_code") == code else None

        return until(there, lambda: f"{code}: {self.invocation(invocation_id)}")

    def waits(self, invocation_id: str, service: str) -> dict[str, Any]:
        """Wait until it stands at a wait: suspended, unless its service keeps the connection for it; the row."""
        return self.reaches(
            invocation_id, "running" if self.is_full_duplex and not service.startswith("Brief") else "suspended"
        )

    def vanishes(self, invocation_id: str) -> None:
        """Wait until nothing is stored of it."""
        until(lambda: self.invocation(invocation_id) is None, lambda: f"gone: {self.invocation(invocation_id)}")

    def journal(self, invocation_id: str) -> list[str]:
        """Its entries: commands as `Run pick`, notifications as `> Run`."""
        rows = self.query(
            f"SELECT index, entry_type, name FROM sys_journal WHERE id = '{invocation_id}' ORDER BY index"
        )
        return [_entry(row["entry_type"], row.get("name")) for row in rows]

    def commands(self, invocation_id: str) -> list[str]:
        """The journal without notifications, whose order may depend on the day."""
        return [entry for entry in self.journal(invocation_id) if not entry.startswith(">")]

    def state(self, service: str, key: str) -> dict[str, bytes]:
        """The stored state of an object or workflow."""
        rows = self.query(f"SELECT key, value FROM state WHERE service_name = '{service}' AND service_key = '{key}'")
        return {row["key"]: bytes.fromhex(row.get("value", "")) for row in rows}

    def children(self, invocation_id: str) -> list[str]:
        """Ids of what it called or sent, in order."""
        rows = self.query(
            "SELECT index, entry_json FROM sys_journal "
            f"WHERE id = '{invocation_id}' AND entry_type = 'Notification: CallInvocationId' ORDER BY index"
        )
        told = [json.loads(row["entry_json"])["Notification"]["Completion"]["CallInvocationId"] for row in rows]
        return [each["invocation_id"] for each in told]

    def has_children(self, invocation_id: str, count: int) -> list[str]:
        """Wait until it has called or sent so many times; the ids."""

        def there() -> list[str] | None:
            found = self.children(invocation_id)
            return found if len(found) >= count else None

        return until(there, lambda: f"{count} children: {self.journal(invocation_id)}")

    # The handlers

    def marks(self, invocation_id: str) -> list[str]:
        """What its handler left, in all its attempts."""
        file = self.folder / "marks" / invocation_id
        return file.read_text().splitlines() if file.exists() else []

    def ran(self, invocation_id: str) -> list[str]:
        """The steps that really ran, each as often as it did."""
        return [mark.removeprefix("ran ") for mark in self.marks(invocation_id) if mark.startswith("ran ")]

    def marked(self, invocation_id: str, prefix: str = "", times: int = 1) -> str:
        """Wait until it has left such a mark so many times; the rest of the last one."""

        def there() -> list[str]:
            lines = [line for line in self.marks(invocation_id) if line.startswith(prefix)]
            return lines if len(lines) >= times else []

        lines = until(there, lambda: f"{prefix}: {self.marks(invocation_id)}, {self.invocation(invocation_id)}")
        return lines[-1].removeprefix(prefix).strip()

    def open_gate(self, name: str) -> None:
        """Let handlers go on that wait for it, now and later."""
        (self.folder / f"open.{name}").touch()

    def _start(self) -> None:
        """Returns when the engine takes operations, which for the public server is after it is healthy."""
        self.engine.start()
        until(lambda: self.operate(UNKNOWN_ID, "cancel").status == 404, lambda: "an answer of the storage")

    def _request(self, port: int, method: str, path: str, body: Any, headers: Mapping[str, str] | None) -> Answer:
        given = dict(headers or {})
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if content is not None and not isinstance(body, bytes):
            given = JSON | given
        return fetch(port, method, path, given, content, timeout_s=DEADLINE_S)


@contextmanager
def running_subject(
    kind: EngineKind,
    folder: Path,
    app: str = "both_app:app",
    server: ServerKind = "hypercorn",
    *,
    sweep_interval: str = "1s",
) -> Iterator[Subject]:
    """An engine with an app; marks and gates are in the folder, which the app finds in REWAKE_TEST_STAGE.

    sweep_interval: how often the engine removes what is past its retention.
    """
    (folder / "marks").mkdir(parents=True)
    service = Service(app, server, REWAKE_TEST_STAGE=str(folder))
    try:
        subject = Subject(kind, folder, service, use_http_11=server in HTTP1_SERVERS, sweep_interval=sweep_interval)
    except BaseException:
        service.kill()
        raise
    try:
        yield subject
    finally:
        subject.close()


def outcome(answer: Answer) -> Any:
    """The value of a call's answer; or `CODE message` of the failure."""
    if answer.status == 200:
        return json.loads(answer.body) if answer.body else None
    return f"{answer.status} {answer.json['message']}"


def first_awakeable(invocation_id: str) -> str:
    """The awakeable an invocation makes first, as its SDK names it."""
    return awakeable_id_format(invocation_id_from_str(invocation_id), FIRST_AWAKEABLE_SIGNAL)


def until(found: Callable[[], _Value | None], told: Callable[[], str]) -> _Value:
    """Wait for what an engine or a handler does by itself; told: what it looks like when it does not."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not (value := found()):
        assert time.monotonic() < deadline_s, f"waited in vain for {told()}"
        time.sleep(POLL_S)
    return value


def _environment(kind: EngineKind, sweep_interval: str) -> dict[str, str]:
    """Settings of the engine. One partition, so that the public server starts in a second."""
    if kind == "rewake":
        return {"REWAKE_CLEANUP_INTERVAL": sweep_interval}
    return {"RESTATE_WORKER__CLEANUP_INTERVAL": sweep_interval, "RESTATE_DEFAULT_NUM_PARTITIONS": "1"}


def _with_key(headers: Mapping[str, str] | None, idempotency_key: str | None) -> dict[str, str]:
    return {**(headers or {}), **({} if idempotency_key is None else {"idempotency-key": idempotency_key})}


def _entry(entry_type: str, name: str | None) -> str:
    family, _, kind = entry_type.partition(": ")
    return f"{kind} {name or ''}".strip() if family == "Command" else f"> {kind}"
