"""Limits and defaults of the engine, each with a name and a unit. Sources: http-api.md 6.3, service-protocol.md 5.6."""

from __future__ import annotations

import msgspec

from rewake.core.model import HandlerOptions

PROTOCOL_VERSION_MIN = 5
JOURNAL_ENTRIES_MAX = 100_000
EAGER_STATE_BYTES_MAX = 16 * 1024 * 1024
KEY_BYTES_MAX = 1024 * 4
IDEMPOTENCY_KEY_BYTES_MAX = 1024 * 4
IDLE_INSTANCES_MAX = 1_024
IDLE_STATE_BYTES_MAX = 16 * 1024
"""Recently used free keys stay in memory: at most so many, each with at most this much state."""

STACKTRACE_CHARS_MAX = 32_768
MESSAGE_CHARS_MAX = 8_192
RETRY_DELAY_MS_MAX = 365 * 86_400_000
"""Longest delay before a retry that a handler or a deployment can choose. A longer one is read as this one."""

LOST_CONNECTIONS_MAX = 10
"""Broken connections in a row, without a new entry, after which each further one uses up an attempt."""

WORKER_KILLS_MAX = 5
"""Workers that may die while an invocation runs there alone and stores nothing new; then it is paused."""

UNKNOWN_CALLEE_ATTEMPTS_MAX = 3
"""Attempts in a row that may call an unknown service of a self-contained app: 2 s by default."""

KILLS_PER_COMMAND = 10
"""Invocations of one tree that a command may kill, at about 0.1 ms each; the next command continues.

Others wait for a whole command: a larger number makes their calls slower, a smaller one the kill.
"""

RETRY_JITTER = 0.3
"""A retry waits up to this share of its delay longer, so that many do not come back at once."""


class Settings(msgspec.Struct, frozen=True):
    """Operators' settings for the core.

    pause_after_alike: pause an invocation after so many attempts in a row that end alike without progress; 0: never.
    """

    defaults: HandlerOptions = HandlerOptions()
    protocol_version_max: int = 6
    pause_after_alike: int = 0
    journal_entries_max: int = JOURNAL_ENTRIES_MAX
    eager_state_bytes_max: int = EAGER_STATE_BYTES_MAX
    kills_per_command: int = KILLS_PER_COMMAND
    idle_instances_max: int = IDLE_INSTANCES_MAX
    idle_state_bytes_max: int = IDLE_STATE_BYTES_MAX
