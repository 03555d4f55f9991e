"""Prints each traceback of the SDK once, not at every retry.

The first one of a kind is printed, the next ones are not: the engine's log has a line for every attempt, and the run's
page has the traceback. Used in worker processes, where the SDK's loggers write to stderr.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from typing import Final

KINDS_MAX: Final = 1_000
"""Tracebacks that are remembered; after so many others one is printed again."""

_LOGGERS: Final = ("restate.server", "restate.server_context")
_VARYING: Final = re.compile(r"0x[0-9a-f]+|\d+|inv_\w+")


class FirstOfItsKind(logging.Filter):
    """Passes the first record with a traceback of each kind. Ids, addresses and numbers do not make a new kind."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: OrderedDict[int, None] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record` is to be logged."""
        if not record.exc_info or record.exc_info[1] is None:
            return True
        error = record.exc_info[1]
        kind = hash((record.name, type(error), _VARYING.sub("", str(error))))
        if kind in self._seen:
            self._seen.move_to_end(kind)
            return False
        self._seen[kind] = None
        if len(self._seen) > KINDS_MAX:
            self._seen.popitem(last=False)
        return True


def print_tracebacks_once() -> None:
    """Put the filter on the SDK's loggers of this process."""
    first = FirstOfItsKind()
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(first)
