"""Every component in every state, for reviewers and screenshot tests: the page /ui/patterns. All data is made up."""

from __future__ import annotations

from typing import Final

import msgspec

from rewake import formats
from rewake.agents.approvals import Asked, Given
from rewake.agents.effects import Effect
from rewake.agents.replies import ModelReply, ToolCall
from rewake.core import ids
from rewake.runs.approvals import Approval
from rewake.runs.facts import STATUSES, EventFact, RunSummary
from rewake.runs.mismatch import Mismatch
from rewake.runs.questions import Question
from rewake.runs.spending import Total, Usage, total_of
from rewake.runs.stacktrace import SourceLine
from rewake.runs.timeline import AttemptSpan, Bar, Standstill
from rewake.runs.turns import AgentTrace, Handoff, Turn
from rewake.runs.waits import Wait, wait_of
from rewake.ui.approvals import Item, item_of
from rewake.ui.graph import Graph, handoff_graph
from rewake.ui.run import Row

HOSTILE: Final = '<script>alert(1)</script> "><img src=x onerror=alert(2)> \u202egnp.exe \x00\x1b[31m'
_SOURCE: Final = SourceLine("agents/desk.py", 80, "ask", 'raise Overloaded("the provider is overloaded")')
_MISMATCH: Final = Mismatch(
    kind="entry",
    index=2,
    recorded="Run pick the specialist",
    asked="Run ask the model",
    differences=("name: pick the specialist != ask the model",),
    source=_SOURCE,
    causes=("The code was changed while the run was open.", "Tasks use the context side by side."),
)
_RUN: Final = ids.invocation_id_to_str(bytes(range(24)))


class PatternsPage(msgspec.Struct):
    """What the page shows."""

    statuses: tuple[str, ...]
    runs: list[RunSummary]
    rows: list[Row]
    attempts: list[AttemptSpan]
    standstills: list[Standstill]
    errors: list[tuple[EventFact, SourceLine | None, Mismatch | None]]
    waiting: list[Wait]
    left: list[Wait]
    inbox: list[Item]
    encrypted: list[tuple[str, str]]
    effects: list[Effect]
    turns: list[Turn]
    usage: list[Usage]
    total: Total
    values: list[formats.Shown]


def page(now_ms: int) -> PatternsPage:
    """Samples, around the moment given."""
    return PatternsPage(
        statuses=STATUSES,
        runs=[_run(status, now_ms) for status in STATUSES] + [_run("failed", now_ms, key="k" * 300, problem=HOSTILE)],
        rows=_rows(now_ms),
        attempts=[
            AttemptSpan(
                number=1,
                start_ms=now_ms - 9_000,
                end_ms=now_ms - 5_000,
                error="[500] The provider is overloaded",
                step="call LLM",
                bar=Bar(0, 400, "attempt failed"),
                source=_SOURCE,
                delay=Bar(400, 120, "delay"),
                delay_ms=1_000,
            ),
            AttemptSpan(
                number=2,
                start_ms=now_ms - 4_000,
                end_ms=now_ms,
                error=None,
                step=None,
                bar=Bar(520, 480, "attempt"),
                quiet=[Bar(600, 80, "quiet"), Bar(800, 120, "quiet")],
            ),
        ],
        standstills=[
            Standstill("paused", now_ms - 8_000, now_ms - 7_000, Bar(100, 100, "standstill"), is_over=True),
            Standstill("suspended", now_ms - 4_000, now_ms, Bar(520, 480, "standstill")),
            Standstill("paused", now_ms - 3_000, now_ms, Bar(640, 360, "standstill")),
            Standstill("backing-off", now_ms - 2_000, now_ms, Bar(760, 240, "standstill"), now_ms + 4_000),
        ],
        errors=[
            (
                EventFact(1, now_ms - 5_000, "TransientError", {"error_message": HOSTILE, "error_stacktrace": HOSTILE}),
                None,
                None,
            ),
            (EventFact(1, now_ms - 5_000, "TransientError", {"error_message": "overloaded"}), _SOURCE, None),
            (EventFact(1, now_ms - 5_000, "TransientError", {"error_message": "Found a mismatch"}), _SOURCE, _MISMATCH),
        ],
        waiting=_waiting(now_ms),
        left=[wait_of(_kept(now_ms))],
        inbox=[*map(item_of, (_of_run(now_ms), _kept(now_ms), _kept(now_ms, refused=_CHANGED)))],
        encrypted=[("PatientDesk", "alice"), ("PatientDesk", HOSTILE)],
        effects=_EFFECTS,
        turns=_turns(now_ms),
        usage=_USAGE,
        total=total_of(_USAGE),
        values=[
            formats.shown(b'{"nested": {"list": [1, true, null]}, "text": "h\xc3\xa4llo"}'),
            formats.shown(HOSTILE.encode("utf-8", "replace")),
            formats.shown(b"\xff\xfe\x00 binary \x80"),
            formats.shown(b"x" * 100_000, 400),
            formats.shown(b""),
        ],
    )


