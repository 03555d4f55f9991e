"""The report of a crash test: one line a play, what it means, as text, JSON and a page."""

from __future__ import annotations

import html
from collections.abc import Mapping
from statistics import median
from typing import Any, Final

import msgspec

from rewake.testing.crash.tap import MISMATCH


class Play(msgspec.Struct):
    """One play with one kill. what: where it was.   has_landed: the process is known to have died of it.

    is_same: the answer is that of a run nobody killed.   repeated: steps that ran again though their result was stored.
    cut_off: steps that ran again since it was not.   mismatches: attempts whose code asked for something else than the
    journal has.   model_calls: requests the model server got, None without one.
    """

    what: str
    answer: Any = None
    has_landed: bool = False
    is_same: bool = False
    is_timed_out: bool = False
    repeated: list[str] = []
    cut_off: list[str] = []
    mismatches: list[str] = []
    recovered_ms: int | None = None
    model_calls: int | None = None

    @property
    def problem(self) -> str:
        """What is wrong, in a few words; empty when nothing is."""
        if self.mismatches:
            return f"the code took another way: {self.mismatches[0]}"
        if self.repeated:
            return f"ran again though stored: {', '.join(self.repeated)}"
        if self.is_timed_out or self.answer is None:
            return "no answer"
        return "" if self.is_same else "another answer"


class Report(msgspec.Struct):
    """All plays of one call. answer: of the run that nobody killed.   is_comparable: two such runs answered alike."""

    call: str
    answer: Any
    is_comparable: bool
    boundaries: int
    model_calls: int | None = None
    plays: list[Play] = []

    @property
    def problems(self) -> list[Play]:
        return [play for play in self.plays if play.problem]

    @property
    def not_landed(self) -> list[Play]:
        return [play for play in self.plays if not play.has_landed]

    @property
    def is_right(self) -> bool:
        return not self.problems

    def facts(self) -> list[tuple[str, str]]:
        """What it comes to, by name."""
        landed = [play for play in self.plays if play.has_landed]
        times = [play.recovered_ms for play in landed if play.recovered_ms is not None]
        cut = [play for play in landed if play.cut_off]
        found = [
            ("boundaries", str(self.boundaries)),
            ("plays", f"{len(self.plays)}, of which {len(landed)} did what they were to do"),
            ("same answer", f"{sum(play.is_same for play in self.plays)} of {len(self.plays)}"),
            ("finished steps repeated", str(sum(len(play.repeated) for play in self.plays))),
            ("steps cut off and run again", f"{len(cut)}: the result was lost before it was stored"),
            ("other way at replay", str(sum(bool(play.mismatches) for play in self.plays))),
        ]
        if times:
            found.append(("time to go on", f"{median(times):.0f} ms at the median, {max(times)} ms at most"))
        if self.model_calls is not None:
            most = max((play.model_calls or 0 for play in self.plays), default=0)
            found.append(("model calls", f"{self.model_calls} without a kill, {most} at most with one"))
        if not self.is_comparable:
            found.append(("note", "two undisturbed runs answered differently: only success is compared"))
        return found

    def as_json(self) -> dict[str, Any]:
        """The whole report for programs."""
        plays = [msgspec.to_builtins(play) | {"problem": play.problem} for play in self.plays]
        told: dict[str, Any] = msgspec.to_builtins(self)
        return told | {"plays": plays, "is_right": self.is_right}

    def as_page(self) -> str:
        """The whole report as one HTML file without anything from elsewhere."""
        facts = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in self.facts())
        rows = "".join(_row(play) for play in self.plays)
        verdict = "Right after every kill" if self.is_right else f"Wrong after {len(self.problems)} kills"
        return _PAGE.format(call=_text(self.call), verdict=verdict, facts=facts, rows=rows)


def mismatch_in(facts: Mapping[str, Any]) -> str | None:
    """How an attempt did not fit its journal, in one line; None when it failed for another reason.

    The SDK reports code 570 for both: an entry that differs, and an await that could not be replayed.
    """
    if facts.get("code") != MISMATCH:
        return None
    message = str(facts.get("message", ""))
    kind = "an await could not be replayed" if "await" in message.lower() else "an entry differs"
    return " ".join([f"{kind}:", *_difference_in(message)])


def _difference_in(message: str) -> list[str]:
    """What the SDK says of the place and the difference, without its advice."""
    lines = [line.strip(" -") for line in message.splitlines()]
    start = next((index for index, line in enumerate(lines) if "happened while" in line), 0)
    return [line for line in lines[start:] if line and line != "Difference:"]


def _row(play: Play) -> str:
    state = play.problem or ("as it should" if play.has_landed else "the boundary was not reached")
    again = ", ".join(play.cut_off) or "-"
    time = "-" if play.recovered_ms is None else f"{play.recovered_ms} ms"
    kind = "bad" if play.problem else ""
    return (
        f'<tr class="{kind}"><td>{_text(play.what)}</td><td>{_text(state)}</td>'
        f"<td>{_text(again)}</td><td>{time}</td></tr>"
    )


def _text(value: str) -> str:
    return html.escape(value)


_PAGE: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Crash test of {call}</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark"><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }}
table {{ border-collapse: collapse; margin: 1rem 0; width: 100% }} th, td {{ text-align: left; padding: .3rem .6rem;
border-bottom: 1px solid #8884; vertical-align: top; overflow-wrap: anywhere }} .bad {{ color: #c22 }}
</style></head><body><h1>Crash test of {call}</h1><p><strong>{verdict}.</strong></p><table>{facts}</table>
<table><tr><th>Kill</th><th>What came of it</th><th>Ran again, cut off</th><th>Went on after</th></tr>{rows}</table>
</body></html>
"""
