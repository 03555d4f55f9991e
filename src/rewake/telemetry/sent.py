"""A small file beside the database that remembers sent invocations, so that a restart sends nothing twice.

It holds a time up to which every completed invocation has been sent, and the ids of sent ones that completed shortly
before or after it. All other completed invocations in the database still have to be sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

FILE_NAME: Final = "traces-sent.json"

SLACK_MS: Final = 100
"""Ids stay in the file for so long after the latest completion, because a clock may be set back."""


class _Content(msgspec.Struct):
    until_ms: int
    ids: dict[str, int]


class SentInvocations:
    """The file in `directory`. At the first start it begins at `now_ms`: earlier completions are not sent."""

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
        """Remember these sent invocations, each (id, completed_at_ms)."""
        self._recent.update(items)
        latest_ms = max(self._recent.values(), default=self.until_ms)
        self.until_ms = max(self.until_ms, latest_ms - SLACK_MS)
        self._recent = {id_: at_ms for id_, at_ms in self._recent.items() if at_ms > self.until_ms}
        self.save()

    def save(self) -> None:
        """Replace the file as a whole. A failure is ignored: at worst some spans are sent again."""
        content = _Content(self.until_ms, {id_.hex(): at_ms for id_, at_ms in self._recent.items()})
        part = self._path.with_suffix(".part")
        try:
            part.write_bytes(msgspec.json.encode(content))
            part.chmod(0o600)
            part.replace(self._path)
        except OSError:
            part.unlink(missing_ok=True)
