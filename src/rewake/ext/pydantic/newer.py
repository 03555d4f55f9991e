"""Names that Pydantic AI has since 2.68, with stand-ins for older versions, where what they serve does not exist.

Without them a run cannot wait for an external event, and telemetry of replayed work is reported again; a capability
cannot fall back to another model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic_ai.capabilities import ModelFallback
    from pydantic_ai.durable_exec import (
        ExternalEventError,
        ExternalEventWaiter,
        external_event_scope,
        record_durable_unit,
        replay_scope,
    )
else:
    try:
        from pydantic_ai.durable_exec import (
            ExternalEventError,
            ExternalEventWaiter,
            external_event_scope,
            record_durable_unit,
            replay_scope,
        )
    except ImportError:

        class ExternalEventError(Exception):
            """Nobody raises it there."""

        class ExternalEventWaiter:
            """Nobody asks it there."""

        def record_durable_unit(*, executed: bool) -> None:
            """Nobody counts there."""

        @contextmanager
        def external_event_scope(waiter: Any) -> Iterator[None]:
            """Nothing to install."""
            yield

        @contextmanager
        def replay_scope() -> Iterator[None]:
            """Nothing to install."""
            yield

    try:
        from pydantic_ai.capabilities import ModelFallback
    except ImportError:

        class ModelFallback:
            """Nobody makes one there."""


__all__ = [
    "ExternalEventError",
    "ExternalEventWaiter",
    "ModelFallback",
    "external_event_scope",
    "record_durable_unit",
    "replay_scope",
]
