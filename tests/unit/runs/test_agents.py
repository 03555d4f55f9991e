"""Runs read as agents: what the journals of the tour's frameworks tell."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.agents.recorded import load

from rewake.core import ids
from rewake.runs.agents import agent_trace_with_choices
from rewake.runs.filters import RunFilter
from rewake.runs.listing import Counts, run_page
from rewake.runs.local import scan
from rewake.runs.local.database import local_reading
from rewake.runs.steps import steps_of
from rewake.runs.turns import AgentTrace
from rewake.store.connection import DATABASE_FILE, open_writer
from rewake.ui.step import step_data, step_detail


def traces(name: str, folder: Path, *, is_told: bool = True) -> list[AgentTrace]:
    """The traces of the runs that callers started, in order. is_told: by the app, which agents it is made of."""
    data = load(name, folder)
    if not is_told:
        connection = open_writer(data / DATABASE_FILE)
        connection.execute("delete from service")
        connection.close()
    with local_reading(data, 1 << 42) as found:
        roots = [
            id_
            for (id_,) in found.execute("select id from invocation where invoked_by = 'ingress' order by created_at_ms")
        ]
        made = []
        for id_ in roots:
            invocation = found.invocation(id_)
            assert invocation is not None
            made.append(agent_trace_with_choices(found, invocation))
        return made


def story(trace: AgentTrace) -> list[str]:
    """Each turn in a word or two."""
    told = []
    for turn in trace.turns:
        if turn.kind == "model":
            assert turn.reply is not None
            told.append(f"{turn.agent} says {', '.join(call.name for call in turn.reply.calls) or turn.text[:20]}")
        elif turn.kind == "handoff":
            told.append(f"{turn.agent} -> {turn.title}")
        elif turn.kind == "decision":
            told.append(f"{turn.agent} chose {turn.choice}")
        elif turn.kind == "call":
            told.append(f"{turn.agent} calls {turn.title}")
        elif turn.kind == "step":
            told.append(f"step {turn.title}")
        else:
            told.append(turn.kind)
    return told


def offered(trace: AgentTrace) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """(agent, whom it could have chosen, whom it chose) of each turn that chose."""
    return [(turn.agent, turn.candidates, turn.chosen) for turn in trace.turns if turn.candidates]


def spent(trace: AgentTrace) -> list[tuple[str, str | None, int, int, int, bool]]:
    for item in trace.usage:
        assert item.cost is not None and item.cost > 0, item
    return [
        (item.agent, item.model, item.calls, item.input_tokens, item.output_tokens, item.is_declared)
        for item in trace.usage
    ]


def test_openai_agents(tmp_path: Path) -> None:
    """Handoffs by tool calls; the state tells who speaks when the next message comes, the app who spoke first."""
    first, second, third = traces("claim_handoffs", tmp_path)
    assert story(first)[:-2] == [
        "user",
        "Intake says transfer_to_medical_specialist",
        "Intake -> Medical specialist",
        "Medical specialist says file_medical_claim",
        "step File medical claim",
    ]
    assert first.agents == ["Intake", "Medical specialist"]
    assert first.handoffs[0].reason == "it is about a treatment"
    asked = first.turns[3]
    assert asked.reply is not None
    assert asked.results[asked.reply.calls[0].call_id].endswith(": medical claim for two nights in hospital")
    assert story(second)[1] == "Medical specialist says The money arrives fi"
    assert (third.handoffs[0].source, third.handoffs[0].target) == ("Medical specialist", "Car specialist")


def test_openai_agents_tell_candidates_and_the_model(tmp_path: Path) -> None:
    """The journal names neither whom an agent could hand over to nor the model; the app's agents do."""
    first, _, third = traces("claim_handoffs", tmp_path)
    both = ("Medical specialist", "Car specialist")
    assert offered(first) == [("Intake", both, ("Medical specialist",))]
    assert offered(third) == [("Medical specialist", ("Car specialist",), ("Car specialist",))]
    declared = first.usage[0].model
    assert declared is not None
    assert spent(first) == [
        ("Intake", declared, 1, 40, 17, True),
        ("Medical specialist", declared, 2, 131, 30, True),
    ]
    assert (first.total.calls, first.total.input_tokens, first.total.unpriced_calls) == (3, 171, 0)
    assert first.total.cost == pytest.approx(sum(item.cost or 0 for item in first.usage))