def graph() -> Graph:
    """A drawing with arrows, arcs and a way back."""
    made = handoff_graph(AgentTrace(agents=["Intake", "Medical specialist", "Car specialist"], handoffs=_HANDOFFS))
    assert made is not None
    return made


_EFFECTS: Final = [
    Effect(name="pay", key="6a1f", state="verified", who="Ada", why="the bank has it"),
    Effect(name=HOSTILE, key="8c02", state="unknown", why="TimeoutError: no answer"),
    Effect(name="book", key="91d4", state="sent"),
]

_HANDOFFS: Final = [
    Handoff(source="Intake", target="Medical specialist", number=1, kind="handoff", reason="it is about a treatment"),
    Handoff(source="Medical specialist", target="Car specialist", number=2, kind="handoff"),
    Handoff(source="Intake", target="Car specialist", number=3, kind="call"),
    Handoff(source="Car specialist", target="Intake", number=4, kind="handoff"),
]
_POLICY: Final = b'{"number": "P-1", "cover": {"hospital": "in full", "medication": 500}, "notes": [null, true]}'
_USAGE: Final = [
    Usage("Intake", "gpt-5-mini", 2, 151, 32, 0.000102),
    Usage("Medical specialist", None, 2, 131, 30, None),
    Usage("Car specialist", "gpt-5", 1, 90, 12, 0.00023, is_declared=True),
    Usage("Car specialist", "house-model-7", 1, 90, 12, None, is_default=True),
]


def _run(status: str, now_ms: int, *, key: str = "alice", problem: str | None = None) -> RunSummary:
    is_ended = status in ("succeeded", "failed")
    problem = problem or ("[409] cancelled" if status == "failed" else None)
    if status in ("backing-off", "paused"):
        problem = "The provider is overloaded"
    return RunSummary(
        id=_RUN,
        service="ClaimDesk",
        handler="message",
        key=key,
        status=status,
        created_at_ms=now_ms - 64_000,
        running_at_ms=None if status in ("pending", "scheduled") else now_ms - 60_000,
        completed_at_ms=now_ms - 2_000 if is_ended else None,
        start_at_ms=now_ms + 90_000 if status == "scheduled" else None,
        retry_count=3 if status == "backing-off" else 0,
        next_retry_at_ms=now_ms + 4_000 if status == "backing-off" else None,
        invoked_by="ingress",
        parent=None,
        restarted_from=None,
        problem=problem,
        modified_at_ms=now_ms,
    )


def _rows(now_ms: int) -> list[Row]:
    made = []
    samples = (
        ("input", "Input", "I broke my leg", 0, 3, True, False, 0),
        ("model", "call LLM", "transfer_to_medical_specialist({})", 4, 260, True, False, 0),
        ("step", "Pick specialist", "Medical specialist: it is about a treatment", 270, 40, True, False, 0),
        ("call", "MedicalSpecialist/answer", "", 320, 300, True, False, 0),
        ("step", "Look up cover", "Hospital in full", 340, 120, True, False, 1),
        ("sleep", "Sleep", "until tomorrow", 640, 100, True, False, 0),
        ("state", "Set agent", "Medical specialist", 745, 3, True, False, 0),
        ("step", "Pay", "[500] no such account", 760, 60, True, True, 0),
        ("signal", "Awakeable answered", "yes", 830, 3, True, False, 0),
        ("wait", "Wait for promise done", "", 840, 160, False, False, 0),
        ("step", HOSTILE, HOSTILE, 850, 150, False, False, 0),
    )
    for index, (kind, title, preview, x, width, is_done, is_failure, depth) in enumerate(samples):
        style = kind + ("" if is_done else " open") + (" failed" if is_failure else "")
        made.append(
            Row(
                run_id=_RUN,
                depth=depth,
                index=index,
                kind=kind,
                title=formats.safe(title),
                preview=formats.line(preview),
                start_ms=now_ms - 1_000 + x,
                took_ms=width * 10,
                is_done=is_done,
                is_failure=is_failure,
                bar=Bar(x, width, style),
                lost=[Bar(275, 12, "lost")] if title == "Pick specialist" else [],
                failures=[880, 930] if not is_done and kind == "step" else [],
                failure_count=2 if not is_done and kind == "step" else 0,
                child=_RUN if kind == "call" else None,
                child_status="succeeded" if kind == "call" else None,
                model="gpt-5-mini" if kind == "model" else None,
            )
        )
    return made


