"""`BetweenTurns` for the plain SDK: a handler stores a question and ends; a function runs when people have decided."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import restate
from restate import ObjectContext, TerminalError

from rewake.ext.kernel.approvals import Decision
from rewake.ext.kernel.asking import Approvals
from rewake.ext.kernel.between import Asked, TurnKeeper
from rewake.ext.kernel.envelope import Envelope, fingerprint
from rewake.ext.kernel.run import FRAMEWORK, current_run

NextTurn = Callable[[ObjectContext, Any, Decision], Awaitable[Any]]

_CALL: Final = "question"


class BetweenTurns(TurnKeeper[NextTurn]):
    """Questions of a virtual object between turns, for handlers on the plain SDK.

    service: the virtual object; it gets the handlers `answer_approval`, `approval_due` and `continue_turn`.
    approvals: how questions are asked.   version: of the code that acts on approvals. If it has changed since the
    question, an approval is refused, and people must look again. The function of `next_turn` gets the arguments that
    people saw and their decision.
    """

    def __init__(
        self, service: restate.VirtualObject, approvals: Approvals | None = None, *, version: str = ""
    ) -> None:
        super().__init__(service, approvals)
        self.version = version

    async def leave(self, question: str, args: Any = None) -> None:
        """Store a question; the handler should end then. args: JSON that people approve, and that the next turn gets.

        Raises TypeError if `args` is not JSON, TerminalError 409 if too many questions are open.
        """
        run = current_run()
        if run is None:
            raise TerminalError("BetweenTurns.leave() works in a handler of its object only.")
        about = Envelope(kind="approval", framework=FRAMEWORK, call=_CALL)
        await self.put(run, [Asked(terms=self._approvals.terms(question, args), about=about)], lambda: args)

    def definition(self, question: Mapping[str, Any]) -> str:
        """See TurnKeeper."""
        return fingerprint(self.version)

    async def go_on(self, ctx: ObjectContext, snapshot: Any, decisions: Mapping[str, Decision]) -> Any:
        """See TurnKeeper."""
        return await self.following(ctx, snapshot, decisions[_CALL])
