"""Errors of the kernel that a user's code can cause. Each says what happened, why, and what to do.

They are terminal: the same code would fail the same way in each attempt, so the caller gets them at once.
"""

from __future__ import annotations

from restate import TerminalError

Path = tuple[str, ...]


class TurnError(TerminalError):
    """An entry was about to be made by code that does not have the turn: at replay it could fall in another place."""


class CallMissing(TerminalError):
    """A replay waits for a tool call that came in an earlier attempt and does not come now."""


class ArgumentsChanged(TerminalError):
    """A question is open for some arguments, and the code asks it for others now."""


class EffectUnknown(TerminalError):
    """Nobody could say whether an effect was done. It was not done again."""


class AttemptOver(BaseException):
    """The attempt has ended: suspended, disconnected or to be retried. Let it pass.

    Not an Exception, so that no framework takes it for the failure of a tool.
    """


def two_tasks(path: Path) -> TurnError:
    """Two tasks of one branch use the context side by side."""
    return TurnError(
        f"Two tasks use the context side by side in {named(path)}. After a crash their steps could be replayed in "
        "another order. Do not use asyncio.gather, TaskGroup or create_task over steps: run the pieces with "
        "`await parallel(first(), second())` of rewake.ext.kernel, or one after the other."
    )


def beside_pieces(path: Path, pieces: list[str]) -> TurnError:
    """The parent makes a step while calls it asked for still run."""
    return TurnError(
        f"A step was about to be made in {named(path)} while {_listed(pieces)} still ran beside it. After a crash the "
        "two could be replayed in another order. Make the step before these calls start or after they have ended "
        "(hooks and event handlers run beside them), or make it inside one of them."
    )


def no_turn(path: Path) -> TurnError:
    """A task makes an entry while its branch waits or has ended."""
    return TurnError(
        f"A task used the context in {named(path)} while another piece had the turn. A task that was left behind "
        "(asyncio.create_task) must not use the context, nor code that goes on while a stream is unread. Read the "
        "stream to its end first, and run pieces side by side with "
        "`await parallel(first(), second())` of rewake.ext.kernel."
    )


def nested_entry(reached: str) -> TurnError:
    """The body of a step makes an entry. reached: how, as a sentence."""
    return TurnError(
        f"{reached} The result of a step is stored when its body has ended, so nothing within it is stored by itself. "
        "Use the context before the step or after it; what must do both is code of the handler, or a durable tool."
    )


def call_missing(path: Path, keys: list[str]) -> CallMissing:
    """The framework dropped calls at replay that it made before."""
    return CallMissing(
        f"{_listed(keys)} came in an earlier attempt of {named(path)} and did not come at replay. Whether a tool is "
        "called must depend on nothing but stored results: look for guardrails, hooks, `is_enabled` or approvals that "
        "decide by the clock, by chance or by data from outside, and make that decision in a step."
    )


def arguments_changed(question: str, stored: str, now: str) -> ArgumentsChanged:
    """The arguments of a question differ from those that people were shown."""
    return ArgumentsChanged(
        f"People were asked {question!r} for {stored!r}; at replay the code asks for {now!r}. An approval holds for "
        "exactly what was shown. Make what the arguments depend on (the time, chance, data from outside) in a step "
        "before ask(), and let runs that wait end on the code they began with."
    )


def never_answered(question: str, refused: str) -> TerminalError:
    """Too many unusable answers to one question."""
    return TerminalError(f"The question {question!r} got answers that cannot be taken, too many. The last: {refused}")


def effect_unknown(name: str, key: str, why: str) -> EffectUnknown:
    """The failure of an effect whose outcome its policy could not settle."""
    return EffectUnknown(
        f"Whether {name!r} (key {key}) was done is unknown, so it was not done again. {why} Look it up on the other "
        "side. verify= lets the code do so, on_unknown='ask' a person, and a side that takes the key needs neither."
    )


def cannot_be_undone_from_elsewhere(effect: str, service: str) -> TerminalError:
    """The caller of an undoable service asks for what undoes its effects, and one of them has no name."""
    return TerminalError(
        f"The caller of {service!r} may have to undo {effect!r} later, in another process, and the function that "
        "undoes it is not known there. Make it a function of the module, and name it in "
        f"undoable({service}, that_function)."
    )


def named(path: Path) -> str:
    """The branch in words."""
    return "branch " + " > ".join(path) if path else "the main flow of the handler"


def _listed(keys: list[str]) -> str:
    return ("call " if len(keys) == 1 else "calls ") + ", ".join(repr(key) for key in keys)
