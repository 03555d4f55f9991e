"""Tables and lists on a terminal, as plain text.

Columns are as wide as their longest value; on a terminal the widest ones are cut so that a row fits, elsewhere nothing
is cut. No colour: what is printed may be piped. No control characters either: names and results are what agents made of
them, and a terminal would obey.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click

from rewake.printable import printable

GAP: Final = "  "
COLUMN_CHARS_MIN: Final = 8
ELLIPSIS: Final = "…"


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(printable(json.dumps(value, indent=2, ensure_ascii=False)))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table with a head line; None shows as `-`."""
    click.echo("\n".join(table_lines(columns, rows, width_chars=_terminal_width())))


def print_facts(facts: Iterable[tuple[str, Any]], indent: str = "") -> None:
    """Names and values in two columns, without those that are None."""
    shown = [(name, cell(value)) for name, value in facts if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        first, *more = value.splitlines() or [""]
        click.echo(f"{indent}{name:<{width}}{GAP}{first}")
        for line in more:
            click.echo(f"{indent}{'':<{width}}{GAP}{line}")


def table_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, width_chars: int | None = None) -> list[str]:
    """The lines of a table, each at most `width_chars` wide where columns can be cut that far."""
    cells = [[one_line(cell(value)) for value in row] for row in rows]
    widths = [max(len(name), *(len(row[index]) for row in cells), 0) for index, name in enumerate(columns)]
    if width_chars is not None:
        widths = _fitted(widths, columns, width_chars)
    lines = [list(columns), *cells]
    return [
        GAP.join(_cut(text, width).ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def cell(value: Any) -> str:
    """A value as text: `-` for None, yes and no, JSON for lists and objects."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | dict):
        return printable(json.dumps(value, ensure_ascii=False))
    return printable(str(value))


def one_line(text: str) -> str:
    """The text with its line breaks shown."""
    return printable(text).replace("\n", "\\n")


def shortened(text: str, chars_max: int) -> str:
    """The text on one line, cut with an ellipsis when longer."""
    return _cut(one_line(text), chars_max)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + ELLIPSIS


def _fitted(widths: list[int], columns: Sequence[str], width_chars: int) -> list[int]:
    """Take from the widest column until the row fits. Ids stay whole: a cut one is of no use."""
    widths = list(widths)
    elastic = [index for index, name in enumerate(columns) if name not in ("id", "deployment")]
    while elastic and sum(widths) + len(GAP) * (len(widths) - 1) > width_chars:
        widest = max(elastic, key=lambda index: widths[index])
        if widths[widest] <= COLUMN_CHARS_MIN:
            break
        widths[widest] -= 1
    return widths


def _terminal_width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