def test_a_step_tells_who_replied_with_which_model_and_at_what_price(tmp_path: Path) -> None:
    turn = traces("claim_handoffs", tmp_path)[0].turns[3]
    with local_reading(tmp_path, 1 << 42) as found:
        invocation = found.invocation(ids.invocation_id_from_str(turn.run_id))
        assert invocation is not None
        data = step_data(found, invocation, turn.index, steps_of(found.entries(invocation.id)), [])
    assert data is not None
    step = step_detail(data)
    assert (step.agent, step.model, step.is_declared) == ("Medical specialist", turn.model, True)
    assert step.cost == turn.cost is not None


def test_an_app_that_tells_nothing(tmp_path: Path) -> None:
    """What was chosen here lately stands in for the candidates; who is not named bears the service's name."""
    first = traces("claim_handoffs", tmp_path, is_told=False)[0]
    assert story(first)[1:3] == [
        "ClaimDesk says transfer_to_medical_specialist",
        "ClaimDesk -> Medical specialist",
    ]
    assert offered(first) == []
    assert first.turns[2].choices == {"Car specialist": 1, "Medical specialist": 1}
    assert [(item.agent, item.model, item.cost) for item in first.usage] == [
        ("ClaimDesk", None, None),
        ("Medical specialist", None, None),
    ]
    assert (first.total.cost, first.total.unpriced_calls) == (None, 3)


def test_adk(tmp_path: Path) -> None:
    """Transfers; the session tells the names of agents and what tools returned."""
    first = traces("claim_subagents", tmp_path)[0]
    assert story(first)[:4] == [
        "user",
        "intake says transfer_to_agent",
        "intake -> medical_specialist",
        "medical_specialist says open_claim",
    ]
    assert first.agents == ["intake", "medical_specialist"]
    assert offered(first) == [("intake", ("medical_specialist", "car_specialist"), ("medical_specialist",))]
    assert spent(first) == [
        ("intake", "gemini-2.5-flash", 1, 238, 14, False),
        ("medical_specialist", "gemini-2.5-flash", 2, 1130, 39, False),
    ]


@pytest.mark.parametrize(("is_told", "first"), [(True, "intake"), (False, "ClaimAdvisor")])
def test_pydantic_ai(tmp_path: Path, is_told: bool, first: str) -> None:
    """Agents as tools: those consulted answer in between, and the first one ends."""
    (trace,) = traces("claim_tools", tmp_path, is_told=is_told)
    assert story(trace) == [
        "user",
        f"{first} says consult_medical_specialist, consult_car_specialist",
        "step Look up medical cover",
        "medical_specialist says Your hospital stay i",
        "step Look up car cover",
        "car_specialist says The repair is covere",
        f"{first} says Your hospital stay i",
        "answer",
    ]
    assert [(item.source, item.target, item.kind) for item in trace.handoffs] == [
        (first, "medical_specialist", "consult"),
        (first, "car_specialist", "consult"),
    ]
    both = ("medical_specialist", "car_specialist")
    assert offered(trace) == ([(first, both, both)] if is_told else [])
    assert spent(trace) == [
        (first, "gpt-5-mini", 2, 151, 80, False),
        ("medical_specialist", "gpt-5-mini", 1, 67, 19, False),
        ("car_specialist", "gpt-5-mini", 1, 64, 20, False),
    ]


