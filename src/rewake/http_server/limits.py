"""Limits on callers of a port: bytes, connections, time. One set for every port Rewake opens.

A caller may wait for an answer without limit: a handler may take days. Sending a request slowly and reading an answer
slowly are limited, because both hold memory.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Final

HEAD_BYTES_MAX: Final = 64 * 1024
"""Bytes of request line and headers. The same limit holds for trailers and for the heads of chunks."""

PIPELINED_MAX: Final = 16
"""Requests that may wait behind the one being answered; at this count the socket is not read."""

UNREAD_BYTES_MAX: Final = 256 * 1024
"""Bytes of a request that its app has not received; above it the socket is not read."""

UNSENT_BYTES_MAX: Final = 1024 * 1024
"""Bytes of an answer that the caller has not read; above it the app waits."""

IDLE_SECONDS_MAX: Final = 300.0
"""How long a connection stays open between two requests."""

READ_SECONDS_MAX: Final = 60.0
"""Longest time for a head, and longest pause inside a body; then the answer is 408."""

BYTES_PER_SECOND_MIN: Final = 512
"""Least rate of a body that takes longer than READ_SECONDS_MAX, and least rate of reading an answer."""

WRITE_SECONDS_MAX: Final = 60.0
"""Longest time a caller may read below the least rate; then the connection is cut."""

LINGER_SECONDS: Final = 2.0
"""After a refusal the rest of the request is discarded for so long, so that its caller can read the refusal."""

LINGER_BYTES_MAX: Final = 2 * 1024 * 1024
"""After a refusal at most so many bytes of the request are discarded."""

CONNECTIONS_MAX: Final = 16_384
"""Connections of a port, if the process may open enough files."""

FILES_MAX: Final = 65_536
"""Open files that a process requests at its start, within its hard limit."""

CHECK_SECONDS_MAX: Final = 1.0
"""Time between two checks of all connections for slow callers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one port. connections_max: further ones get 503 and are closed; None: half of the open files."""

    connections_max: int | None = None
    head_bytes_max: int = HEAD_BYTES_MAX
    idle_s: float = IDLE_SECONDS_MAX
    read_s: float = READ_SECONDS_MAX
    write_s: float = WRITE_SECONDS_MAX
    bytes_per_second_min: int = BYTES_PER_SECOND_MIN

    @property
    def check_s(self) -> float:
        """Time between two checks for slow callers."""
        return min(CHECK_SECONDS_MAX, self.idle_s / 4, self.read_s / 4, self.write_s / 4)


def connections_max(share: float = 0.5) -> int:
    """Connections for a port, as this share of the files that the process may open.

    The rest is left to the database, workers and deployments: a flood of callers must not stop a worker from starting.
    """
    try:
        import resource
    except ImportError:  # not on Windows
        return CONNECTIONS_MAX
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if files == resource.RLIM_INFINITY else min(CONNECTIONS_MAX, int(files * share))


def raise_file_limit() -> None:
    """Raise this process's limit of open files, up to FILES_MAX: each caller needs one."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
