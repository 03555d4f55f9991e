"""What a scripted model says in the chat, so that it can be tried without a key and without cost."""

from __future__ import annotations

import os

from rewake.testing.models import ModelServer, rule, text, tool_call

ROUTER = "route to a specialist"
BILLING = "questions on invoices"
TECHNICAL = "technical questions"
PACE_S = 0.04  # between the pieces of an answer

rules = [
    rule(
        name="to-billing", system=ROUTER, says=("invoice", "charged", "refund"), answer=tool_call("transfer_to_billing")
    ),
    rule(name="to-technical", system=ROUTER, answer=tool_call("transfer_to_technical")),
    rule(
        name="paid",
        pace_s=PACE_S,
        system=BILLING,
        tool_result="on their way",
        answer=text("Done: the 40 EUR are on their way back to your card. You will see them within three days."),
    ),
    rule(
        name="not-paid",
        pace_s=PACE_S,
        system=BILLING,
        after_tool="refund",
        answer=text("I could not pay it back now. Somebody will look at your invoice and write to you."),
    ),
    rule(
        name="refund",
        system=BILLING,
        says=("charged", "refund"),
        answer=tool_call("refund", {"invoice": "2041", "amount": 40}),
    ),
    rule(
        name="invoice",
        pace_s=PACE_S,
        system=BILLING,
        answer=text("Your invoice 2041 over 80 EUR was paid on the third of May."),
    ),
    rule(
        name="technical",
        pace_s=PACE_S,
        system=TECHNICAL,
        answer=text(
            "Please switch the router off, wait for ten seconds, and switch it on again. Then tell me what it says."
        ),
    ),
]


def use_the_script_without_a_key() -> None:
    """Serve the script in this process, and send the agents to it, unless OPENAI_API_KEY is set."""
    if "OPENAI_API_KEY" not in os.environ:
        from agents import set_tracing_disabled

        set_tracing_disabled(True)
        server = ModelServer(rules)
        server.start()
        os.environ.update(server.env())
