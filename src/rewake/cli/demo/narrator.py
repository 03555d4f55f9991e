"""The lines of the demo: when, who, what. Colour only on a terminal and never with NO_COLOR."""

from __future__ import annotations

import os
import sys
import time
from typing import Final

import click

ACTOR_CHARS: Final = 10
_COLORS: Final = {"crash": "red", "decision": "cyan", "handoff": "cyan", "resume": "green", "answer": "green"}


class Narrator:
    """Tells the story on stdout, with the seconds since it began."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._is_colored = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def tell(self, actor: str, text: str) -> None:
        """One event: ` 1.2 s  decision    Pick specialist: ...`. Further lines of `text` are indented below."""
        head, *more = text.splitlines()
        name = f"{actor:<{ACTOR_CHARS}}"
        if self._is_colored:
            name = click.style(name, fg=_COLORS.get(actor), bold=True)
        elapsed = f"{time.monotonic() - self._began_s:5.1f} s"
        self.say(f"{elapsed}  {name}  {head}")
        for line in more:
            self.say(f"{'':<7}  {'':<{ACTOR_CHARS}}  {line}")

    def say(self, text: str = "") -> None:
        """A line without time."""
        click.echo(text)
        sys.stdout.flush()
