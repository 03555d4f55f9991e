"""What the scripted model server answers, so that the app runs without a key.

Each rule is one decision of one agent; counts and holds go by its name. The app starts the server inside itself;
`python -m rewake.testing.models --rules models.py` runs it as a process that survives the app (README.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable

from rewake.testing.models import ModelRequest, ModelServer, Text, ToolCalls, rule, text, tool_call

INTAKE = "You are the intake agent"
MEDICAL = "You are the medical specialist"
CAR = "You are the car specialist"
SAYS_INJURY = ("hospital", "my leg", "doctor")
SAYS_CAR = ("my car", "windscreen")
ASKS_BACK = ("when will", "how long")


def announce(answer: str) -> Callable[[ModelRequest], Text]:
    """The result of the tool, which holds the claim's number, then the answer."""
    return lambda request: text(f"{request.tool_results[-1].text} {answer}")


def transfer(agent_name: str) -> ToolCalls:
    return tool_call("transfer_to_agent", {"agent_name": agent_name})


def opens(kind: str, summary: str) -> ToolCalls:
    return tool_call("open_claim", {"kind": kind, "summary": summary})


rules = [
    rule(name="intake-to-medical", system=INTAKE, says=SAYS_INJURY, answer=transfer("medical_specialist")),
    rule(name="intake-to-car", system=INTAKE, says=SAYS_CAR, answer=transfer("car_specialist")),
    rule(name="intake-alone", system=INTAKE, answer=text("Please tell us what happened.")),
    rule(
        name="medical-answers",
        system=MEDICAL,
        after_tool="open_claim",
        answer=announce("Your hospital stay is covered. Please send in the discharge letter."),
    ),
    rule(
        name="car-answers",
        system=CAR,
        after_tool="open_claim",
        answer=announce("The repair is covered with 300 euros excess. Please send in the police report."),
    ),
    rule(name="medical-opens-claim", system=MEDICAL, says=SAYS_INJURY, answer=opens("medical", "Hospital stay.")),
    rule(name="medical-to-car", system=MEDICAL, says=SAYS_CAR, answer=transfer("car_specialist")),
    rule(name="car-opens-claim", system=CAR, says=SAYS_CAR, answer=opens("car", "Damage from a collision.")),
    rule(name="car-to-medical", system=CAR, says=SAYS_INJURY, answer=transfer("medical_specialist")),
    rule(
        name="medical-follows-up",
        system=MEDICAL,
        says=ASKS_BACK,
        answer=text("We pay within ten days of the discharge letter."),
    ),
    rule(name="car-follows-up", system=CAR, says=ASKS_BACK, answer=text("We pay when the garage has sent its bill.")),
]


def use_script_without_key() -> None:
    """Starts the scripted server and points the Gemini client at it, unless there is a key."""
    if "GOOGLE_API_KEY" in os.environ or "GEMINI_API_KEY" in os.environ:
        return
    server = ModelServer(rules)
    server.start()
    os.environ.update(server.env())
