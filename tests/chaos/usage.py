"""What engine and workers hold while it storms: memory, descriptors, bytes on disk; and whether that is flat."""

from __future__ import annotations

import contextlib
import statistics
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

import psutil

EVERY_S: Final = 5.0
PARTS: Final = 6
"""The second of so many parts of the time is compared with the last: in the first all is still being filled."""

GROWTH_MAX: Final = 1.1
SPARE: Final = {"memory_mib": 15.0, "descriptors": 8.0, "files_mib": 15.0}
"""What may be added beyond that: a checkpoint's worth of log, a few connections."""


class Sample(NamedTuple):
    """At one moment. memory_mib: resident, of all processes.   files_mib: of the data folder."""

    memory_mib: float
    descriptors: float
    files_mib: float


class Usage:
    """Samples of a process and its children, taken until `stop`."""

    def __init__(self, pid: Callable[[], int], folder: Path) -> None:
        self.samples: list[Sample] = []
        self._pid = pid
        self._folder = folder
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> None:
        """Take no more."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(EVERY_S):
            with contextlib.suppress(psutil.Error, OSError):
                self.samples.append(self._sample())

    def _sample(self) -> Sample:
        engine = psutil.Process(self._pid())
        processes = [engine, *engine.children(recursive=True)]
        return Sample(
            sum(process.memory_info().rss for process in processes) / 2**20,
            sum(process.num_fds() for process in processes),
            sum(path.stat().st_size for path in self._folder.iterdir() if path.is_file()) / 2**20,
        )


def ends_of(samples: list[Sample]) -> tuple[Sample, Sample] | None:
    """Medians of the second and of the last part; None for too few samples."""
    size = len(samples) // PARTS
    return (_median(samples[size : 2 * size]), _median(samples[-size:])) if size else None


def growth_of(samples: list[Sample]) -> list[str]:
    """What is not flat."""
    ends = ends_of(samples)
    if ends is None:
        return []
    return [
        f"{name} grew from {before:.0f} to {after:.0f}"
        for name, before, after in zip(Sample._fields, *ends, strict=True)
        if after > before * GROWTH_MAX + SPARE[name]
    ]


def _median(samples: Iterable[Sample]) -> Sample:
    return Sample(*(statistics.median(values) for values in zip(*samples, strict=True)))
