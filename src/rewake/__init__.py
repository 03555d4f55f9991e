"""Rewake: an embedded durable engine for multi-agent systems, wire-compatible with Restate.

    async with rewake.Engine("./data", app) as engine:
        answer = await engine.call("Greeter", "greet", "Ada")

Names are imported when first used, so that `import rewake` and `rewake --help` stay fast. Handlers are written with the
official `restate-sdk`. The map of the code: core/ (the specification), protocol/, store/, engine/, deployments/, then
ingress/, admin/ and cli/ on top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rewake.engine import Engine, EngineOptions, InvocationFailed
    from rewake.errors import RewakeError

__version__: Final = "0.1.0"

__all__ = ["Engine", "EngineOptions", "InvocationFailed", "RewakeError", "__version__"]

_HOMES: Final = {
    "Engine": "rewake.engine",
    "EngineOptions": "rewake.engine",
    "InvocationFailed": "rewake.engine",
    "RewakeError": "rewake.errors",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
