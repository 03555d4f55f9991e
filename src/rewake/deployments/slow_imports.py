"""Says what a long import of the app is at: first after 2 s, then every 3 s, from a thread beside it.

A first start compiles all that the app imports, which takes a while. A file that starts its own server when imported
never gets to the end. Used by worker_main.py, which passes it on to the engine, and by processes that import the app
themselves.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

FIRST_AFTER_S: Final = 2.0
AGAIN_AFTER_S: Final = 3.0
HINT: Final = (
    "A first start compiles what it imports. If this never ends: a file that starts a server when imported needs that "
    "under: if __name__ == '__main__':"
)

Tell = Callable[[dict[str, Any]], object]


@contextlib.contextmanager
def reported(tell: Tell) -> Iterator[None]:
    """Call `tell` with `module`, `after_s` and, the first time, a `hint`, while the body imports for long.

    It is called on another thread, and no more once the body has ended.
    """
    is_done = threading.Event()
    thread = threading.Thread(target=_report, args=(tell, is_done, threading.get_ident()), daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_done.set()
        thread.join()


def _report(tell: Tell, is_done: threading.Event, importer: int) -> None:
    began_s = time.monotonic()
    hint = {"hint": HINT}
    wait_s = FIRST_AFTER_S
    while not is_done.wait(wait_s):
        frame = sys._current_frames().get(importer)
        tell({"module": _module_of(frame), "after_s": round(time.monotonic() - began_s, 1), **hint})
        hint, wait_s = {}, AGAIN_AFTER_S


def _module_of(frame: FrameType | None) -> str:
    """The innermost module whose code runs."""
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            return str(frame.f_globals.get("__name__", ""))
        frame = frame.f_back
    return ""
