"""A chat with an agent of Pydantic AI for a web server: a specialist as a tool, and a tool that needs an approval."""

from __future__ import annotations

import restate
from adapter_kit import mark
from pydantic_ai import Agent

from rewake.ext.chat import Chat
from rewake.ext.pydantic import RewakeDurability

bank = Agent("openai-chat:gpt-5", name="bank", instructions="you are bank", capabilities=[RewakeDurability()])
billing = Agent("openai-chat:gpt-5", name="billing", instructions="you are billing")


@billing.tool_plain
async def ask_bank(question: str) -> str:
    """Ask the bank."""
    return (await bank.run(question)).output


@billing.tool_plain(requires_approval=True)
async def refund(amount: int) -> str:
    """Pay back."""
    mark(f"refund {amount}")
    return f"{amount} EUR are on their way"


desk = Chat("ChatDesk", billing)
kept = Chat("KeptDesk", billing, approvals_wait="between_turns")
app = restate.app([*desk.services, *kept.services])
