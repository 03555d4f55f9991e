"""What a run says live, read from the admin API on a thread while `rewake invocations watch` draws it."""

from __future__ import annotations

import http.client
import textwrap
import threading
import time
from typing import Final
from urllib.parse import urlsplit

import msgspec

from rewake.access.credentials import bearer, token_for
from rewake.cli.tables import one_line
from rewake.streams.events import decode
from rewake.streams.live_text import LiveText

LINES_MAX: Final = 8
"""Lines of text for each step that speaks."""

DRAW_PAUSE_S: Final = 0.1
TIMEOUT_S: Final = 60.0


class Following:
    """The text of the steps that speak. A server without streams shows no text."""

    def __init__(self, admin_url: str, invocation_id: str) -> None:
        self._shown = LiveText()
        self._lock = threading.Lock()
        self._news = threading.Event()
        threading.Thread(target=self._read, args=(admin_url, invocation_id), daemon=True).start()

    def wait(self, timeout_s: float) -> None:
        """Wait until something is said, but at least as long as a person needs to look."""
        time.sleep(min(DRAW_PAUSE_S, timeout_s))
        self._news.wait(max(timeout_s - DRAW_PAUSE_S, 0))
        self._news.clear()

    def lines(self, width: int) -> list[str]:
        """The end of what each open step has said so far, under its name."""
        with self._lock:
            said = [(self._shown.names.get(step, ""), text) for step, text in self._shown.texts.items()]
        lines: list[str] = []
        for name, text in said:
            wrapped = [one_line(line) for line in textwrap.wrap(text, max(width - 4, 20))]
            lines += ["", one_line(name), *(f"  {line}" for line in wrapped[-LINES_MAX:])]
        return lines

    def _read(self, admin_url: str, invocation_id: str) -> None:
        parts = urlsplit(admin_url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
        try:
            shown = bearer(token_for(admin_url))
            connection.request("GET", f"{parts.path.rstrip('/')}/invocations/{invocation_id}/stream", headers=shown)
            response = connection.getresponse()
            if response.status != http.HTTPStatus.OK:
                return
            for line in response:
                if line.startswith(b"data: "):
                    with self._lock:
                        self._shown.take(decode(line[6:]))
                    self._news.set()
        except (OSError, http.client.HTTPException, msgspec.DecodeError):
            return  # the timeline goes on without
        finally:
            connection.close()
