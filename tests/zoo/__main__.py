"""Let the crash lab loose on the zoo: it must find each seeded bug and name its cause, and say nothing of sound apps.

python -m tests.zoo [NAME ...] [--write]        all animals, or some; --write stores the scorecard for the docs
python -m tests.zoo --tour [NAME ...]           the sound apps instead, killed at all of their boundaries: no false
                                                alarm, and each kill landed
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec
from tests.zoo.tour import sound_apps

from rewake.testing.crash.boundary import Who
from rewake.testing.crash.lab import crash_everywhere
from rewake.testing.crash.playing import Call
from rewake.testing.crash.report import Play, Report

HERE: Final = Path(__file__).parent
SCORES: Final = HERE / "scorecard.json"
LIMIT: Final = 20
SCHEDULES: Final = 4
TIMEOUT_S: Final = 30


class Score(msgspec.Struct, omit_defaults=True):
    """What the lab said of one app. bug: its first docstring line.   kinds, causes: of a report.

    boundaries: of the undisturbed call; a sound app is killed at each of them.   kills: those that landed.
    """

    name: str
    bug: str
    kinds: list[str]
    causes: list[str]
    said: str
    plays: int
    is_right: bool
    boundaries: int = 0
    kills: int = 0


def expected() -> dict[str, tuple[str, str]]:
    """Of each animal the kind of its problem, and of a likely cause."""
    found = tomllib.loads((HERE / "expected.toml").read_text())
    return {name: (kind, cause) for name, (kind, cause) in found.items()}


def played(name: str, *, limit: int = LIMIT, schedules: int = SCHEDULES, cancels: bool = True) -> tuple[Score, Report]:
    """One animal in the lab."""
    kind, cause = expected()[name]
    app = HERE / "animals" / f"{name}.py"
    call = Call(app=str(app), service="Zoo", handler="go")
    report = crash_everywhere(call, limit=limit, schedules=schedules, cancels=cancels, timeout_s=TIMEOUT_S)
    kinds = {each.split(":")[0] for each in report.causes}
    said = next((play.problem for play in report.problems if play.found[0] == kind), "")
    if kind == "left open":
        said = f"nobody waited for: {', '.join(report.left_open)}"
    is_right = kind in report.kinds and (not cause or cause in kinds)
    bug = app.read_text().splitlines()[0].strip('"')
    score = Score(name, bug, sorted(report.kinds), report.causes, said, len(report.plays), is_right)
    return score, report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.zoo")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--tour", action="store_true")
    parser.add_argument("--limit", type=int, help=f"boundaries at most: {LIMIT} of an animal, all of a sound app")
    parser.add_argument("--engine", action="store_true", help="sound apps: kill the engine, too")
    parser.add_argument("--jobs", type=int, default=2, help="sound apps: plays at the same time")
    options = parser.parse_args()
    if options.tour:
        who: tuple[Who, ...] = ("worker", "engine") if options.engine else ("worker",)
        return tour(options.names, options.limit, options.jobs, who)
    wrong = 0
    for name in options.names or expected():
        began_s = time.monotonic()
        score, _ = played(name, limit=options.limit or LIMIT)
        wrong += not score.is_right
        if options.write:
            write(score)
        told = "found and named" if score.is_right else f"NOT AS EXPECTED: {score.kinds} {score.causes}"
        _say(f"{name:24} {told}, {score.plays} plays, {time.monotonic() - began_s:.0f} s")
        _say(f"{'':24} {score.said[:200]}")
    return int(wrong > 0)


def tour(names: list[str], limit: int | None, jobs: int, who: tuple[Who, ...]) -> int:
    """The sound apps: right after each disturbance, and each kill landed."""
    wrong = 0
    for name, call in sound_apps():
        if names and name not in names:
            continue
        began_s = time.monotonic()
        report = crash_everywhere(
            call, who=who, jobs=jobs, limit=limit, schedules=SCHEDULES, timeout_s=4 * TIMEOUT_S, on_play=_show
        )
        missed = [play.what for play in report.not_landed]
        told = "right"
        if report.kinds:
            told = f"FALSE ALARM: {sorted(report.kinds)} {[f'{play.what}: {play.problem}' for play in report.problems]}"
        elif missed:
            told = f"NOT LANDED: {missed}"
        wrong += told != "right"
        kills = sum(play.has_landed and play.is_kill for play in report.plays)
        _say(f"{name:34} {told}, {report.boundaries} boundaries, {kills} kills, {len(report.plays)} plays")
        _say(f"{'':34} {time.monotonic() - began_s:.0f} s")
        is_right = told == "right"
        kinds = sorted(report.kinds)
        write(Score(name, "", kinds, report.causes, told, len(report.plays), is_right, report.boundaries, kills))
    return int(wrong > 0)


def _show(done: int, of: int, play: Play) -> None:
    """How far a tour has come, on stderr: it takes minutes."""
    print(f"{done} of {of}  {play.what}: {play.problem or 'right'}", file=sys.stderr, flush=True)  # noqa: T201


def stored() -> dict[str, Score]:
    """The scorecard so far."""
    found = json.loads(SCORES.read_text()) if SCORES.exists() else []
    return {each["name"]: msgspec.convert(each, Score) for each in found}


def write(score: Score) -> None:
    """Store one more, for docs/generate.py."""
    scores = stored() | {score.name: score}
    told: list[Any] = [msgspec.to_builtins(scores[name]) for name in sorted(scores)]
    SCORES.write_text(json.dumps(told, indent=1) + "\n")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