def test_langchain(tmp_path: Path) -> None:
    """An agent inside a tool of another one, with a tool of its own."""
    (trace,) = traces("langchain", tmp_path)
    assert story(trace) == [
        "user",
        "intake says consult_car_specialist",
        "car_specialist says look_up_car_cover",
        "step Look up car cover",
        "car_specialist says A collision is cover",
        "intake says You are covered.",
        "answer",
    ]
    assert offered(trace) == [("intake", ("car_specialist",), ("car_specialist",))]
    assert spent(trace) == [
        ("intake", "gpt-5-mini", 2, 42, 21, False),
        ("car_specialist", "gpt-5-mini", 2, 42, 22, False),
    ]
    asked = trace.turns[1]
    assert asked.reply is not None and asked.reply.framework == "LangChain"
    assert asked.results == {asked.reply.calls[0].call_id: "A collision is covered, with 300 euros excess."}


def test_vercel_ai(tmp_path: Path) -> None:
    """The TypeScript app: specialists as tools, named by the handler's metadata, and a wait for a reviewer."""
    trace = next(found for found in traces("ts_claim_approval", tmp_path) if found.usage)
    assert story(trace) == [
        "user",
        "ClaimApproval says consultCarSpecialist",
        "step Look up car cover",
        "car specialist says The car is covered w",
        "ClaimApproval says payClaim",
        "step Pay claim",
        "ClaimApproval says Your claim is covere",
        "answer",
    ]
    assert offered(trace) == [("ClaimApproval", ("medical specialist", "car specialist"), ("car specialist",))]
    assert spent(trace) == [
        ("ClaimApproval", "gpt-5-mini", 3, 270, 41, False),
        ("car specialist", "gpt-5-mini", 1, 63, 18, False),
    ]
    assert {turn.reply.framework for turn in trace.turns if turn.reply} == {"Vercel AI"}


def test_chat_completions_and_messages(tmp_path: Path) -> None:
    """Replies journaled as they came, of two providers: a handoff from the one to the other."""
    first, second = traces("chat", tmp_path)
    assert story(first) == ["user", "ChatDesk says Hello, how can I hel", "answer"]
    assert story(second) == [
        "user",
        "ChatDesk says transfer_to_billing",
        "ChatDesk -> billing",
        "billing says find_invoice",
        "answer",
    ]
    assert offered(second) == [("ChatDesk", ("billing", "technical"), ("billing",))]
    assert spent(second) == [
        ("ChatDesk", "gpt-5-mini", 1, 18, 6, False),
        ("billing", "claude-sonnet-4-5", 1, 212, 31, False),
    ]
    assert [turn.reply.framework for turn in second.turns if turn.reply] == ["Chat completion", "Anthropic"]


@pytest.mark.parametrize("name", ["support_router", "ts_support_router"])
def test_plain_steps(tmp_path: Path, name: str) -> None:
    """A router whose decision is a step; the handler's metadata says whom it chooses from."""
    first = traces(name, tmp_path)[0]
    assert story(first) == ["user", "SupportRouter chose billing", "step Ask billing", "answer"]
    assert offered(first) == [("SupportRouter", ("billing", "technical"), ("billing",))]


def test_a_router_that_answers_itself(tmp_path: Path) -> None:
    second = traces("support_router", tmp_path)[1]
    assert story(second) == ["user", "SupportRouter chose None", "answer"]
    assert not second.handoffs
    assert offered(second) == [("SupportRouter", ("billing", "technical"), ())]


def test_specialists_in_services_of_their_own(tmp_path: Path) -> None:
    """The run that was called is shown inside the one that called it; its agent has its own name, not the service's."""
    first = traces("remote_specialists", tmp_path)[0]
    assert story(first) == [
        "user",
        "ClaimRouter chose car_specialist",
        "car_specialist calls CarSpecialist/answer",
        "asked",
        "car_specialist says find_garage",
        "step Find garage",
        "car_specialist says The repair is covere",
        "answer",
        "answer",
    ]
    assert [(item.source, item.target) for item in first.handoffs] == [("ClaimRouter", "car_specialist")]
    assert offered(first) == [("ClaimRouter", ("MedicalSpecialist", "car_specialist"), ("car_specialist",))]
    assert spent(first) == [("car_specialist", "gpt-5-mini", 2, 83, 28, True)]


