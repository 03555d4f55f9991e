"""Starts the callers' process (load.py) for one spec, and makes a row of what it brings back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict

from bench import processes
from bench.load import Outcome
from bench.npm import REPOSITORY, PeerError
from bench.peers import Peer
from bench.report import Row, percentile
from bench.works import Spec

CALLERS_MAX = 64
OVERTIME_SECONDS_MAX = 60.0


def load(spec: Spec, sample: Callable[[], None] = lambda: None, every_seconds: float = 60.0) -> Outcome:
    """Runs one spec in a process of its own and calls `sample` every so often while it runs."""
    command = [sys.executable, "-m", "bench.load"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        given: str | None = json.dumps(asdict(spec))
        waited = 0.0
        while True:
            try:
                printed, _ = child.communicate(given, timeout=every_seconds)
                break
            except subprocess.TimeoutExpired:
                given = None
                waited += every_seconds
                sample()
            if waited > spec.seconds + OVERTIME_SECONDS_MAX:
                child.kill()
                raise PeerError(f"the callers of {spec.work} did not end within {waited:.0f} s")
    if child.returncode != 0:
        raise PeerError(f"the callers of {spec.work} ended with code {child.returncode}")
    return Outcome(**json.loads(printed))


def measure(peer: Peer, spec: Spec) -> tuple[Row, Outcome]:
    """One timed row: speed, processor time by role, and memory while the load runs."""
    before = {role: processes.cpu_seconds_of(peer.processes(role)) for role in peer.roles}
    memory_mib = 0.0

    def sample() -> None:
        nonlocal memory_mib
        memory_mib = max(memory_mib, processes.memory_of(peer.processes()).mib)

    # One look at the memory, late in the run: reading it takes the processes' memory locks for some milliseconds.
    outcome = load(spec, sample, every_seconds=spec.seconds * 0.9)
    cores = {
        role: (processes.cpu_seconds_of(peer.processes(role)) - seconds) / outcome.seconds
        for role, seconds in before.items()
    }
    peer.check_alive()
    row = Row(
        peer=peer.name,
        work=spec.work,
        callers=spec.callers,
        runs_per_second=len(outcome.latencies_us) / outcome.seconds,
        median_ms=percentile(outcome.latencies_us, 50) / 1000,
        p99_ms=percentile(outcome.latencies_us, 99) / 1000,
        cores=cores | {"callers": outcome.cpu_seconds / outcome.seconds},
        memory_mib=memory_mib,
        error_count=outcome.error_count,
    )
    return row, outcome
