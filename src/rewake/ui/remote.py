"""The UI as an app of its own, for a server elsewhere: what `rewake ui` serves.

remote_engine.py acts, rewake.runs.elsewhere reads; the pages are the same. Nothing is kept here but what they remember.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from rewake.runs.elsewhere.reading import Memory, remote_reading
from rewake.runs.reading import Reading
from rewake.ui.remote_engine import RemoteEngine, Server
from rewake.ui.ui_app import build_ui


def build_remote_ui(server: Server) -> ASGIApp:
    """The UI under /ui, to which / leads."""
    engine, memory = RemoteEngine(server), Memory()

    def open_reading() -> AbstractContextManager[Reading]:
        return remote_reading(server.url, is_rewake=server.is_rewake, memory=memory)

    pages = build_ui(engine, open_reading, engine.abilities())
    return Starlette(routes=[Route("/", _home), Route("/ui", _home), Mount("/ui", app=pages)])


async def _home(_: Request) -> Response:
    return RedirectResponse("/ui/", 307)
