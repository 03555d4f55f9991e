"""Signed links to a question, made in the handler's process with the key that the engine offers its attempt.

Other engines offer no such links: send people the id instead.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from restate import Context

from rewake.ext.kernel.offers import offer

SALT: Final = "rewake.approval"
LASTS: Final = timedelta(days=30)


@dataclass(frozen=True)
class LinkMaker:
    """Makes links to questions of one invocation, or of one object. base: what the token is put behind."""

    base: str
    key: str

    def link(self, approval_id: str, digest: str, who: str, until_ms: int) -> str:
        """The address for one person, or for anybody who has it (who empty), until a moment."""
        from itsdangerous import URLSafeSerializer  # late: few handlers make links

        told = {"id": approval_id, "digest": digest, "who": who, "until": until_ms}
        return f"{self.base}{URLSafeSerializer(self.key, SALT).dumps(told)}"


def link_maker(ctx: Context, *, of_object: bool = False) -> LinkMaker | None:
    """The link maker of this attempt's engine; None if it offers no links.

    of_object: for questions that the object keeps between turns (between.py); else for those of the invocation.
    """
    base, *keys = (offer(ctx, "approvals") or "").split(" ")
    key = keys[of_object] if len(keys) > of_object else ""
    return LinkMaker(base, key) if base and key else None


def until_ms(deadline_ms: int | None, lasts: timedelta | None) -> int:
    """When a link ends: after `lasts`, else with its question, else after LASTS."""
    if lasts is None and deadline_ms is not None:
        return deadline_ms
    return time.time_ns() // 1_000_000 + (lasts or LASTS) // timedelta(milliseconds=1)
