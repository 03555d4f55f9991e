"""Crowds: what many runs cost others. 20,000 wait for one key, a run with 4,000 children ends, 10,000 keys are busy.

Of Rewake alone. The handlers are in app.py, the wrong answers among the errors.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bench import processes
from bench.callers import CALLERS_MAX, load
from bench.load import Outcome
from bench.npm import PeerError
from bench.peers import Peer
from bench.report import percentile
from bench.works import Spec

DEPTH: Final = 20_000
TIMED_SENDS: Final = 2_000
CHILDREN: Final = 4_000
KEYS: Final = 10_000
PASS_SECONDS_MAX: Final = 300.0
POLL_SECONDS: Final = 0.1

BESIDE_CALLERS: Final = 4
BESIDE_SECONDS: Final = 4.0
BEFORE_SECONDS: Final = 1.0
"""How long callers run before the tree ends beside them, so that they run well."""


@dataclass(slots=True, kw_only=True)
class Crowd:
    """One measurement. figures: by what they are, the unit at the end of the name."""

    what: str
    figures: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def line(self) -> str:
        """The figures as one line for the reader."""
        return f"{self.what}: " + ", ".join(f"{name} {value:.4g}" for name, value in self.figures.items())


def depth(peer: Peer) -> Crowd:
    """Processor time of one more send behind a key that is held: with nobody before it, and with 20,000."""
    found = Crowd(what=f"sends behind one key, {DEPTH:,} of them")
    _send(peer, "/Crowd/deep/hold/send", 1)
    _await_count(peer, _suspended("Crowd", "hold"), 1)
    behind = ["/Crowd/deep/follow/send"]
    found.figures["first_us"] = _send_us(peer, behind, found)
    filled = _pass(peer, "sends", behind, found, DEPTH)
    found.figures["sends_per_s"] = DEPTH / filled.seconds
    found.figures["last_us"] = _send_us(peer, behind, found)
    return found


def fan_out(peer: Peer) -> Crowd:
    """The 99th percentile of others' calls: alone, and while a run with 4,000 children is cancelled and killed."""
    found = Crowd(what=f"a run with {CHILDREN:,} children")
    found.figures["quiet_p99_ms"] = _beside(peer, found, lambda: None)
    for operation in ("cancel", "kill"):
        started = time.perf_counter()
        run = _send(peer, "/Fan/spread/send", CHILDREN)
        _await_count(peer, _suspended("Fan", "leaf"), CHILDREN)
        found.figures[f"spread_{operation}_s"] = time.perf_counter() - started

        def end(run: str = run, operation: str = operation) -> None:
            status, answer = peer.call("PATCH", f"/invocations/{run}/{operation}", admin=True)
            if status not in (200, 202):
                found.errors.append(f"{operation}: {status} {answer[:200]!r}")

        found.figures[f"{operation}_p99_ms"] = _beside(peer, found, end)
        _await_count(peer, _open("Fan"), 0)
    return found


def busy_keys(peer: Peer) -> Crowd:
    """10,000 keys, each held by a suspended run with another one behind it; then all go on."""
    found = Crowd(what=f"{KEYS:,} busy keys")
    idle_mib = processes.memory_of(peer.processes()).mib
    started = time.perf_counter()
    held = _pass(peer, "sends", [f"/Crowd/key{n}/hold/send" for n in range(KEYS)], found)
    _pass(peer, "sends", [f"/Crowd/key{n}/follow/send" for n in range(KEYS)], found)
    _await_count(peer, _suspended("Crowd", "hold") + " AND target_service_key <> 'deep'", KEYS)
    found.figures["held_s"] = time.perf_counter() - started
    found.figures["held_mib"] = processes.memory_of(peer.processes()).mib - idle_mib
    found.figures["call_beside_p99_ms"] = _beside(peer, found, lambda: None)
    started = time.perf_counter()
    _pass(peer, "resolve", held.ids, found)
    _pass(peer, "attach", held.ids, found)
    _await_count(peer, _open("Crowd") + " AND target_service_key <> 'deep'", 0)
    found.figures["gone_on_s"] = time.perf_counter() - started
    return found


MEASUREMENTS: Final = (depth, fan_out, busy_keys)


def _send(peer: Peer, path: str, number: int) -> str:
    """The id of the run that was sent."""
    status, answer = peer.call("POST", path, str(number).encode())
    if status != 202:
        raise PeerError(f"{path}: {status} {answer[:200]!r}")
    run: str = json.loads(answer)["invocationId"]
    return run


def _pass(peer: Peer, work: str, ids: list[str], found: Crowd, count: int | None = None) -> Outcome:
    """One request for each id, or so many."""
    requests_max = len(ids) if count is None else count
    outcome = load(
        Spec(
            port=peer.ingress_port,
            work=work,
            callers=min(CALLERS_MAX, requests_max),
            seconds=PASS_SECONDS_MAX,
            requests_max=requests_max,
            ids=ids,
        )
    )
    found.errors += outcome.errors
    return outcome


def _send_us(peer: Peer, paths: list[str], found: Crowd) -> float:
    """Processor time of all processes for one send."""
    before = processes.cpu_seconds_of(peer.processes())
    _pass(peer, "sends", paths, found, TIMED_SENDS)
    return (processes.cpu_seconds_of(peer.processes()) - before) / TIMED_SENDS * 1e6


def _beside(peer: Peer, found: Crowd, act: Callable[[], None]) -> float:
    """The 99th percentile of calls of route2 from an act on, in milliseconds."""
    acted_at_ms: list[float] = []

    def once() -> None:
        if not acted_at_ms:
            acted_at_ms.append(time.time() * 1_000)
            act()

    spec = Spec(port=peer.ingress_port, work="route2", callers=BESIDE_CALLERS, seconds=BESIDE_SECONDS)
    outcome = load(spec, once, every_seconds=BEFORE_SECONDS)
    found.errors += outcome.errors
    both = zip(outcome.latencies_us, outcome.answered_at_ms, strict=True)
    return percentile([took_us for took_us, at_ms in both if at_ms >= acted_at_ms[0]], 99) / 1_000


def _suspended(service: str, handler: str) -> str:
    """The condition for suspended runs of a handler."""
    return f"status = 'suspended' AND target_service_name = '{service}' AND target_handler_name = '{handler}'"


def _open(service: str) -> str:
    return f"status <> 'completed' AND target_service_name = '{service}'"


def _await_count(peer: Peer, condition: str, count: int) -> None:
    deadline = time.perf_counter() + PASS_SECONDS_MAX
    while (found := peer.query(f"SELECT COUNT(*) AS n FROM sys_invocation_status WHERE {condition}")[0]["n"]) != count:
        if time.perf_counter() > deadline:
            raise PeerError(f"{peer.name}: {found} in place of {count} after {PASS_SECONDS_MAX:.0f} s: {condition}")
        time.sleep(POLL_SECONDS)
