"""Programs that start a server when imported, as a `__main__.py` does: the import ends, and gives us their app.

While an app is loaded, the functions of hypercorn and uvicorn that serve an app end the import instead, with the app
they were given. The modules are patched only when a program imports them, so other programs pay nothing.
"""

from __future__ import annotations

import asyncio
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

_run = asyncio.run


class ServerStarted(BaseException):
    """The program has reached its server. app: what it would serve, an ASGI app or the name of one.

    Not an Exception, so that programs that handle failures of their server do not catch it.
    """

    def __init__(self, server: str, app: Any) -> None:
        super().__init__(server)
        self.server, self.app = server, app


def _first(app: Any, *_: Any, **__: Any) -> Any:
    return app


def _of_config(server: Any, *_: Any, **__: Any) -> Any:
    return server.config.app


SERVERS: Final[dict[str, dict[str, Callable[..., Any]]]] = {
    "hypercorn.asyncio": {"serve": _first},
    "uvicorn.server": {"Server.run": _of_config, "Server.serve": _of_config},
}
"""Modules, their functions that serve (`uvicorn.run` calls these), and how to find the app in their arguments."""


@contextmanager
def intercepted() -> Iterator[None]:
    """While this context is open, starting a server raises ServerStarted."""
    undo: list[Callable[[], None]] = []
    finder = _Finder(undo)
    for name in SERVERS.keys() & sys.modules.keys():
        _patch(sys.modules[name], undo)
    sys.meta_path.insert(0, finder)
    if asyncio._get_running_loop() is not None:  # an engine that embeds the app: another thread may run another loop
        undo.append(partial(setattr, asyncio, "run", asyncio.run))
        asyncio.run = _run_beside
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for each in undo:
            each()


class _Finder(importlib.abc.MetaPathFinder):
    """Notices when modules of servers are imported."""

    def __init__(self, undo: list[Callable[[], None]]) -> None:
        self._undo = undo
        self._is_asking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own spec, with its loader wrapped."""
        if fullname not in SERVERS or self._is_asking:
            return None
        self._is_asking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._is_asking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._undo)
        return spec


class _Loader(importlib.abc.Loader):
    """Loads a module as its own loader does, then patches it."""

    def __init__(self, inner: Any, undo: list[Callable[[], None]]) -> None:
        self._inner, self._undo = inner, undo

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the inner loader."""
        found: ModuleType | None = self._inner.create_module(spec)
        return found

    def exec_module(self, module: ModuleType) -> None:
        """As the inner loader; then its servers are stood in for."""
        self._inner.exec_module(module)
        _patch(module, self._undo)


def _patch(module: ModuleType, undo: list[Callable[[], None]]) -> None:
    for name, app_in in SERVERS[module.__name__].items():
        owner: Any = module
        *outer, last = name.split(".")
        for each in outer:
            owner = getattr(owner, each, None)
        if (before := getattr(owner, last, None)) is not None:
            setattr(owner, last, _stand_in(f"{module.__name__.partition('.')[0]}.{name}", app_in))
            undo.append(partial(setattr, owner, last, before))


def _stand_in(server: str, app_in: Callable[..., Any]) -> Callable[..., Any]:
    def serve(*args: Any, **kwargs: Any) -> Any:
        raise ServerStarted(server, app_in(*args, **kwargs))

    return serve


def _run_beside(*args: Any, **kwargs: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(_run, *args, **kwargs).result()
