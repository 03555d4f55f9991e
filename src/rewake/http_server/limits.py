"""What callers of a port may use: bytes, connections, time. One set for every port Rewake opens.

Waiting for an answer has no limit here: a handler may take days. Sending a request slowly and reading an answer slowly
have limits, as both hold memory.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Final

HEAD_BYTES_MAX: Final = 64 * 1024
"""Request line and headers; trailers and the heads of chunks count the same."""

PIPELINED_MAX: Final = 16
"""Requests waiting behind the one being answered; then the socket is not read until they are fewer."""

UNREAD_BYTES_MAX: Final = 256 * 1024
"""Bytes of a request that its app has not taken, above which no more is read."""

UNSENT_BYTES_MAX: Final = 1024 * 1024
"""Bytes of an answer above which its app waits for the caller."""

IDLE_SECONDS_MAX: Final = 300.0
"""Time a connection stays open between two requests."""

READ_SECONDS_MAX: Final = 60.0
"""Longest time for a head, longest pause inside a body; then 408."""

BYTES_PER_SECOND_MIN: Final = 512
"""Least rate of a body once it has taken READ_SECONDS_MAX, and of an answer's way to its caller."""

WRITE_SECONDS_MAX: Final = 60.0
"""Longest time a caller may take less of an answer than the least rate; then the connection is cut."""

LINGER_SECONDS: Final = 2.0
"""After a refusal, how long the rest of the request is thrown away so that its caller can read the refusal."""

LINGER_BYTES_MAX: Final = 2 * 1024 * 1024
"""How many bytes of it are."""

CONNECTIONS_MAX: Final = 16_384
"""Connections of a port, where the process may open enough files."""

FILES_MAX: Final = 65_536
"""Files a process asks the system for at its start, if its hard limit lets it."""

CHECK_SECONDS_MAX: Final = 1.0
"""Time between two looks at the clocks of all connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one port. connections_max: more are answered 503 and closed; None for half of the open files."""

    connections_max: int | None = None
    head_bytes_max: int = HEAD_BYTES_MAX
    idle_s: float = IDLE_SECONDS_MAX
    read_s: float = READ_SECONDS_MAX
    write_s: float = WRITE_SECONDS_MAX
    bytes_per_second_min: int = BYTES_PER_SECOND_MIN

    @property
    def check_s(self) -> float:
        """Time between two looks at the clocks."""
        return min(CHECK_SECONDS_MAX, self.idle_s / 4, self.read_s / 4, self.write_s / 4)


def connections_max(share: float = 0.5) -> int:
    """Connections for a port that may have this share of the files the process may open.

    The rest is for the database, workers and deployments: a flood of callers must not keep a worker from starting.
    """
    try:
        import resource
    except ImportError:  # not on Windows
        return CONNECTIONS_MAX
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if files == resource.RLIM_INFINITY else min(CONNECTIONS_MAX, int(files * share))


def raise_file_limit() -> None:
    """Let this process open as many files as it may, up to FILES_MAX: each caller is one."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
