"""Suspects: lines of a handler's own code that can make a replay differ.

A suspect need not be a fault: a clock may be read for a log line. The lab looks for suspects only after a problem, in
one more play, and names them as likely causes. A profiler finds calls, a comparison finds changed state, and reading
the source finds the rest (a set's order, a bare except).
"""

from __future__ import annotations

import ast
import contextlib
import functools
import pickle
import random
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

_CLOCKS: Final = frozenset({"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "now", "utcnow", "today"})
_MODULES: Final = {"uuid": "random", "random": "random", "secrets": "random"}
_TASKS: Final = frozenset({"gather", "create_task", "ensure_future", "wait", "as_completed"})
_CLOSURE_DEPTH_MAX: Final = 3
_DEPTHS: Final = {"environment": 2}  # os.environ.get calls a method that calls another one
_ENVIRONMENT: Final = frozenset({"__getitem__", "getenv", "get"})


class Probe(Protocol):
    """The methods of probe.py's Probe that are used here."""

    def say(self, fact: dict[str, Any], /) -> None: ...

    def is_own(self, file: str) -> bool: ...

    def is_outside(self) -> bool: ...


@contextlib.contextmanager
def watched_handler(probe: Probe) -> Iterator[None]:
    """Report suspects in a handler's code while it runs outside of steps."""
    own = [module for module in sys.modules.values() if probe.is_own(getattr(module, "__file__", None) or "")]
    before = {module.__name__: _state_of(module) for module in own}
    for module in own:
        for kind, what, line in _read(str(module.__file__)):
            say(probe, kind, what, f"{Path(str(module.__file__)).name}:{line}")
    sys.setprofile(functools.partial(_on_event, probe))
    try:
        yield
    finally:
        sys.setprofile(None)
        for module in own:
            for name, value in _state_of(module).items():
                if before[module.__name__].get(name, value) != value:
                    say(probe, "global", f"the variable {name} changes", Path(str(module.__file__)).name)


@contextlib.contextmanager
def watched_body(probe: Probe, name: str, action: Any) -> Iterator[None]:
    """Report a step's body that changes its arguments, or draws a key that another try would draw differently."""
    before = _given(action)
    outer = sys.getprofile()  # a sync body runs in a thread without a profiler
    sys.setprofile(functools.partial(_on_event, probe))
    try:
        yield
    finally:
        sys.setprofile(outer)
        for label, value in _given(action).items():
            if before.get(label, value) != value:
                say(probe, "mutation", f"step {name!r} changes {label}", "")


def say(probe: Probe, kind: str, what: str, line: str) -> None:
    """Print one suspect, as a fact."""
    probe.say({"event": "suspect", "kind": kind, "what": what, "line": line})


# Calls


def _on_event(probe: Probe, frame: types.FrameType, event: str, arg: Any) -> None:
    if event not in ("call", "c_call"):
        return
    found = _kind_of_c(arg) if event == "c_call" else _kind_of(frame)
    if found is None:
        return
    caller = frame if event == "c_call" else frame.f_back
    for _ in range(_DEPTHS.get(found[0], 0)):
        if caller is not None and not probe.is_own(caller.f_code.co_filename):
            caller = caller.f_back
    if caller is None or not probe.is_own(caller.f_code.co_filename):
        return
    kind, what = found
    if kind == "random" and not probe.is_outside():
        kind = "key"
    elif not probe.is_outside():
        return
    say(probe, kind, what, f"{Path(caller.f_code.co_filename).name}:{caller.f_lineno}")


def _kind_of_c(function: Any) -> tuple[str, str] | None:
    owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    module = getattr(owner, "__name__", "") if isinstance(owner, types.ModuleType) else type(owner).__name__
    if name in _CLOCKS and (module == "time" or getattr(owner, "__module__", "") == "datetime"):
        return "clock", f"{getattr(owner, '__name__', module)}.{name}()"
    if owner is random._inst or name == "urandom":  # random.random() is bound to it
        return "random", f"random.{name}()" if name != "urandom" else "os.urandom()"
    if name == "getpid":
        return "process", "os.getpid()"
    return None


def _kind_of(frame: types.FrameType) -> tuple[str, str] | None:
    module, name = frame.f_globals.get("__name__", ""), frame.f_code.co_name
    if module == "random" and frame.f_locals.get("self") is not random._inst:
        return None  # ctx.random() draws the same numbers at a replay
    if module in _MODULES and not name.startswith("__"):
        return _MODULES[module], f"{module}.{name}()"
    if module == "os" and name in _ENVIRONMENT:
        return "environment", f"os.{'environ' if name == '__getitem__' else name}"
    if module.startswith("asyncio.") and name in _TASKS:
        return "tasks", f"asyncio.{name}()"
    return None


# State


def _state_of(module: types.ModuleType) -> dict[str, Any]:
    return {
        name: fingerprint
        for name, value in vars(module).items()
        if not name.startswith("__") and (fingerprint := _fingerprint(value)) is not None
    }


def _given(action: Any) -> dict[str, Any]:
    """The values that a body shares with its caller: arguments and closed-over variables."""
    found: dict[str, Any] = {}
    for depth in range(_CLOSURE_DEPTH_MAX):
        if isinstance(action, functools.partial):
            found |= {f"argument {number}" + " " * depth: each for number, each in enumerate(action.args, 1)}
            found |= {f"argument {name}": each for name, each in action.keywords.items()}
            action = action.func
            continue
        code = getattr(action, "__code__", None)
        for name, cell in zip(
            getattr(code, "co_freevars", ()), getattr(action, "__closure__", None) or (), strict=False
        ):
            with contextlib.suppress(ValueError):
                found[f"variable {name}"] = cell.cell_contents
        break
    return {label: made for label, value in found.items() if (made := _fingerprint(value)) is not None}


def _fingerprint(value: Any) -> Any:
    """A value that is equal for equal content; None if `value` is not plain data."""
    if isinstance(value, bool | int | float | str | bytes):
        return value
    if callable(value) or isinstance(value, types.ModuleType | type):
        return None
    if not isinstance(value, list | dict | set | tuple) and not hasattr(value, "__dict__"):
        return None
    try:
        return pickle.dumps(value)
    except Exception:  # noqa: BLE001 - whatever it is, it is not data
        return None


# Source


@functools.cache
def _read(file: str) -> tuple[tuple[str, str, int], ...]:
    """(kind, what, line) of the suspects in a source file."""
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return ()
    return tuple(found for node in ast.walk(tree) if (found := _in_source(node)) is not None)


def _in_source(node: ast.AST) -> tuple[str, str, int] | None:
    match node:
        case ast.Set(lineno=line) | ast.SetComp(lineno=line):
            return "set", "a set, whose order is another in each process", line
        case ast.Call(func=ast.Name(id="set" | "frozenset"), lineno=line):
            return "set", "a set, whose order is another in each process", line
        case ast.ExceptHandler(lineno=line) if _swallows(node):
            return "swallowed", f"`except {ast.unparse(node.type) if node.type else ''}` raises nothing", line
    return None


def _swallows(node: ast.ExceptHandler) -> bool:
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    names = {"" if kind is None else ast.unparse(kind).rsplit(".", 1)[-1] for kind in kinds}
    is_wide = bool(names & {"", "BaseException", "Exception", "TerminalError", "CancelledError"})
    return is_wide and not any(isinstance(each, ast.Raise) for each in ast.walk(node))
