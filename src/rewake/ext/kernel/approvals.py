"""An answer of a person, as an awakeable brings it: approved or denied, by whom and why.

The seam for `ask()`: today an answer is waited for as long as it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from restate import TerminalError

_YES: Final = ("approved", "approve", "yes", "true")
_NO: Final = ("denied", "rejected", "deny", "reject", "no", "false")


@dataclass(frozen=True)
class Decision:
    """What a person said. reason: shown to the model when it is denied."""

    is_approved: bool
    reason: str | None = None


def decision(answer: Any) -> Decision:
    """true, false, a word, or {"approved": bool, "reason": text}. Raises TerminalError for anything else."""
    if isinstance(answer, bool):
        return Decision(answer)
    if isinstance(answer, str) and answer.strip().lower() in (*_YES, *_NO):
        return Decision(answer.strip().lower() in _YES)
    if isinstance(answer, Mapping) and isinstance(answer.get("approved"), bool):
        reason = answer.get("reason")
        return Decision(answer["approved"], None if reason is None else str(reason))
    raise TerminalError(
        f"An approval was answered with {answer!r}, which says neither yes nor no. "
        'Answer with true, false or {"approved": true, "reason": "..."}.'
    )
