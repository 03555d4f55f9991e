"""The report of a crash test, with one line for each play: as text, JSON and a page."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping
from statistics import median
from typing import Any, Final

import msgspec

from rewake.engine.mismatch import USUAL_CAUSES
from rewake.runs.mismatch import AWAIT_NOT_REPLAYED
from rewake.runs.stacktrace import source_line

MISMATCH: Final = "RT0016"


class Play(msgspec.Struct):
    """One play with one kill. what: the boundary.   has_landed: the kill is known to have ended the process.

    is_same: the answer equals that of the undisturbed run.   repeated: steps that ran again although their result was
    stored.   cut_off: steps that ran again because it was not.   mismatches: attempts whose code did not match the
    journal.   model_calls: requests to the model server, None without one.   done_again: acts outside that happened
    again.   effects: of `rewake.ext`, with their last states.   asked_again: models that were asked again although no
    step was cut off.   is_swallowed: the code ignored a cancellation.   is_kill: something was killed.
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
    done_again: list[str] = []
    effects: list[str] = []
    asked_again: bool = False
    is_swallowed: bool = False
    is_kill: bool = False

    @property
    def found(self) -> tuple[str, str]:
        """The problem: its kind, and a few words; both empty without a problem."""
        if self.mismatches:
            return "other way", f"the code took another way: {self.mismatches[0]}"
        if self.repeated:
            return "repeated", f"ran again though stored: {', '.join(self.repeated)}"
        if self.done_again:
            return "done again", f"done again: {', '.join(self.done_again)}"
        if self.asked_again:
            return "model again", "a model was asked again, though no step was cut off"
        if self.is_swallowed:
            return "swallowed", "it was cancelled, and answered as if nothing had been"
        if self.is_timed_out:
            return "no answer", "no answer in time"
        if self.answer is None:
            return "no answer", "no answer"
        return ("", "") if self.is_same else ("other answer", "another answer")

    @property
    def problem(self) -> str:
        """The problem in a few words; empty without one."""
        return self.found[1]


class Report(msgspec.Struct):
    """All plays of one call. answer: of the undisturbed run.   is_comparable: two such runs gave equal answers.

    left_open: steps whose result the code did not await.   causes: likely causes of the problems, with the app's lines.
    """

    call: str
    answer: Any
    is_comparable: bool
    boundaries: int
    model_calls: int | None = None
    plays: list[Play] = []
    left_open: list[str] = []
    causes: list[str] = []

    @property
    def expected(self) -> Any:
        """The answer that each play must give; None if two undisturbed runs differ, so that any success will do."""
        return self.answer if self.is_comparable else None

    @property
    def kinds(self) -> set[str]:
        """The kinds of all problems."""
        return {play.found[0] for play in self.problems} | ({"left open"} if self.left_open else set())

    @property
    def problems(self) -> list[Play]:
        return [play for play in self.plays if play.problem]

    @property
    def not_landed(self) -> list[Play]:
        return [play for play in self.plays if not play.has_landed]

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong. It is wrong, too, when no kill has landed, which proves nothing."""
        kills = [play for play in self.plays if play.is_kill]
        return not self.kinds and (not kills or any(play.has_landed for play in kills))

    def facts(self) -> list[tuple[str, str]]:
        """The totals, by name."""
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
        acts = sum(bool(play.done_again) for play in self.plays)
        found.append(("acts done again", f"after {acts} of {len(self.plays)} plays" if acts else "0"))
        states = Counter(effect for play in self.plays for effect in play.effects)
        if states:
            found.append(("effects", ", ".join(f"{effect} {count} times" for effect, count in sorted(states.items()))))
        if self.left_open:
            found.append(("nobody waited for", ", ".join(self.left_open)))
        found += [("likely cause", cause) for cause in self.causes]
        if times:
            found.append(("time to go on", f"{median(times):.0f} ms at the median, {max(times)} ms at most"))
        if self.model_calls is not None:
            most = max((play.model_calls or 0 for play in self.plays), default=0)
            found.append(("model calls", f"{self.model_calls} without a kill, {most} at most with one"))
        if not self.kinds and not self.is_right:
            found.append(("note", "no kill landed where it should: nothing is proven"))
        if not self.is_comparable:
            found.append(("note", "two undisturbed runs answered differently: only success is compared"))
        return found

    def as_json(self) -> dict[str, Any]:
        """The whole report for programs."""
        plays = [msgspec.to_builtins(play) | {"problem": play.problem} for play in self.plays]
        told: dict[str, Any] = msgspec.to_builtins(self)
        return told | {"plays": plays, "is_right": self.is_right}

    def as_page(self) -> str:
        """The whole report as one self-contained HTML file."""
        facts = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in self.facts())
        rows = "".join(_row(play) for play in self.plays)
        wrong = f"Wrong after {len(self.problems)} kills" if self.kinds else "No kill landed: nothing is proven"
        verdict = "Right after every kill" if self.is_right else wrong
        return _PAGE.format(call=_text(self.call), verdict=verdict, facts=facts, rows=rows)


def mismatch_in(facts: Mapping[str, Any]) -> str | None:
    """A failed attempt's mismatch with its journal, on one line; None if it failed for another reason.

    The SDK reports code 570 for both kinds: an entry that differs, and an await that could not be replayed.
    """
    if facts.get("code") != MISMATCH:
        return None
    message = str(facts.get("message", ""))
    kind = "an await could not be replayed" if AWAIT_NOT_REPLAYED in message else "an entry differs"
    line = source_line(str(facts.get("stacktrace") or ""))
    place = "" if line is None else f" (at {line.file}:{line.line})"
    return " ".join([f"{kind}{place}:", *_difference_in(message)])


def _difference_in(message: str) -> list[str]:
    """The place and the difference in the SDK's message, without its advice: the lab looks for causes itself."""
    lines = [line.strip(" -") for line in message.partition(USUAL_CAUSES)[0].splitlines()]
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
