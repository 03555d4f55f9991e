"""What the scripted model server answers, so that the app runs without a key.

Each rule is one decision of one agent; counts and holds go by its name. The app starts the server inside itself;
`python -m rewake.testing.models --rules models.py` runs it as a process that survives the app (README.md).
"""

from __future__ import annotations

import os

from rewake.testing.models import ModelRequest, ModelServer, Text, rule, text, tool_call

INTAKE = "You are the intake agent"
MEDICAL = "You are the medical specialist"
CAR = "You are the car specialist"


def reply_from_specialist(request: ModelRequest) -> Text:
    return text(" ".join(result.text for result in request.tool_results))


rules = [
    rule(name="intake-replies", system=INTAKE, after_tool=True, answer=reply_from_specialist),
    rule(
        name="intake-asks-medical",
        system=INTAKE,
        says=("hospital", "my leg", "doctor"),
        answer=tool_call("consult_medical_specialist", {"question": "alice: is a hospital stay covered?"}),
    ),
    rule(
        name="intake-asks-car",
        system=INTAKE,
        says=("my car", "windscreen"),
        answer=tool_call("consult_car_specialist", {"question": "alice: is damage from a collision covered?"}),
    ),
    rule(
        name="intake-alone",
        system=INTAKE,
        answer=text("Please tell us what happened, and we will find the right specialist."),
    ),
    rule(
        name="medical-answers",
        system=MEDICAL,
        after_tool=True,
        answer=text("Your hospital stay is covered in full. Please send in the discharge letter."),
    ),
    rule(name="medical-looks-up", system=MEDICAL, answer=tool_call("look_up_medical_cover", {"customer": "alice"})),
    rule(
        name="car-answers",
        system=CAR,
        after_tool=True,
        answer=text("The repair is covered with 300 euros excess. Please send in the police report."),
    ),
    rule(name="car-looks-up", system=CAR, answer=tool_call("look_up_car_cover", {"customer": "alice"})),
]


def use_script_without_key() -> None:
    """Starts the scripted server and points the OpenAI client at it, unless there is a key."""
    if "OPENAI_API_KEY" in os.environ:
        return
    server = ModelServer(rules)
    server.start()
    os.environ.update(server.env())
