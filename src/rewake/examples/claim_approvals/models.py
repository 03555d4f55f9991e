"""What the scripted model server answers to the claim: `python -m rewake.testing.models --rules models.py`."""

from __future__ import annotations

from rewake.testing.models import rule, text, tool_call, tool_calls

INTAKE = "intake of an insurer"
CAR = "car specialist of an insurer"

rules = [
    rule(name="answer", system=INTAKE, after_tool="close_case", answer=text("Your claim is paid and closed.")),
    rule(
        name="close",
        system=INTAKE,
        after_tool="pay_claim",
        answer=tool_call("close_case", {"summary": "bumper, 750 EUR"}),
    ),
    rule(name="route", system=INTAKE, answer=tool_call("transfer_to_car_specialist")),
    rule(name="back", system=CAR, after_tool="pay_claim", answer=tool_call("transfer_to_intake")),
    rule(name="pay", system=CAR, after_tool="estimate_damage", answer=tool_call("pay_claim", {"amount": 750})),
    rule(
        name="look",
        system=CAR,
        answer=tool_calls(
            tool_call("check_policy", {"customer": "Ada"}), tool_call("estimate_damage", {"description": "a bumper"})
        ),
    ),
]
