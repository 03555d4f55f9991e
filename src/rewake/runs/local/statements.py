"""What the files of this package ask the database through: statements of one request, in one transaction."""

from __future__ import annotations

from collections.abc import Callable

import apsw

from rewake.runs.reading import Reading


class Statements(Reading):
    """A Reading whose database may be asked directly."""

    def __init__(self, connection: apsw.Connection, now_ms: int) -> None:
        super().__init__(now_ms)
        self.execute = connection.execute
        self._define = connection.create_scalar_function

    def define(self, name: str, function: Callable[..., bool]) -> None:
        """Let the statements of this request use a function of one value."""
        self._define(name, function, 1, deterministic=True)
