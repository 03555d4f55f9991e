"""A support desk in a chat window: a router, two specialists, and a refund that a person approves."""

from __future__ import annotations

from pathlib import Path

import restate
from agents import Agent, function_tool
from models import use_the_script_without_a_key

from rewake.ext.chat import Chat

use_the_script_without_a_key()


@function_tool(needs_approval=True)
async def refund(invoice: str, amount: int) -> str:
    """Pay money back."""
    return f"{amount} EUR of invoice {invoice} are on their way"


billing = Agent(name="Billing", instructions="You answer questions on invoices, and refund.", tools=[refund])
technical = Agent(name="Technical", instructions="You answer technical questions.")
router = Agent(name="Router", instructions="You route to a specialist.", handoffs=[billing, technical])

desk = Chat("ChatDesk", router)
app = restate.app(desk.services)
web = desk.web(Path(__file__).parent / "pages")
