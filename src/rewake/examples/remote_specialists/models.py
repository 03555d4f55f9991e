"""What the scripted model server answers, so that the app runs without a key.

Each rule is one decision of one service; counts and holds go by its name. The app starts the server inside itself;
`python -m rewake.testing.models --rules models.py` runs it as a process that survives the app (README.md).
"""

from __future__ import annotations

import os

from rewake.testing.models import ModelRequest, ModelServer, Text, rule, text, tool_call

INTAKE = "You are the intake agent"
CAR = "You are the car specialist"


def name_garage(request: ModelRequest) -> Text:
    return text(f"The repair is covered with 300 euros excess. Bring your car to {request.tool_results[-1].text}.")


rules = [
    rule(
        name="router-picks-medical",
        system=INTAKE,
        says=("hospital", "my leg", "doctor"),
        answer=tool_call("MedicalSpecialist"),
    ),
    rule(name="router-picks-car", system=INTAKE, says=("my car", "windscreen"), answer=tool_call("CarSpecialist")),
    rule(name="router-alone", system=INTAKE, answer=text("Please tell us what happened.")),
    rule(
        name="medical-answers",
        system="You are the medical specialist",
        answer=text("Your hospital stay is covered in full. Please send in the discharge letter."),
    ),
    rule(name="car-finds-garage", system=CAR, after_tool=False, answer=tool_call("find_garage", {"town": "Ulm"})),
    rule(name="car-answers", system=CAR, after_tool="find_garage", answer=name_garage),
]


def use_script_without_key() -> None:
    """Starts the scripted server and points the OpenAI client at it, unless there is a key."""
    if "OPENAI_API_KEY" in os.environ:
        return
    server = ModelServer(rules)
    server.start()
    os.environ.update(server.env())
