"""Large and many: a payload of 10 MB, a journal of 10,000 entries, keys of all Unicode, 1,000 deployments.

Each gives figures for one peer, and the errors: a wrong answer, or a count that does not come out. The handlers are in
app.py, the deployments in many_app.py.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench import processes
from bench.callers import CALLERS_MAX, load
from bench.many_app import MANY_COUNT, prefix, service_name
from bench.npm import PeerError
from bench.peers import Peer, WithApp, await_port, free_port
from bench.unicode_keys import unicode_keys
from bench.works import Spec, awakeable_id

PAYLOAD_BYTES = 10_000_000
PAYLOAD_CALLS = 3
STEP_COUNT = 5_000
ENTRIES_MIN = 2 * STEP_COUNT
AGENT_STEP_COUNT = 1_000
STEP_FIGURES = ("step_at_10_ms", "step_at_1000_ms", "step_at_10000_ms")
CALLS_PER_KEY = 3
PASS_SECONDS_MAX = 90.0
REGISTER_SECONDS_MAX = 20.0
"""Then the rest is left out: the real server takes longer for each one more."""

POLL_SECONDS = 0.05


@dataclass(slots=True, kw_only=True)
class Size:
    """One measurement of one peer. figures: by what they are, the unit at the end of the name."""

    peer: str
    what: str
    figures: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


def payload(peer: Peer) -> Size:
    """Calls with 10 MB in, through one step, and out again; the best of a few, and the memory afterwards."""
    found = Size(peer=peer.name, what="payload")
    text = ("0123456789abcdef" * (PAYLOAD_BYTES // 16 + 1))[: PAYLOAD_BYTES - 2]
    body = json.dumps(text).encode()
    seconds = []
    before_mib = processes.memory_of(peer.processes()).mib
    for _ in range(PAYLOAD_CALLS):
        started = time.perf_counter()
        status, answer = peer.call("POST", "/Sizes/large", body)
        seconds.append(time.perf_counter() - started)
        if status != 200 or json.loads(answer) != text:
            found.errors.append(f"{len(body)} bytes: {status} {answer[:200]!r}")
            return found
    found.figures = {
        "call_s": min(seconds),
        "memory_before_mib": before_mib,
        "memory_after_mib": processes.memory_of(peer.processes()).mib,
    }
    return found


def journal(peer: Peer) -> Size:
    """A run of 5,000 steps, and others that wait behind 5,000 and 1,000 and then go on in a new attempt."""
    found = Size(peer=peer.name, what="journal")
    started = time.perf_counter()
    status, answer = peer.call("POST", "/Sizes/many_steps", str(STEP_COUNT).encode())
    seconds = time.perf_counter() - started
    if (status, answer) != (200, str(STEP_COUNT).encode()):
        found.errors.append(f"{STEP_COUNT} steps: {status} {answer[:200]!r}")
        return found
    status, answer = peer.call("POST", "/Sizes/step_times", str(STEP_COUNT).encode())
    if status != 200:
        raise PeerError(f"{peer.name}: the times of {STEP_COUNT} steps: {status} {answer[:200]!r}")
    step_times = dict(zip(STEP_FIGURES, json.loads(answer), strict=True))
    run = _suspended(peer, STEP_COUNT)
    entry_count = peer.query(f"SELECT COUNT(*) AS n FROM sys_journal WHERE id = '{run}'")[0]["n"]
    if entry_count < ENTRIES_MIN:
        found.errors.append(f"the journal of {STEP_COUNT} steps has {entry_count} entries")
    replay_seconds = _resumed(peer, run, STEP_COUNT, found.errors)
    resume_seconds = _resumed(peer, _suspended(peer, AGENT_STEP_COUNT), AGENT_STEP_COUNT, found.errors)
    found.figures = {
        "entries": entry_count,
        "run_s": seconds,
        "replay_s": replay_seconds,
        "resume_ms": resume_seconds * 1000,
        **step_times,
    }
    return found


def _suspended(peer: Peer, step_count: int) -> str:
    """The id of a run that waits behind so many steps, with no attempt left."""
    status, answer = peer.call("POST", "/Sizes/many_steps_then_wait/send", str(step_count).encode())
    if status != 202:
        raise PeerError(f"{peer.name}: a send of {step_count} steps answered {status} {answer[:200]!r}")
    run: str = json.loads(answer)["invocationId"]
    _await_row(peer, f"SELECT id FROM sys_invocation_status WHERE id = '{run}' AND status = 'suspended'")
    return run


def _resumed(peer: Peer, run: str, step_count: int, errors: list[str]) -> float:
    """Seconds from resolving what the run waits for to its result, which a new attempt gives behind a replay."""
    started = time.perf_counter()
    peer.call("POST", f"/restate/awakeables/{awakeable_id(run)}/resolve", b"7")
    status, answer = peer.call("GET", f"/restate/attach/{run}")
    seconds = time.perf_counter() - started
    if (status, answer) != (200, str(step_count + 7).encode()):
        errors.append(f"after the replay of {step_count} steps: {status} {answer[:200]!r}")
    return seconds


def unicode(peer: Peer) -> Size:
    """Calls on 10,000 keys, each key in turn; its state must be found under that key and no other."""
    found = Size(peer=peer.name, what="unicode")
    keys = unicode_keys()
    count = CALLS_PER_KEY * len(keys)
    outcome = load(
        Spec(
            port=peer.ingress_port,
            work="unicode",
            callers=CALLERS_MAX,
            seconds=PASS_SECONDS_MAX,
            requests_max=count,
        )
    )
    found.errors += outcome.errors
    rows = peer.query("SELECT service_key, value_utf8 FROM state WHERE service_name = 'Counter' AND key = 'count'")
    stored = {row["service_key"]: row["value_utf8"] for row in rows}
    wrong = [key for key in keys if stored.get(key) != str(CALLS_PER_KEY)]
    if wrong or len(stored) != len(keys):
        found.errors.append(f"{len(stored)} keys have state, {len(wrong)} not the right one, as {wrong[:3]!r}")
    found.figures = {"keys": len(keys), "right": len(outcome.latencies_us), "runs_per_s": count / outcome.seconds}
    return found


def deployments(peer: Peer) -> Size:
    """Registers up to 1,000 deployments one by one, calls each, starts the engine again, and calls each again."""
    found = Size(peer=peer.name, what="deployments")
    if not isinstance(peer, WithApp):
        raise PeerError(f"{peer.name} drives nothing over HTTP")
    port = free_port()
    peer.spawn("many", [sys.executable, "-m", "hypercorn", "--bind", f"127.0.0.1:{port}", "bench.many_app:app"])
    await_port(port, time.perf_counter() + PASS_SECONDS_MAX)
    started = time.perf_counter()
    registered = _register(peer, f"http://127.0.0.1:{port}", started + REGISTER_SECONDS_MAX)
    seconds = time.perf_counter() - started
    found.figures = {"registered": registered, "register_s": seconds, "register_each_ms": seconds / registered * 1000}
    names = [service_name(number) for number in range(registered)]
    found.figures["calls_s"] = _call_each(peer, names, found)
    started = time.perf_counter()
    peer.restart_engine()
    last = json.dumps(names[-1]).encode()
    while (answer := peer.call("POST", f"/{names[-1]}/name")) != (200, last):
        if time.perf_counter() > started + PASS_SECONDS_MAX:
            raise PeerError(f"{peer.name}: after the restart, {names[-1]} answers {answer}")
        time.sleep(POLL_SECONDS / 10)
    found.figures["restart_s"] = time.perf_counter() - started
    found.figures["calls_after_restart_s"] = _call_each(peer, names, found)
    return found


MEASUREMENTS: dict[str, Callable[[Peer], Size]] = {"payload": payload, "journal": journal, "unicode": unicode}
"""Of every peer; `deployments` only of one that drives its app over HTTP."""


def lines(sizes: list[Size], titles: Callable[[str], str]) -> list[str]:
    """Each measurement as a line, those of one thing together."""
    by_what: dict[str, list[str]] = {}
    for size in sizes:
        figures = size.figures
        match size.what:
            case "payload":
                text = (
                    f"payload of {PAYLOAD_BYTES / 1e6:.0f} MB in, through a step and out: {_s(figures, 'call_s')}, "
                    f"memory {figures.get('memory_before_mib', 0):.0f} MiB before, "
                    f"{figures.get('memory_after_mib', 0):.0f} after"
                )
            case "journal":
                text = (
                    f"journal of {figures.get('entries', 0):,.0f} entries ({STEP_COUNT:,} steps): "
                    f"run {_s(figures, 'run_s')}, replay of all of it {_s(figures, 'replay_s')}"
                )
                if "resume_ms" in figures:
                    text += f", of {AGENT_STEP_COUNT:,} steps {figures['resume_ms']:.0f} ms"
                if all(name in figures for name in STEP_FIGURES):
                    times = ", ".join(f"{figures[name]:.2f}" for name in STEP_FIGURES)
                    text += f"; a step behind 10, 1,000 and 10,000 entries {times} ms"
            case "unicode":
                text = (
                    f"{figures.get('keys', 0):,.0f} keys of all Unicode: {figures.get('right', 0):,.0f} right answers, "
                    f"{figures.get('runs_per_s', 0):,.0f} runs/s"
                )
            case _:
                text = (
                    f"{figures.get('registered', 0):,.0f} of {MANY_COUNT:,} deployments registered in "
                    f"{_s(figures, 'register_s')} ({figures.get('register_each_ms', 0):.1f} ms each), "
                    f"one call to each {_s(figures, 'calls_s')}, engine started again and answering after "
                    f"{_s(figures, 'restart_s')}, one call to each {_s(figures, 'calls_after_restart_s')}"
                )
        by_what.setdefault(size.what, []).append(f"{titles(size.peer)}: {text}")
    return [line for group in by_what.values() for line in group]


def _s(figures: dict[str, float], name: str) -> str:
    return f"{figures[name]:.2f} s" if name in figures else "failed"


def _register(peer: Peer, address: str, deadline: float) -> int:
    """Registers all, or as many as the time allows; how many that were."""
    with _admin(peer) as connection:
        for number in range(MANY_COUNT):
            if time.perf_counter() > deadline:
                return number
            body = json.dumps({"uri": address + prefix(number)})
            connection.request("POST", "/deployments", body, {"content-type": "application/json"})
            response = connection.getresponse()
            said = response.read()
            if response.status != 201:
                raise PeerError(f"{peer.name}: registration {number} answered {response.status} {said[:300]!r}")
    return MANY_COUNT


@contextmanager
def _admin(peer: Peer) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", peer.admin_port, timeout=PASS_SECONDS_MAX)
    try:
        yield connection
    finally:
        connection.close()


def _call_each(peer: Peer, names: list[str], found: Size) -> float:
    outcome = load(
        Spec(
            port=peer.ingress_port,
            work="many",
            callers=CALLERS_MAX,
            seconds=PASS_SECONDS_MAX,
            requests_max=len(names),
            ids=names,
        )
    )
    found.errors += outcome.errors
    return outcome.seconds


def _await_row(peer: Peer, sql: str) -> None:
    deadline = time.perf_counter() + PASS_SECONDS_MAX
    while not peer.query(sql):
        if time.perf_counter() > deadline:
            raise PeerError(f"{peer.name}: in vain for {PASS_SECONDS_MAX:.0f} s: {sql}")
        time.sleep(POLL_SECONDS)
