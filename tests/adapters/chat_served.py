"""A chat for a web server: a router that hands over, and a specialist as a tool who needs an approval."""

from __future__ import annotations

from typing import Any

import restate
from adapter_kit import mark
from agents import Agent, function_tool, set_tracing_disabled

from rewake.ext.chat import Chat

set_tracing_disabled(True)


@function_tool(needs_approval=True)
async def refund(amount: int) -> str:
    """Pay back."""
    mark(f"refund {amount}")
    return f"{amount} EUR are on their way"


bank = Agent[Any](name="Bank", instructions="you are bank", tools=[refund])
billing = Agent[Any](
    name="Billing", instructions="you are billing", tools=[bank.as_tool("ask_bank", "Moves money"), refund]
)
technical = Agent[Any](name="Technical", instructions="you are technical")
router = Agent[Any](name="Router", instructions="you are router", handoffs=[billing, technical])

desk = Chat("ChatDesk", router)
kept = Chat("KeptDesk", router, approvals_wait="between_turns")
app = restate.app([*desk.services, *kept.services])
