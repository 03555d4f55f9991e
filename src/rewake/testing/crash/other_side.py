"""The other side: a small HTTP server that counts an app's calls. At a call it can have the worker killed.

Apps find its URL in the variable CRASH_TEST_URL; it accepts every POST on every path. Two equal posts with the same
Idempotency-Key count as one act, otherwise as two.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

VARIABLE: Final = "CRASH_TEST_URL"


@dataclass
class OtherSide:
    """The acts so far. acts: (path and body, key), in order.

    on_call(when, what): called `before` and `after` each act, on its thread; True means that the call is lost.
    """

    url: str = ""
    acts: list[tuple[str, str]] = field(default_factory=list)
    on_call: Callable[[str, str], bool] = lambda when, what: False

    def done(self) -> Counter[str]:
        """How often each act happened; equal ones with one key count once."""
        told = dict.fromkeys((what, key or str(number)) for number, (what, key) in enumerate(self.acts))
        return Counter(what for what, _ in told)

    def again(self, before: OtherSide) -> list[str]:
        """Acts that happened more often than without a kill, each with the reason."""
        found = []
        for what, times in self.done().items():
            if times > before.done()[what]:
                keys = {key for each, key in self.acts if each == what}
                found.append(f"{what} with {'no' if keys == {''} else 'another'} idempotency key")
        return found


@contextmanager
def other_side() -> Iterator[OtherSide]:
    """Serve on a free port of loopback."""
    here = OtherSide()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode(errors="replace")
            what, key = f"POST {self.path} {body}".strip(), self.headers.get("idempotency-key") or ""
            if here.on_call("before", what):
                self.close_connection = True
                return
            here.acts.append((what, key))
            here.on_call("after", what)
            said: Any = {"number": len(here.acts) if not key else _first(here, what, key)}
            content = json.dumps(said).encode()
            try:
                self.send_response(200)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # the caller was killed
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _first(here: OtherSide, what: str, key: str) -> int:
    return next(number for number, each in enumerate(here.acts, 1) if each == (what, key))
