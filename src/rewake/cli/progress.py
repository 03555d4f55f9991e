"""A progress bar on stderr for long commands, if stderr is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

import click

ITEMS_MIN: Final = 20
"""Fewer are done before a bar could be read."""

_Item = TypeVar("_Item")


def with_progress(items: Iterable[_Item], label: str, count: int | None) -> Iterator[_Item]:
    """The items, with a bar that grows as they are taken. count: how many are expected, None when unknown."""
    if not sys.stderr.isatty() or (count is not None and count < ITEMS_MIN):
        yield from items
        return
    with click.progressbar(items, length=count, label=label, file=sys.stderr, show_pos=True) as bar:
        yield from bar
