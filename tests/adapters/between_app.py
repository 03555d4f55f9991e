"""A desk that asks between turns, and a clerk who answers it, for the crash labs. On the plain SDK.

The object `Desk` asks two people. They approve, so the next turn pays and asks again; that question is denied.
`Suspending/asked` is the whole conversation; it returns what was said.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from datetime import timedelta
from typing import Any, Final

import restate
from adapter_kit import PATIENT, folder, mark

from rewake.ext.kernel import ApprovalRequest, Approvals, BetweenTurns, Decision
from rewake.ext.kernel.run import raw_context

OPEN: Final = "rewake.approvals"
AT_ONCE: Final = timedelta(0)
"""Each wait ends the attempt, so each result is read in an attempt of its own."""

desk = restate.VirtualObject("Desk", inactivity_timeout=AT_ONCE, invocation_retry_policy=PATIENT)
clerk = restate.Service("Suspending", inactivity_timeout=AT_ONCE, invocation_retry_policy=PATIENT)


def left(what: str) -> str:
    """A mark, where somebody counts them."""
    return mark(what) if "LAB_FOLDER" in os.environ else what


async def _told(request: ApprovalRequest) -> None:
    left(f"ask {request.question}")


questions = BetweenTurns(desk, Approvals(quorum=2, notify=_told))


@desk.handler()
async def claim(ctx: restate.ObjectContext, told: dict[str, str]) -> str:
    """Ask, and end with the question's id. told: the awakeables for what comes of it."""
    await questions.leave("Pay it?", {"amount": 40, **told})
    return await _newest(ctx)


@questions.next_turn
async def decided(ctx: restate.ObjectContext, asked: dict[str, Any], decision: Decision) -> None:
    """Pay what was approved and ask for more, or end."""
    if decision.is_approved:
        await ctx.run_typed("pay", lambda: left(f"pay {asked['amount']}"))
        await questions.leave("Pay more?", asked | {"amount": 50})
        ctx.resolve_awakeable(asked["again"], await _newest(ctx))
    else:
        await ctx.run_typed("refuse", lambda: left(f"refuse {asked['amount']}"))
        ctx.resolve_awakeable(asked["end"], "refused")


async def _newest(ctx: restate.ObjectContext) -> str:
    found = await ctx.get(OPEN, type_hint=dict[str, Any])
    assert found is not None
    return str(found["open"][-1]["id"])


@clerk.handler()
async def asked(ctx: restate.Context, given: str) -> list[Any]:
    """Ada and Ben approve the first question, Ada denies the second, and Ben is too late."""
    (again_id, again), (end_id, end) = ctx.awakeable(type_hint=str), ctx.awakeable(type_hint=str)
    first = await ctx.object_call(claim, "ada", {"again": again_id, "end": end_id})
    said = [await _answer(ctx, first, who, approved=True) for who in ("Ada", "Ben")]
    second = await again
    said.append(await _answer(ctx, second, "Ada", approved=False))
    return [*said, await end, await _answer(ctx, second, "Ben", approved=True)]


async def _answer(ctx: restate.Context, id: str, who: str, *, approved: bool) -> Any:
    body = json.dumps({"id": id, "approved": approved, "who": who}).encode()
    answer = json.loads(await ctx.generic_call("Desk", "answer_approval", body, "ada"))
    return answer.get("refused") or answer["state"]


app = restate.app([desk, clerk])


class Killer:
    """A codec of journal values that kills its process at each value that no handler of the desk has read before.

    They run one at a time, so no kill meets a step of another one that is not stored yet. `died-in` in LAB_FOLDER gets
    the names of the handlers.
    """

    def encode(self, buf: bytes) -> bytes:
        return buf

    async def decode(self, buf: bytes) -> bytes:
        seen = folder() / f"seen-{hashlib.sha256(buf).hexdigest()}"
        raw: Any = raw_context()
        if raw is not None and raw.handler.service_tag.name == desk.name and not seen.exists():
            seen.touch()
            with (folder() / "died-in").open("a") as file:
                file.write(f"{raw.handler.name}\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return buf


def make(_: Any = None) -> Any:
    """The app, for crash_lab.py."""

    async def provide() -> Any:
        return Killer()

    return restate.app([desk, clerk], journal_value_codec=provide)


async def close() -> None:
    """Nothing is open."""
