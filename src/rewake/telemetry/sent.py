"""What has been sent to the collector: a small file beside the database, so that a restart sends nothing twice.

Holds the moment up to which every completed invocation has been sent, and the ids of those sent that completed right
before or after it. All others in the database were not sent when the engine ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

FILE_NAME: Final = "traces-sent.json"

SLACK_MS: Final = 100
"""Ids are remembered for so long beyond the latest completion, because clocks are set back now and then."""


class _Content(msgspec.Struct):
    until_ms: int
    ids: dict[str, int]


class Sent:
    """Remembers in `directory`. A first start begins at `now_ms`: what completed before is not sent."""

    def __init__(self, directory: Path, now_ms: int) -> None:
        self._path = directory / FILE_NAME
        try:
            content = msgspec.json.decode(self._path.read_bytes(), type=_Content)
            self.is_new = False
        except (OSError, msgspec.MsgspecError):
            content = _Content(until_ms=now_ms, ids={})
            self.is_new = True
        self.until_ms = content.until_ms
        self._recent = {bytes.fromhex(id_): at_ms for id_, at_ms in content.ids.items()}

    def has(self, invocation_id: bytes, completed_at_ms: int) -> bool:
        return self._recent.get(invocation_id) == completed_at_ms

    def add(self, items: Iterable[tuple[bytes, int]]) -> None:
        """These (id, completed_at_ms) have been sent."""
        self._recent.update(items)
        latest_ms = max(self._recent.values(), default=self.until_ms)
        self.until_ms = max(self.until_ms, latest_ms - SLACK_MS)
        self._recent = {id_: at_ms for id_, at_ms in self._recent.items() if at_ms > self.until_ms}
        self.save()

    def save(self) -> None:
        """Replace the file as a whole. A failure is not worth stopping for: then some spans may be sent again."""
        content = _Content(self.until_ms, {id_.hex(): at_ms for id_, at_ms in self._recent.items()})
        part = self._path.with_suffix(".part")
        try:
            part.write_bytes(msgspec.json.encode(content))
            part.chmod(0o600)
            part.replace(self._path)
        except OSError:
            part.unlink(missing_ok=True)
