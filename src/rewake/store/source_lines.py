"""Source lines: the text of the line that made a command, stored once and not in each command's row.

Hosts of handlers add it to commands (protocol/line_field.py). An app has few lines, but each run makes commands with
them, and the text is longer than the rest of most commands. Belongs to the writing connection; the view `journal` and
reader.py put the text back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import apsw

LINES_MAX: Final = 10_000
"""Lines that are stored apart; they stay when their entries go. A new one after them stays in its command."""


class SourceLines:
    """Ids of the fields with lines."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._execute: Callable[..., apsw.Cursor] = connection.execute
        self._ids: dict[bytes, int] | None = None

    def id_of(self, field: bytes) -> int | None:
        """The id of a field; a new one is stored. None if there are too many."""
        ids = self._ids
        if ids is None:
            ids = self._ids = dict(self._execute("select field, id from source_line"))
        found = ids.get(field)
        if found is None and len(ids) < LINES_MAX:
            found = ids[field] = len(ids) + 1
            self._execute("insert into source_line (id, field) values (?, ?)", (found, field))
        return found

    def undone(self) -> None:
        """After a rollback: what is stored is read again."""
        self._ids = None
