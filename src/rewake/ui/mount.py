"""The UI as routes of the admin app. What it is made of is imported at the first request: nobody else pays for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from rewake.ui.port import LocalEngine


def ui_routes(engine: LocalEngine) -> list[BaseRoute]:
    """Everything under /ui, for `Server(..., admin_routes=ui_routes(engine))`."""
    return [Mount("/ui", app=_Late(engine))]


class _Late:
    """The app, built on a thread when it is first asked for."""

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            self._app = await asyncio.to_thread(self._build)
        await self._app(scope, receive, send)

    def _build(self) -> ASGIApp:
        from rewake.ui.database import reading
        from rewake.ui.ui_app import build_ui

        engine = self._engine
        return build_ui(engine, lambda: reading(engine.path, engine.now_ms(), dict(engine.services)))
