"""What the scripted model server answers to the claim router: `python -m rewake.testing.models --rules models.py`.

Counts and holds go by the rules' names. A rule sees what a real model would: instructions, conversation, tools.
"""

from __future__ import annotations

from rewake.testing.models import Answer, ModelRequest, rule, text, tool_call

INTAKE = "intake of an insurer"
MEDICAL = "medical specialist of an insurer"
CAR = "car specialist of an insurer"
TO_MEDICAL = "transfer_to_medical_specialist"
TO_CAR = "transfer_to_car_specialist"
HEALTH_WORDS = ("hospital", "doctor", "leg", "dentist")
CAR_WORDS = ("my car", "windscreen", "bumper")


def claim_filed(request: ModelRequest) -> Answer:
    """Reads the claim number out of the tool's result, as a model would."""
    number = request.tool_results[-1].text.partition(":")[0]
    return text(f"Your claim {number} is filed. We answer within two days.")


rules = [
    rule(name="medical-answer", system=MEDICAL, after_tool="file_medical_claim", answer=claim_filed),
    rule(name="car-answer", system=CAR, after_tool="file_car_claim", answer=claim_filed),
    rule(
        name="route-to-medical",
        when_tool=TO_MEDICAL,
        says=HEALTH_WORDS,
        answer=tool_call(TO_MEDICAL, {"reason": "it is about a treatment"}),
    ),
    rule(
        name="route-to-car",
        when_tool=TO_CAR,
        says=CAR_WORDS,
        answer=tool_call(TO_CAR, {"reason": "it is about a car"}),
    ),
    rule(
        name="medical-file",
        system=MEDICAL,
        says=HEALTH_WORDS,
        answer=tool_call("file_medical_claim", {"treatment": "two nights in hospital"}),
    ),
    rule(
        name="car-file", system=CAR, says=CAR_WORDS, answer=tool_call("file_car_claim", {"damage": "a dented bumper"})
    ),
    rule(name="medical-chat", system=MEDICAL, answer=text("The money arrives five days after we accept the claim.")),
    rule(name="car-chat", system=CAR, answer=text("Any garage will do; keep the bill.")),
    rule(name="intake-direct", system=INTAKE, answer=text("We are here from eight to six, Monday to Friday.")),
]