def _waiting(now_ms: int) -> list[Wait]:
    return [
        Wait(
            kind="awakeable",
            title="An answer from outside",
            since_ms=now_ms - 61_000,
            awakeable=ids.awakeable_id_format(bytes(range(24)), 17),
            asked='{"customer": "alice", "amount": 12000}',
            question=Question(agent="Intake", tool="approve_claim", arguments='{"amount": 12000}'),
        ),
        Wait(
            kind="answer",
            title="An answer from outside, it seems",
            since_ms=now_ms - 4_000,
            question=Question(after="Request review", text='{"amount": 12000}'),
        ),
        Wait(
            kind="promise",
            title="Wait for promise approval",
            since_ms=now_ms - 61_000,
            promise=("Trip", HOSTILE, "approval"),
        ),
        Wait(kind="call", title="CarSpecialist/answer", since_ms=now_ms - 3_000, run_id=_RUN),
        Wait(kind="sleep", title="Sleep", since_ms=now_ms - 3_000, due_at_ms=now_ms + 7_200_000),
    ]


def _of_run(now_ms: int) -> Approval:
    """A question of an open run, which is paused."""
    asked = Asked(
        id=ids.awakeable_id_format(bytes(range(24)), 17),
        awakeables=(),
        question="Pay twice as much as usual?",
        arguments=HOSTILE,
        who=("finance", "Ada"),
        quorum=2,
        asked_at_ms=now_ms - 61_000,
        deadline_at_ms=now_ms + 7_200_000,
    )
    given = (Given(approved=True, who="Grace"),)
    return Approval(asked=asked, run_id=_RUN, target="Teller/pay", state="waiting", given=given, is_paused=True)


def _kept(now_ms: int, refused: str = "") -> Approval:
    """A question that waits between turns."""
    asked = Asked(
        id="ask_1AAECAwQFBgcIUGF0aWVudERlc2svYWxpY2U" + ("x" if refused else ""),
        awakeables=(),
        agent="Medical specialist",
        path=("Intake", "Medical specialist"),
        tool="file_claim",
        arguments='{"treatment": "two nights in hospital"}',
        asked_at_ms=now_ms - 86_400_000,
        refused=refused,
    )
    keeper = ("PatientDesk", "alice")
    return Approval(asked=asked, run_id=_RUN, target="/".join(keeper), state="waiting", keeper=keeper)


_CHANGED: Final = "The definition of file_claim has changed since the question was put."


def _turns(now_ms: int) -> list[Turn]:
    asked = ToolCall("file_medical_claim", {"treatment": "two nights in hospital"}, "c1")
    reply = ModelReply(
        framework="OpenAI Agents",
        text="I file the claim.",
        reasoning="The customer was in hospital.",
        calls=(asked,),
        model="gpt-5-mini",
        input_tokens=111,
        output_tokens=15,
    )

    def turn(kind: str, **facts: object) -> Turn:
        return msgspec.structs.replace(Turn(kind=kind, run_id=_RUN, index=1, at_ms=now_ms, took_ms=412), **facts)

    return [
        turn("user", text="I broke my leg and was in hospital for two nights"),
        turn(
            "decision",
            agent="Intake",
            title="Pick specialist",
            choice="Medical specialist",
            reason="it is about a treatment",
            candidates=("Medical specialist", "Car specialist"),
            chosen=("Medical specialist",),
        ),
        turn(
            "decision",
            agent="Desk",
            title="Pick desk",
            choice="Refunds",
            choices={"Refunds": 31, "Billing": 9},
        ),
        turn("handoff", agent="Intake", title="Medical specialist", reason="it is about a treatment"),
        turn(
            "model",
            agent="Medical specialist",
            title="call LLM",
            text=reply.text,
            reply=reply,
            model=reply.model,
            cost=0.00006,
            results={"c1": "M-ee996268: medical claim"},
        ),
        turn("step", agent="Medical specialist", title="File medical claim", text="M-ee996268: medical claim"),
        turn("step", agent="Medical specialist", title="Look up policy", text=formats.line(_POLICY),
             value=formats.shown(_POLICY)),
        turn("call", agent="Medical specialist", title="CoverDesk/lookUp", text="alice", to_run=_RUN),
        turn("problem", agent="Medical specialist", title="Pay", text="[500] no such account", is_failure=True),
        turn("answer", agent="Medical specialist", text=formats.safe(HOSTILE)),
    ]  # fmt: skip
