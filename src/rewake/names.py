"""Names in messages: the first of a long list, and the name that was probably meant. Bounded for long lists."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

_SHOWN_MAX: Final = 8
_COMPARED_MAX: Final = 1_000
_COMPARED_CHARS_MAX: Final = 100


def some_of(names: Iterable[str], otherwise: str = "none") -> str:
    """The first names by alphabet, and the count of the others. otherwise: for an empty list."""
    shown = sorted(names)
    more = f" and {len(shown) - _SHOWN_MAX} more" if len(shown) > _SHOWN_MAX else ""
    return (", ".join(shown[:_SHOWN_MAX]) or otherwise) + more


def nearest(name: str, known: Collection[str]) -> str | None:
    """The most similar known name, if there is one; None if the comparison would take long."""
    if len(name) > _COMPARED_CHARS_MAX or len(known) > _COMPARED_MAX:
        return None
    from difflib import get_close_matches  # here, so that `rewake --help` does not pay for it

    return next(iter(get_close_matches(name, known, n=1)), None)
