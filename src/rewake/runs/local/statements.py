"""Access to the database for the files of this package: the statements of one request, in one transaction."""

from __future__ import annotations

from collections.abc import Callable

import apsw

from rewake.runs.reading import Reading


class Statements(Reading):
    """A Reading that runs statements on the database."""

    def __init__(self, connection: apsw.Connection, now_ms: int) -> None:
        super().__init__(now_ms)
        self.execute = connection.execute
        self._define = connection.create_scalar_function

    def define(self, name: str, function: Callable[..., bool]) -> None:
        """Make a function of one value available to the statements of this request."""
        self._define(name, function, 1, deterministic=True)
