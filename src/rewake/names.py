"""Lists of names in messages: some of many, and the one that was probably meant. Bounded, however many there are."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

_SHOWN_MAX: Final = 8
_COMPARED_MAX: Final = 1_000
_COMPARED_CHARS_MAX: Final = 100


def some_of(names: Iterable[str], otherwise: str = "none") -> str:
    """The first names by alphabet, and how many more there are. otherwise: when the list is empty."""
    shown = sorted(names)
    more = f" and {len(shown) - _SHOWN_MAX} more" if len(shown) > _SHOWN_MAX else ""
    return (", ".join(shown[:_SHOWN_MAX]) or otherwise) + more


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name that is most like this one, if one is. None where comparing would take long."""
    if len(name) > _COMPARED_CHARS_MAX or len(known) > _COMPARED_MAX:
        return None
    from difflib import get_close_matches  # here, so that `rewake --help` does not pay for it

    return next(iter(get_close_matches(name, known, n=1)), None)
