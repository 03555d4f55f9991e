"""Limits of queues in memory: defaults of settings, in a file that the command line can import quickly."""

from __future__ import annotations

from typing import Final

WAITING_MAX: Final = 100_000
WAITING_PER_SERVICE_MAX: Final = 50_000
"""Queued runs, in all and per service; above them callers get 429. Each needs about 2 KB."""

MESSAGE_MIB: Final = 32
MESSAGE_MIB_MAX: Final = 128
"""MiB of one message of a handler: the default (the public server's), and the largest allowed value."""

OPEN_CALLS_MAX: Final = 10_000
OPEN_MIB_MAX: Final = 512
"""Requests in flight at `rewake run`, and MiB of their bodies; above them callers get 429."""