def test_specialists_in_another_language(tmp_path: Path) -> None:
    """A TypeScript router, Python specialists and a TypeScript desk, told as one conversation."""
    first = traces("ts_remote_specialists", tmp_path)[0]
    assert first.agents == ["ClaimRouter", "CoverDesk", "MedicalSpecialist"]
    assert offered(first) == [("ClaimRouter", ("MedicalSpecialist", "CarSpecialist"), ("MedicalSpecialist",))]


@pytest.mark.parametrize(
    ("agent", "count"), [("Intake", 1), ("intake", 1), ("Car specialist", 1), ("Medical_specialist", 3), ("Nobody", 0)]
)
def test_runs_are_found_by_an_agent_that_only_the_app_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent: str, count: int
) -> None:
    monkeypatch.setattr(scan, "LOOK_S", 10.0)
    with local_reading(load("claim_handoffs", tmp_path), 1 << 42) as found:
        page = run_page(found, RunFilter(agent=agent), Counts())
    assert len(page.runs) == count


def test_openai_agents_as_tools(tmp_path: Path) -> None:
    """Those asked inside tools have turns and tokens of their own."""
    (trace,) = traces("agent_tools", tmp_path)
    assert story(trace) == [
        "user",
        "Intake says ask_car, ask_medical",
        "Car specialist says look_up_car_cover",
        "Car specialist says The bumper is covere",
        "Medical specialist says The leg is covered.",
        "Intake says Both are covered.",
        "answer",
    ]
    assert [(item.source, item.target, item.kind) for item in trace.handoffs] == [
        ("Intake", "Car specialist", "consult"),
        ("Intake", "Medical specialist", "consult"),
    ]
    assert [(item.agent, item.calls) for item in trace.usage] == [
        ("Intake", 2), ("Car specialist", 2), ("Medical specialist", 1),
    ]  # fmt: skip


def test_rewake_ext_openai(tmp_path: Path) -> None:
    """Envelopes: two agents asked side by side, whose steps alternate, then a handoff."""
    (trace,) = traces("ext_openai", tmp_path)
    assert story(trace) == [
        "user",
        "Intake says ask_car, ask_medical",
        "Car specialist says look_up_car_cover",
        "Medical specialist says The leg is covered.",
        "step look_up_car_cover",
        "Car specialist says The bumper is covere",
        "Intake says transfer_to_payer",
        "Intake -> Payer",
        "Payer says Both are paid.",
        "answer",
    ]
    assert [(item.source, item.target, item.kind) for item in trace.handoffs] == [
        ("Intake", "Car specialist", "consult"),
        ("Intake", "Medical specialist", "consult"),
        ("Intake", "Payer", "handoff"),
    ]
    step = trace.turns[4]
    assert (step.agent, step.tool) == ("Car specialist", "look_up_car_cover")
    assert set(trace.turns[1].results.values()) == {"The bumper is covered.", "The leg is covered."}


def test_rewake_ext_pydantic(tmp_path: Path) -> None:
    (trace,) = traces("ext_pydantic", tmp_path)
    assert story(trace) == [
        "user",
        "intake says ask_car",
        "step ask_car",
        "car says look_up_car_cover",
        "step look_up_car_cover",
        "car says A collision is cover",
        "intake says You are covered.",
        "answer",
    ]
    assert [(item.source, item.target, item.kind) for item in trace.handoffs] == [("intake", "car", "consult")]
    assert [(item.agent, item.calls) for item in trace.usage] == [("intake", 2), ("car", 2)]
