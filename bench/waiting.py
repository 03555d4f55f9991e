"""Many invocations that wait on an awakeable: what they cost in memory and on disk, and whether all of them resume.

They are sent, each waits until its handler's inactivity timeout suspends it, then all are resolved and attached to,
and every result is checked. The memory figures are of the peer's whole process tree: idle, at its highest while they
were being taken in, and when all are suspended, at once and after a while of rest.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench import processes
from bench.callers import CALLERS_MAX, load
from bench.load import Outcome
from bench.npm import PeerError
from bench.peers import Peer
from bench.works import Spec

PASS_SECONDS_MAX = 60.0
SECONDS_MAX_EACH = 0.006
"""On top of that, for each of them."""

POLL_SECONDS = 0.25
REST_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What the waiting invocations of one peer cost. Seconds are of each pass, until suspended from the first send."""

    peer: str
    count: int
    idle_mib: float
    highest_mib: float
    suspended_mib: float
    rested_mib: float
    stored_bytes_each: float
    send_seconds: float
    suspended_seconds: float
    resume_seconds: float
    right_count: int
    errors: list[str]

    @property
    def held_bytes_each(self) -> float:
        """Memory above idle for each suspended invocation, caches and allocator's slack included."""
        return (self.rested_mib - self.idle_mib) * processes.BYTES_PER_MIB / self.count

    def line(self) -> str:
        """The figures as one line for the reader."""
        return (
            f"waiting, {self.peer}: {self.count} invocations suspended after {self.suspended_seconds:.1f} s; "
            f"memory {self.idle_mib:.0f} MiB idle, {self.highest_mib:.0f} at most while sending, "
            f"{self.suspended_mib:.0f} suspended, {self.rested_mib:.0f} after {REST_SECONDS:.0f} s of rest "
            f"({self.held_bytes_each:.0f} bytes each above idle); {self.stored_bytes_each:.0f} bytes each on disk; "
            f"{self.right_count} resumed and right in {self.resume_seconds:.1f} s, {len(self.errors)} errors"
        )


def measure(peer: Peer, count: int) -> Waiting:
    """Sends, suspends and resumes `count` invocations on a peer that has just started."""
    idle_mib = memory_mib(peer)
    empty_bytes = stored_bytes(peer)
    started = time.perf_counter()
    sent, highest_mib = _pass(peer, "send_waiting", count)
    if sent.errors:
        raise PeerError(f"{peer.name} refused {sent.error_count} of {count}: {sent.errors[0]}")
    send_seconds = time.perf_counter() - started
    highest_mib = max(highest_mib, await_suspended(peer, count))
    suspended_seconds = time.perf_counter() - started
    suspended_mib = memory_mib(peer)
    time.sleep(REST_SECONDS)
    rested_mib = memory_mib(peer)
    stored = stored_bytes(peer)
    started = time.perf_counter()
    resolved, _ = _pass(peer, "resolve", count, sent.ids)
    attached, _ = _pass(peer, "attach", count, sent.ids)
    return Waiting(
        peer=peer.name,
        count=count,
        idle_mib=idle_mib,
        highest_mib=highest_mib,
        suspended_mib=suspended_mib,
        rested_mib=rested_mib,
        stored_bytes_each=(stored - empty_bytes) / count,
        send_seconds=send_seconds,
        suspended_seconds=suspended_seconds,
        resume_seconds=time.perf_counter() - started,
        right_count=len(attached.latencies_us),
        errors=sent.errors + resolved.errors + attached.errors,
    )


def await_suspended(peer: Peer, count: int) -> float:
    """Returns when all are suspended; gives the highest memory seen on the way."""
    deadline = time.perf_counter() + seconds_max(count)
    highest_mib = suspended_count = 0.0
    while time.perf_counter() < deadline:
        rows = peer.query("SELECT COUNT(*) AS n FROM sys_invocation_status WHERE status = 'suspended'")
        suspended_count = rows[0]["n"]
        if suspended_count == count:
            return highest_mib
        highest_mib = max(highest_mib, memory_mib(peer))
        time.sleep(POLL_SECONDS)
    raise PeerError(f"{peer.name}: {suspended_count} of {count} suspended after {seconds_max(count):.0f} s")


def seconds_max(count: int) -> float:
    """How long one pass may take."""
    return PASS_SECONDS_MAX + count * SECONDS_MAX_EACH


def stored_bytes(peer: Peer) -> int:
    """Bytes of all files in the data folder at this moment, logs of the store included."""
    return sum(path.stat().st_size for path in peer.data.rglob("*") if path.is_file())


def memory_mib(peer: Peer) -> float:
    """Resident memory of all the peer's processes at this moment."""
    return processes.memory_of(peer.processes()).mib


def _pass(peer: Peer, work: str, count: int, ids: list[str] | None = None) -> tuple[Outcome, float]:
    """One request for each invocation; gives the outcome and the highest memory seen."""
    spec = Spec(
        port=peer.ingress_port,
        work=work,
        callers=CALLERS_MAX,
        seconds=seconds_max(count),
        requests_max=count,
        ids=ids or [],
    )
    highest_mib = 0.0

    def sample() -> None:
        nonlocal highest_mib
        highest_mib = max(highest_mib, memory_mib(peer))

    return load(spec, sample, every_seconds=POLL_SECONDS), highest_mib
