"""What a peer's processes cost: memory and processor time of a whole process tree.

Memory is the sum of PSS (pages shared by several processes counted once) where the kernel tells it, which needs Linux
and the right to read `smaps_rollup`, and the sum of RSS elsewhere. Called by peers.py and __main__.py; knows no peer.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

STOP_SECONDS_MAX = 15.0
BYTES_PER_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Resident memory of some processes; `kind` says which sum `mib` is: PSS or RSS."""

    kind: str
    mib: float
    rss_mib: float
    process_count: int


def process_tree(roots: Iterable[int]) -> list[psutil.Process]:
    """The processes with these ids and all their descendants that are alive."""
    tree = []
    for pid in roots:
        try:
            root = psutil.Process(pid)
            tree += [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    return tree


def memory_of(processes: Iterable[psutil.Process]) -> Memory:
    """Resident memory of these processes together."""
    pss_bytes = rss_bytes = count = 0
    kind = "PSS"
    for process in processes:
        try:
            rss = process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        count += 1
        rss_bytes += rss
        pss = _pss_bytes(process.pid)
        kind = kind if pss is not None else "RSS"
        pss_bytes += pss or 0
    chosen_bytes = pss_bytes if kind == "PSS" else rss_bytes
    return Memory(kind=kind, mib=chosen_bytes / BYTES_PER_MIB, rss_mib=rss_bytes / BYTES_PER_MIB, process_count=count)


def cpu_seconds_of(processes: Iterable[psutil.Process]) -> float:
    """Processor seconds, user and system, these processes have used so far."""
    seconds = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds += times.user + times.system
    return seconds


def stop(child: subprocess.Popen[bytes]) -> None:
    """Asks a child and its descendants to end, and ends them when they do not."""
    tree = process_tree([child.pid])
    child.terminate()
    _, alive = psutil.wait_procs([process for process in tree if process.pid != child.pid], timeout=STOP_SECONDS_MAX)
    try:
        child.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended meanwhile
            process.kill()


def _pss_bytes(pid: int) -> int | None:
    """PSS of one process, or None where the kernel does not tell."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)
