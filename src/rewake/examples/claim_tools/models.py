"""What the scripted model server answers, so that the app runs without a key.

Each rule is one decision of one agent; counts and holds go by its name. The app starts the server inside itself;
`python -m rewake.testing.models --rules models.py` runs it as a process that survives the app (README.md).
"""

from __future__ import annotations

import os
import re

from rewake.testing.models import ModelRequest, ModelServer, Text, rule, text, tool_call, tool_calls

INTAKE = "You are the intake agent"
INJURY = ("hospital", "my leg", "doctor")
CAR = ("my car", "windscreen")
INJURY_AND_CAR = re.compile(r"my car.*hospital|hospital.*my car", re.IGNORECASE | re.DOTALL)

ask_medical = tool_call("consult_medical_specialist", {"question": "Is a hospital stay after an accident covered?"})
ask_car = tool_call("consult_car_specialist", {"question": "Is damage from a collision covered?"})


def reply_from_specialists(request: ModelRequest) -> Text:
    return text(" ".join(result.text for result in request.tool_results))


rules = [
    rule(name="intake-replies", system=INTAKE, after_tool=True, answer=reply_from_specialists),
    rule(name="intake-asks-both", system=INTAKE, says=INJURY_AND_CAR, answer=tool_calls(ask_medical, ask_car)),
    rule(name="intake-asks-medical", system=INTAKE, says=INJURY, answer=ask_medical),
    rule(name="intake-asks-car", system=INTAKE, says=CAR, answer=ask_car),
    rule(
        name="intake-alone",
        system=INTAKE,
        answer=text("Please tell us what happened, and we will find the right specialist."),
    ),
    rule(
        name="medical-answers",
        system="You are the medical specialist",
        answer=text("Your hospital stay is covered in full. Please send in the discharge letter."),
    ),
    rule(
        name="car-answers",
        system="You are the car specialist",
        answer=text("The repair is covered with 300 euros excess. Please send in the police report."),
    ),
]


def use_script_without_key() -> None:
    """Starts the scripted server and points the OpenAI client at it, unless there is a key."""
    if "OPENAI_API_KEY" in os.environ:
        return
    server = ModelServer(rules)
    server.start()
    os.environ.update(server.env())
