"""Programs that ask people, for the crash lab."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from adapter_kit import Program, app_of, mark
from adapter_kit import ask as leave

from rewake.ext.kernel import ApprovalRequest, ask, parallel

SOON: Final = timedelta(milliseconds=120)
LATER: Final = timedelta(milliseconds=300)


async def _first(request: ApprovalRequest) -> None:
    """People answer only when they are reminded."""
    mark(f"{'remind' if request.reminder else 'ask'} {request.question}")
    if request.reminder:
        leave(request.id, {"approved": True, "who": "Ada"})


async def _never(request: ApprovalRequest) -> None:
    mark(f"ask {request.question}")


async def asked(ctx: Any, given: str) -> Any:
    """Two questions side by side, of which one is reminded of and approved; then one that nobody answers."""
    both = await parallel(ask("one", 1, remind=[SOON], notify=_first), ask("two", 2, deadline=LATER, notify=_never))
    last = await ask("three", 3, deadline=SOON, notify=_never)
    return [each.outcome for each in (*both, last)]


PROGRAMS: Final[dict[str, Program]] = {"asked": asked}


def make(codec: Any = None) -> Any:
    """The app. codec: of journal values."""
    return app_of(PROGRAMS, codec)


async def close() -> None:
    """Nothing is open."""
