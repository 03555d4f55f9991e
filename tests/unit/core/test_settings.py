"""The numbers that operators and users plan with: a changed one is a change for them."""

from __future__ import annotations

from rewake.core import settings
from rewake.core.model import HandlerOptions
from rewake.core.settings import Settings


def test_limits_in_bytes_and_characters() -> None:
    assert settings.EAGER_STATE_BYTES_MAX == 16_777_216
    assert (settings.KEY_BYTES_MAX, settings.IDEMPOTENCY_KEY_BYTES_MAX) == (4096, 4096)
    assert (settings.STACKTRACE_CHARS_MAX, settings.MESSAGE_CHARS_MAX) == (32_768, 8_192)
    assert (settings.IDLE_INSTANCES_MAX, settings.IDLE_STATE_BYTES_MAX) == (1024, 16_384)


def test_limits_of_retries() -> None:
    assert settings.RETRY_DELAY_MS_MAX == 31_536_000_000
    assert settings.RETRY_JITTER == 0.3
    assert settings.LOST_CONNECTIONS_MAX == 10
    assert settings.WORKER_KILLS_MAX == 5
    assert settings.UNKNOWN_CALLEE_ATTEMPTS_MAX == 3


def test_settings_where_none_are_chosen() -> None:
    chosen = Settings(
        defaults=HandlerOptions(),
        protocol_version_max=6,
        pause_after_alike=0,
        journal_entries_max=100_000,
        eager_state_bytes_max=16_777_216,
        kills_per_command=10,
        idle_instances_max=1024,
        idle_state_bytes_max=16_384,
    )
    assert Settings() == chosen
