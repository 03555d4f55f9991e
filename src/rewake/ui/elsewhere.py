"""The UI as an app of its own, for a server elsewhere: what `rewake ui` serves.

engine_elsewhere.py acts, rewake.runs.elsewhere reads; the pages are the same and keep only caches.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from rewake.runs.elsewhere.reading import Memory, reading_elsewhere
from rewake.runs.reading import Reading
from rewake.ui.engine_elsewhere import EngineElsewhere, ServerElsewhere
from rewake.ui.ui_app import build_ui


def build_ui_elsewhere(server: ServerElsewhere) -> ASGIApp:
    """The UI under /ui, to which / leads."""
    engine, memory = EngineElsewhere(server), Memory()

    def open_reading() -> AbstractContextManager[Reading]:
        return reading_elsewhere(server.url, is_rewake=server.is_rewake, memory=memory)

    pages = build_ui(engine, open_reading, engine.abilities())
    return Starlette(routes=[Route("/", _home), Route("/ui", _home), Mount("/ui", app=pages)])


async def _home(_: Request) -> Response:
    return RedirectResponse("/ui/", 307)
