"""What the scripted model server answers to the support router: `python -m rewake.testing.models --rules models.py`.

Counts and holds go by the rules' names.
"""

from __future__ import annotations

from rewake.testing.models import rule, text

ROUTER = "support router"

rules = [
    rule(
        name="pick-billing",
        system=ROUTER,
        says=("invoice", "refund", "charged"),
        answer=text({"specialist": "billing", "answer": None}),
    ),
    rule(
        name="pick-technical",
        system=ROUTER,
        says=("error", "log in", "password"),
        answer=text({"specialist": "technical", "answer": None}),
    ),
    rule(
        name="pick-none",
        system=ROUTER,
        answer=text({"specialist": None, "answer": "We ship to every country of the European Union."}),
    ),
    rule(
        name="ask-billing", system="billing specialist", answer=text("You get the second payment back in three days.")
    ),
    rule(name="ask-technical", system="technical specialist", answer=text("Reset your password, then try again.")),
]
