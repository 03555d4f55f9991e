"""Lean imports: libraries without what they load for features that a process of ours does not have.

structlog loads rich for a renderer we do not use, httpx loads its command line with rich, pygments and click: 5 MiB and
0.1 s each. Both do without where that is not installed, so for the time of the import it is not there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """Let importing these fail, as if they were not installed. Modules that are loaded already stay."""
    hidden = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is how import knows a module as missing
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
