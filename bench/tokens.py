"""What an access token costs a call: `python -m bench.tokens` plays the ingress with and without a gate, in pairs.

The engine behind it answers at once, so that only the way of a request is measured, in processor time of the thread;
pairs in turns, so that what else the machine does falls on both.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Final

from tests.unit.ingress.fake_engine import FakeEngine

from rewake.access.gate import Gate
from rewake.access.token_file import TokenFile
from rewake.access.tokens import tokens_in
from rewake.http_server.exchange import CANCELS
from rewake.ingress.api import Ingress
from rewake.ingress.asgi import IngressApp

PAIRS: Final = 400
CALLS: Final = 300
TRIMMED: Final = 0.1
SECRET: Final = "s" * 32
_BODY: Final = {"type": "http.request", "body": b'"ada"', "more_body": False}


def apps(folder: Path) -> dict[str, IngressApp]:
    tokens = TokenFile(folder / "tokens.json", tokens_in(f"web:call:{SECRET}"))
    tokens.refresh()
    return {"without": IngressApp(Ingress(_engine())), "with": IngressApp(Ingress(_engine()), gate=Gate(tokens, _now))}


def _engine() -> Any:
    engine = FakeEngine()
    engine.asked = _Forgets()
    return engine


class _Forgets(list[dict[str, Any]]):
    def append(self, _: dict[str, Any]) -> None: ...


def _now() -> int:
    return 1


def scope(*, shows_token: bool) -> dict[str, Any]:
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"), (b"content-length", b"5")]
    if shows_token:
        headers.append((b"authorization", b"Bearer " + SECRET.encode()))
    path = "/Greeter/greet"
    return {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
            "headers": headers, "root_path": "", "extensions": {CANCELS: {}}}  # fmt: skip


async def microseconds(app: IngressApp, request: dict[str, Any]) -> float:
    """Of one call, the mean of many."""

    async def receive() -> dict[str, Any]:
        return _BODY

    async def send(event: MutableMapping[str, Any]) -> None:
        assert event.get("status", 200) == 200

    began_ns = time.thread_time_ns()
    for _ in range(CALLS):
        await app(request, receive, send)
    return (time.thread_time_ns() - began_ns) / CALLS / 1e3


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        played = apps(Path(folder))
        requests = {name: scope(shows_token=name == "with") for name in played}
        found: dict[str, list[float]] = {name: [] for name in played}
        for pair in range(PAIRS):
            for name in list(played)[:: 1 if pair % 2 else -1]:
                found[name].append(await microseconds(played[name], requests[name]))
    differences = sorted(after - before for before, after in zip(found["without"], found["with"], strict=True))
    cut = int(len(differences) * TRIMMED)
    kept = differences[cut:-cut]
    error = statistics.stdev(kept) / len(kept) ** 0.5
    medians = ", ".join(f"{name} {statistics.median(values):.2f} us" for name, values in found.items())
    print(
        f"a call: {medians}; a token costs {statistics.mean(kept):.2f} us (standard error {error:.2f}, {PAIRS} pairs)"
    )


if __name__ == "__main__":
    asyncio.run(main())
