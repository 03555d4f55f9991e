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
"""Keys that are free but were used lately stay in memory: so many, with state up to this size each."""

STACKTRACE_CHARS_MAX = 32_768
MESSAGE_CHARS_MAX = 8_192
RETRY_DELAY_MS_MAX = 365 * 86_400_000
"""Longest delay before a retry that a handler or a deployment can ask for. A longer one is read as this one."""

LOST_CONNECTIONS_MAX = 10
"""Connections that may break in a row under an invocation which stores nothing new, until they use up its attempts."""

WORKER_KILLS_MAX = 5
"""Workers an invocation may end while it has them for itself and stores nothing new; then it is paused."""

UNKNOWN_CALLEE_ATTEMPTS_MAX = 3
"""Attempts in a row that may call what nobody serves, where all handlers are the app's own: 2 s by default."""

KILLS_PER_COMMAND = 50
"""Invocations of one tree that a command may kill, at about 0.1 ms each; the next command goes on with the rest."""

RETRY_JITTER = 0.3
"""A retry waits up to this share of its delay longer, so that many do not come back at once."""


class Settings(msgspec.Struct, frozen=True):
    """What an operator may choose and the core must know.

    pause_after_alike: pause an invocation when so many attempts in a row ended alike without progress; 0 for never.
    """

    defaults: HandlerOptions = HandlerOptions()
    protocol_version_max: int = 6
    pause_after_alike: int = 0
    journal_entries_max: int = JOURNAL_ENTRIES_MAX
    eager_state_bytes_max: int = EAGER_STATE_BYTES_MAX
    kills_per_command: int = KILLS_PER_COMMAND
    idle_instances_max: int = IDLE_INSTANCES_MAX
    idle_state_bytes_max: int = IDLE_STATE_BYTES_MAX
