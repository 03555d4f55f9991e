"""The UI as routes of the admin app. Its modules are imported at the first request, so that a start stays quick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from rewake.ui.port import LocalEngine


INGRESS_URL: Final = "http://localhost:8080"


def ui_routes(engine: LocalEngine, ingress_url: Callable[[], str] = lambda: INGRESS_URL) -> list[BaseRoute]:
    """Everything under /ui, for `Server(..., admin_routes=ui_routes(engine))`.

    ingress_url: where a terminal would call a handler; asked when the first page is.
    """
    return [Mount("/ui", app=_Late(engine, ingress_url))]


class _Late:
    """The app, built on a thread when it is first asked for."""

    def __init__(self, engine: LocalEngine, ingress_url: Callable[[], str]) -> None:
        self._engine = engine
        self._ingress_url = ingress_url
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            self._app = await asyncio.to_thread(self._build)
        await self._app(scope, receive, send)

    def _build(self) -> ASGIApp:
        from rewake.disclosure import is_hiding
        from rewake.runs.local.database import reading_of
        from rewake.ui.abilities import Abilities
        from rewake.ui.ui_app import build_ui

        engine = self._engine
        abilities = Abilities(ingress=shown_ingress(self._ingress_url()), streams=not is_hiding())
        return build_ui(engine, lambda: reading_of(engine), abilities)


def shown_ingress(url: str) -> str:
    """An address as one gives it to curl."""
    return url.removeprefix("http://").rstrip("/")
