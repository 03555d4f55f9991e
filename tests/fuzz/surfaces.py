"""Hostile requests to both ports and all pages of a running engine: an answer to each, and never a bug's.

Paths come from the table of the admin API, the pages of the UI and the grammar of the ingress; what is put into them is
hostile. No address in them can be reached: the engine under test never connects anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import tempfile
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import restate
from tests.fuzz.inputs import NUMBERS, text, value

from rewake.engine import Engine
from rewake.server import Server
from rewake.ui import ui_routes

SECONDS_MAX = 20.0


def words(listed: str) -> tuple[str, ...]:
    return tuple(listed.split())


FIELDS = words(
    """
    query uri additional_headers use_http_11 force dry_run public new_state object_key version workflow_key name value
    failure invocation_ids result who why digest journal_retention service key handler target invocationId token
    idempotencyKey action outcome
    """
)
PARAMETERS = words(
    """
    from deployment mode force delay limit-key status order cursor after contains service key at agent time text retain
    overwrite-state after_value next
    """
)
PAGES = words(
    """
    ui/ ui/runs/{id} ui/runs/{id}/agents ui/runs/{id}/step/{n} ui/runs/{id}/compare/{id} ui/sessions ui/sessions/{s}
    ui/services ui/services/{s} ui/services/{s}/{h} ui/deployments ui/approvals ui/approvals/{id} ui/patterns ui/help
    """
)
ADMIN = words(
    """
    health version services services/{s} services/{s}/handlers/{h} services/{s}/openapi services/{s}/state
    services/{s}/promises deployments deployments/{id} invocations/{id} invocations/{id}/{k} invocations/{id}/cancel
    invocations/{id}/restart-as-new invocations/{id}/resume internal/invocations_batch_operations/{k} approvals
    approvals/{id} approvals/{id}/approve approve/{k} query subscriptions kafka-clusters/{k} openapi metrics
    """
)
CALLS = words(
    """
    Desk/ask Desk/ask/send Box/{k}/put Box/{k}/put/send restate/{k}/{id} restate/invocation/{id}/{k} restate/attach
    restate/workflow/{s}/{k}/{k} restate/awakeables/{id}/{k} restate/a/{id}/resolve restate/output restate/lookup
    restate/stream/{id} restate/health restate/stop/{id} {s}/{k}/{h}
    """
)
HEADERS = words(
    """
    content-type accept idempotency-key origin host content-encoding last-event-id traceparent range expect cookie
    x-restate-limit-key authorization x-rewake-token sec-fetch-site
    """
)
VALUES = (*words("application/json */* gzip deflate br text/event-stream 100-continue null 127.0.0.1"), "", "a;b;" * 50)
METHODS = words("GET POST POST PATCH PUT DELETE HEAD OPTIONS")
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress, "": bytes}
KNOWN = {"{s}": ("Desk", "Box"), "{h}": ("ask", "put"), "{n}": ("0", "1")}
UNKNOWN_RUN = "inv_1aDcgkwRzurf63EjxyzWlE7fxLFXQM1sVg"

HANDLERS_OWN, AS_THE_PUBLIC_SERVER = b"x-restate-error-source: invocation", b'"error_code":"RW4014"'
"""A 500 of somebody else: a terminal error, and a question for a result whose body cannot be read."""


def surfaces(rng: Random) -> None:
    """One request, split anywhere: an answer below 500, a handler's own, or what is not there (501, 503)."""
    engine = running()
    port = rng.choice((engine.ingress_port, engine.admin_port))
    path = rng.choice(CALLS if port == engine.ingress_port else (*ADMIN, *PAGES))
    target = "/" + "/".join(_part(rng, part) for part in path.split("/"))
    if rng.random() < 0.5:
        asked = (f"{rng.choice(PARAMETERS)}={quote(_word(rng))}" for _ in range(rng.randrange(1, 4)))
        target += "?" + "&".join(asked)
    answer = ask(port, request(rng, rng.choice((*METHODS, text(rng).upper() or "X")), target), rng)
    status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
    is_known = any(mark in answer for mark in (HANDLERS_OWN, AS_THE_PUBLIC_SERVER))
    assert status < 500 or status in (501, 503) or is_known, answer[:2_000]
    health = ask(engine.admin_port, b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    assert health.startswith(b"HTTP/1.1 200"), (answer[:500], health)


def request(rng: Random, method: str, target: str) -> bytes:
    """Head and body of a request that says how long it is, truly or not."""
    encoding = rng.choice(("", "", "", *ENCODINGS))
    body = ENCODINGS[encoding](_body(rng))
    lines = [f"{method} {target} HTTP/1.1", "host: localhost", "connection: close", f"content-length: {len(body)}"]
    if rng.random() < 0.8:
        lines.append("content-type: application/json")
    lines += [f"content-encoding: {encoding}"] * bool(encoding)
    more = rng.choice((0, 0, 1, 2))
    lines += [f"{rng.choice(HEADERS)}: {rng.choice((*VALUES, _word(rng)))}" for _ in range(more)]
    head = "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n"
    return head + (body if rng.random() < 0.95 else body[: len(body) // 2])


def _body(rng: Random) -> bytes:
    match rng.randrange(8):
        case 0:
            return b"[" * rng.randrange(1, 20_000)
        case 1:
            return b"\x00" * rng.choice((0, 1, 100_000))
        case 2:
            return b'{"a": ' + b"9" * rng.randrange(1, 6_000) + b"}"
        case 3:
            return rng.randbytes(rng.randrange(50))
    fields = {rng.choice(FIELDS): value(rng) for _ in range(rng.randrange(5))}
    fields["uri"] = "no address " + text(rng)
    if rng.random() < 0.3:
        fields["query"] = "select * from " + rng.choice(("sys_invocation", "state", text(rng)))
    return json.dumps(fields).encode()


def _part(rng: Random, part: str) -> str:
    """A part of a path, with something in its place if it stands for something."""
    if not part.startswith("{"):
        return part
    found = rng.choice((*KNOWN.get(part, (UNKNOWN_RUN,)), _word(rng)))
    return quote(found, safe="") if rng.random() < 0.9 else found.replace(" ", "")


def _word(rng: Random) -> str:
    number = rng.choice(NUMBERS)
    return rng.choice((text(rng), str(number), str(-number), "nan", "1e400", "%2e%2e", "a" * 3_000))


def ask(port: int, data: bytes, rng: Random | None = None) -> bytes:
    """All that comes back until the end; nothing where the server hung up."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS_MAX) as wire:
        with contextlib.suppress(ConnectionError):
            while data:
                size = len(data) if rng is None else rng.choice((len(data), rng.randrange(1, len(data) + 1)))
                wire.sendall(data[:size])
                data = data[size:]
            wire.shutdown(socket.SHUT_WR)
        found = b""
        with contextlib.suppress(ConnectionError):
            while piece := wire.recv(65_536):
                found += piece
        return found


class _Running:
    """An engine with both ports and the pages, on a thread."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self._is_up, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        assert self._is_up.wait(SECONDS_MAX)

    async def _main(self) -> None:
        desk, box = restate.Service("Desk"), restate.VirtualObject("Box")

        @desk.handler()
        async def ask(ctx: restate.Context, what: Any) -> Any:
            return what

        @box.handler()
        async def put(ctx: restate.ObjectContext, what: Any) -> None:
            ctx.set("what", what)

        with tempfile.TemporaryDirectory(prefix="rewake-fuzz-") as folder:
            async with Engine(Path(folder) / "data", restate.app([desk, box])) as engine:
                routes = ui_routes(engine)
                async with Server(engine, ingress_port=0, admin_port=0, admin_routes=routes) as self.server:
                    self._is_up.set()
                    await asyncio.to_thread(self._stop.wait)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(3 * SECONDS_MAX)
        assert not self._thread.is_alive()


_running: list[_Running] = []


def running() -> Server:
    """The engine under test, started when it is first asked for; `end_engine` ends it."""
    if not _running:
        _running.append(_Running())
    server = _running[0].server
    assert server is not None
    return server


def end_engine() -> None:
    while _running:
        _running.pop().close()
