"""Probe: the lab's worker. It reports acts of a handler outside its journal, and can die inside a step's body.

    python -m rewake.testing.crash.probe --fd N --app REF        orders: JSON in REWAKE_CRASH_PROBE

A replay repeats acts that code does outside of a step, such as writing a file, opening a connection or starting a
process. They are reported with their line. With `traces` it also reports code that can make a replay differ, see
suspects.py. Like life.py it prints facts, one JSON object a line.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from types import FrameType
from typing import Any, Final

import msgspec

from rewake.testing.crash.boundary import Boundary, without_what_varies

VARIABLE: Final = "REWAKE_CRASH_PROBE"
_WRITES: Final = re.compile(r"[wax+]")
_ACTS: Final = {
    "socket.connect": "connects to {1}",
    "subprocess.Popen": "starts {0}",
    "os.system": "starts {0}",
    "os.remove": "removes {0}",
    "os.rename": "renames {0}",
    "os.mkdir": "makes the folder {0}",
    "sqlite3.connect": "opens the database {0}",
}

handler_here: ContextVar[str] = ContextVar("rewake_probe_handler", default="")
body_here: ContextVar[str] = ContextVar("rewake_probe_body", default="")


class Orders(msgspec.Struct, kw_only=True):
    """Orders for the probe. folder: of the app's code.   kill: die in this body.   done: a file to make before that."""

    folder: str
    done: str
    kill: Boundary | None = None
    traces: bool = False


class Probe:
    """The probe of one process."""

    def __init__(self, orders: Orders, say: Callable[[dict[str, Any]], None]) -> None:
        self.orders = orders
        self.say = say
        self._seen: Counter[Boundary] = Counter()

    # The app's code

    def line_here(self) -> str | None:
        """FILE:LINE of the app's innermost frame; None if none of its code is on the stack."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if self.is_own(frame.f_code.co_filename):
                return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
            frame = frame.f_back
        return None

    def is_own(self, file: str) -> bool:
        """Whether a file belongs to the app."""
        return file.startswith(self.orders.folder) and "site-packages" not in file

    def is_outside(self) -> bool:
        """Whether a handler's code runs outside the body of a step."""
        return bool(handler_here.get()) and not body_here.get()

    # Hooks

    def on_audit(self, event: str, args: tuple[Any, ...]) -> None:
        """An audit event: an act of the process is about to happen."""
        if event == "open":
            path, mode, flags = args
            if isinstance(path, int) or not (_WRITES.search(mode or "") or (flags or 0) & (os.O_WRONLY | os.O_RDWR)):
                return
            what = f"writes {Path(os.fsdecode(path)).name}"
        elif event in _ACTS:
            what = _ACTS[event].format(*args)
        else:
            return
        if self.is_outside() and (line := self.line_here()) is not None:
            self.say({"event": "outside", "what": without_what_varies(what), "line": line})

    @contextlib.contextmanager
    def handler(self, target: str) -> Iterator[None]:
        """While a handler's code runs."""
        token = handler_here.set(target)
        try:
            yield
        finally:
            handler_here.reset(token)

    @contextlib.contextmanager
    def body(self, name: str) -> Iterator[None]:
        """While a step's body runs. If ordered, the process dies here."""
        self._pass_boundary(name)
        token = body_here.set(name or "?")
        try:
            yield
        finally:
            body_here.reset(token)

    def _pass_boundary(self, name: str) -> None:
        kind = Boundary("inside", handler_here.get(), without_what_varies(name), 0)
        self._seen[kind] += 1
        here = msgspec.structs.replace(kind, occurrence=self._seen[kind])
        self.say({"event": "boundary", "at": msgspec.to_builtins(here)})
        if here != self.orders.kill or Path(self.orders.done).exists():
            return
        Path(self.orders.done).touch()
        self.say({"event": "killed", "who": "worker", "pids": [os.getpid()]})
        os.kill(os.getpid(), signal.SIGKILL)


def install(probe: Probe) -> None:
    """Hook the SDK in this process, around the hooks of containment.py, and the process's audit events."""
    import restate.server_context
    import restate.vm

    from rewake.deployments.containment import contain

    contain()
    sdk: Any = restate.server_context
    vm_class: Any = restate.vm.VMWrapper
    names: dict[tuple[int, int], str] = {}
    sys_run = vm_class.sys_run
    run_step, run_handler = sdk.ServerInvocationContext.create_run_coroutine, sdk.invoke_handler

    @functools.wraps(sys_run)
    def named(vm: Any, name: str) -> Any:
        run = sys_run(vm, name)
        names[id(vm), run.handle] = name
        return run

    @functools.wraps(run_step)
    def create_run_coroutine(context: Any, handle: int, action: Any, *args: Any, **kwargs: Any) -> Any:
        name = names.pop((id(context.vm), handle), "")
        return run_step(context, handle, _probed(probe, name, action), *args, **kwargs)

    @functools.wraps(run_handler)
    async def invoke_handler(*args: Any, **kwargs: Any) -> Any:
        handler = kwargs["handler"]
        with probe.handler(f"{handler.service_tag.name}/{handler.name}"), _tracing(probe):
            return await run_handler(*args, **kwargs)

    vm_class.sys_run = named
    sdk.ServerInvocationContext.create_run_coroutine = create_run_coroutine
    sdk.invoke_handler = invoke_handler
    sys.addaudithook(probe.on_audit)


def _tracing(probe: Probe) -> contextlib.AbstractContextManager[None]:
    if not probe.orders.traces:
        return contextlib.nullcontext()
    from rewake.testing.crash.suspects import watched_handler

    return watched_handler(probe)


def _probed(probe: Probe, name: str, action: Any) -> Any:
    """A step's action with the probe around it; sync or async like the original."""
    from rewake.testing.crash.suspects import watched_body

    def within() -> contextlib.AbstractContextManager[None]:
        return watched_body(probe, name, action) if probe.orders.traces else contextlib.nullcontext()

    if inspect.iscoroutinefunction(action):

        async def probed_async() -> Any:
            with probe.body(name), within():
                return await action()

        return probed_async

    def probed() -> Any:
        with probe.body(name), within():
            return action()

    return probed


def main() -> int:
    orders = msgspec.json.decode(os.environ[VARIABLE], type=Orders)
    install(Probe(orders, lambda fact: _written(msgspec.json.encode(fact))))
    from rewake.deployments import worker_main

    return worker_main.main()


def _written(line: bytes) -> None:
    with contextlib.suppress(OSError):
        os.write(1, line + b"\n")  # unbuffered: the process may be killed before the next line


if __name__ == "__main__":
    sys.exit(main())
