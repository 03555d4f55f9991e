"""The agents that an app declares at discovery, with stand-ins for the frameworks: no framework is imported here."""

from __future__ import annotations

import asyncio
import json
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import restate

from rewake.agents import introspection
from rewake.agents.introspection import METADATA_CHARS_MAX, METADATA_KEY, OBJECTS_MAX, OBJECTS_PER_HANDLER_MIN
from rewake.agents.roster import Roster
from rewake.deployments.asgi import call_discovery


class OpenAIAgent:
    """As agents.Agent: what it hands over to and which tools it has are lists."""

    def __init__(self, name: str, *, model: Any = "m-1", tools: Any = (), handoffs: Any = ()) -> None:
        self.name, self.model, self.tools, self.handoffs = name, model, list(tools), list(handoffs)


class Handoff:
    def __init__(self, agent: OpenAIAgent, tool_name: str) -> None:
        self.agent_name, self.tool_name = agent.name, tool_name
        self.on_invoke: Callable[[], OpenAIAgent] = lambda: agent


class Tool:
    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name, self.function = name, function


@pytest.fixture(autouse=True)
def framework(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = types.ModuleType("agents")
    module.Agent = OpenAIAgent  # type: ignore[attr-defined]
    for name in ("google.adk.agents", "pydantic_ai", "agents.models"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "agents", module)
    return iter([None])


def told(*services: Any, wrap: Callable[[Any], Any] = lambda app: app) -> dict[str, Any]:
    """Handler to the agents in the manifest of an app of these services."""
    status, _, body = asyncio.run(call_discovery(wrap(restate.app(services))))
    assert status == 200, body
    return {
        handler["name"]: json.loads(handler.get("metadata", {}).get(METADATA_KEY, "[]"))
        for service in json.loads(body)["services"]
        for handler in service["handlers"]
    }


class UnnamedAgent:
    """As pydantic_ai.Agent before it has run."""

    def __init__(self, name: str | None) -> None:
        self.name, self.model, self.toolsets = name, "m-1", list[Any]()


front_desk = UnnamedAgent(None)
medical = OpenAIAgent("Medical specialist")
car = OpenAIAgent("Car specialist", handoffs=[medical])
unused = OpenAIAgent("Nobody")


def ask_medical(question: str) -> str:
    return f"{medical.name}: {question}"


intake = OpenAIAgent(
    "Intake",
    model=types.SimpleNamespace(model="m-2"),
    tools=[Tool("ask_a_doctor", ask_medical), Tool("look_up", len)],
    handoffs=[Handoff(car, "transfer_to_car"), medical],
)
team = {"intake": intake}
desk = restate.Service("Desk")


@desk.handler()
async def answer(ctx: restate.Context, text: str) -> str:
    return team["intake"].name + text


@desk.handler(metadata={"team": "claims"})
async def car_only(ctx: restate.Context, text: str) -> str:
    return car.name


@desk.handler()
async def forward(ctx: restate.Context, text: str) -> str:
    return await ctx.service_call(answer, text)


def test_each_handler_tells_the_agents_it_reaches() -> None:
    found = told(desk)
    assert [agent["name"] for agent in found["answer"]] == ["Car specialist", "Intake", "Medical specialist"]
    assert found["answer"][1] == {
        "name": "Intake",
        "model": "m-2",
        "handoffs": ["Car specialist", "Medical specialist"],
        "handoff_tools": {"transfer_to_car": "Car specialist"},
        "tools": ["ask_a_doctor", "look_up"],
        "asks": {"ask_a_doctor": "Medical specialist"},
    }
    assert [agent["name"] for agent in found["car_only"]] == ["Car specialist", "Medical specialist"]


def test_what_another_handler_reaches_is_not_its_callers() -> None:
    assert told(desk)["forward"] == []


def test_metadata_of_the_user_stays() -> None:
    told(desk)
    assert desk.handlers["car_only"].metadata is not None
    assert desk.handlers["car_only"].metadata["team"] == "claims"
    assert set(desk.handlers["car_only"].metadata) == {"team", METADATA_KEY}


def test_an_agent_without_a_name_has_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pydantic AI names agents at run time, LangChain calls every graph the same; in a closure there is no variable."""
    module = types.ModuleType("pydantic_ai")
    module.Agent = UnnamedAgent  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pydantic_ai", module)
    service = restate.Service("Chat")

    @service.handler()
    async def at_home(ctx: restate.Context, text: str) -> str:
        return str(front_desk.toolsets)

    hidden = UnnamedAgent(None)

    @service.handler()
    async def enclosed(ctx: restate.Context, text: str) -> str:
        return str(hidden.toolsets)

    found = told(service)
    assert [agent["name"] for agent in found["at_home"]] == ["front_desk"]
    assert [agent["name"] for agent in found["enclosed"]] == ["Chat"]


def test_middleware_around_the_app_is_looked_through() -> None:
    class Middleware:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)

    assert told(desk, wrap=Middleware)["answer"]


def test_an_agent_that_cannot_be_read_is_left_out_and_discovery_goes_on() -> None:
    class Broken(OpenAIAgent):
        @property
        def handoffs(self) -> Any:
            raise RuntimeError("no")

        @handoffs.setter
        def handoffs(self, value: Any) -> None: ...

    broken, whole = Broken("Broken"), OpenAIAgent("Whole")
    service = restate.Service("Odd")

    @service.handler()
    async def run(ctx: restate.Context) -> str:
        return broken.name + whole.name

    assert [agent["name"] for agent in told(service)["run"]] == ["Whole"]


def test_looking_wakes_nothing_up() -> None:
    """Lazy objects, as clients made at their first use, stay as they are."""
    woken: list[str] = []

    class Lazy:
        def __getattribute__(self, name: str) -> Any:
            woken.append(name)
            raise RuntimeError(name)

    lazy, agent = Lazy(), OpenAIAgent("Awake")
    service = restate.Service("Sleepy")

    @service.handler()
    async def run(ctx: restate.Context) -> str:
        return f"{lazy}{agent.name}"

    assert [found["name"] for found in told(service)["run"]] == ["Awake"]
    assert woken == []


def test_what_the_user_says_of_agents_stands() -> None:
    own = json.dumps([{"name": "mine"}])
    service = restate.Service("Own")

    @service.handler(metadata={METADATA_KEY: own})
    async def run(ctx: restate.Context) -> str:
        return intake.name

    assert told(service)["run"] == [{"name": "mine"}]


def test_a_function_of_no_module_hides_no_agent() -> None:
    """Made by exec, as some libraries make theirs."""
    made: dict[str, Any] = {"intake": intake}
    exec("def helper(): return intake", made)
    helper = made["helper"]
    helper.__module__ = None
    service = restate.Service("Made")

    @service.handler()
    async def run(ctx: restate.Context) -> str:
        return str(helper())

    assert intake.name in [agent["name"] for agent in told(service)["run"]]


def test_an_app_that_refuses_to_be_looked_at_is_discovered_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(app: Any) -> Any:
        raise RuntimeError("no")

    monkeypatch.setattr(introspection, "_handlers_of", broken)
    service = restate.Service("Plain")

    @service.handler()
    async def run(ctx: restate.Context) -> str:
        return intake.name

    assert told(service)["run"] == []


def test_a_model_that_nobody_declared_is_the_frameworks_default(monkeypatch: pytest.MonkeyPatch) -> None:
    models = types.ModuleType("agents.models")
    models.get_default_model = lambda: "m-default"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "agents.models", models)
    service = restate.Service("Undeclared")
    plain, named = OpenAIAgent("Plain", model=None), OpenAIAgent("Named")

    @service.handler()
    async def run(ctx: restate.Context) -> str:
        return f"{plain.name} {named.name}"

    roster = Roster({METADATA_KEY: json.dumps(told(service)["run"])})
    known = [(name, roster.model_of(name), roster.is_default_model(name)) for name in ("Plain", "Named", "somebody")]
    assert known == [("Plain", "m-default", True), ("Named", "m-1", False), ("somebody", None, False)]


def test_a_roster_reads_what_was_told() -> None:
    roster = Roster({METADATA_KEY: json.dumps(told(desk)["answer"])})
    assert roster.choices_of("intake") == ("Car specialist", "Medical specialist")
    assert roster.choices_of("car_specialist") == ("Medical specialist",)
    assert roster.model_of("Intake") == "m-2"
    assert roster.model_of("somebody") is None  # not all have the same


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"name": 3}]', "[" * 2_000, '[{"model": "m"}]'])
def test_a_roster_is_empty_when_metadata_is_anything_else(text: str) -> None:
    assert not Roster({METADATA_KEY: text})
    assert Roster({METADATA_KEY: text, "rewake.candidates": "car, medical,, "}).choices_of("x") == ("car", "medical")


@pytest.mark.parametrize("more", [0, 1])
def test_metadata_too_large_are_left_out(more: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = [Tool(f"tool{number}", len) for number in range(3)]
    agent = OpenAIAgent("Large", tools=tools)
    service = restate.Service("Large")

    @service.handler()
    async def run(ctx: restate.Context) -> str:
        return agent.name

    (facts,) = told(service)["run"]
    service.handlers["run"].metadata = None
    size = len(json.dumps([facts], ensure_ascii=False))
    assert size < METADATA_CHARS_MAX
    monkeypatch.setattr(introspection, "METADATA_CHARS_MAX", size - more)
    assert bool(told(service)["run"]) == (not more)


def test_so_many_objects_are_looked_at_over_all_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def agents_of(handler: Any, others: Any, describers: Any, objects_max: int) -> list[Any]:
        looked.append(objects_max)
        return []

    monkeypatch.setattr(introspection, "_agents_of", agents_of)
    for count in (1, 10, 100):
        service = restate.Service("Many")
        for number in range(count):
            service.handler(f"h{number}")(_nothing)
        told(service)
    assert looked == [OBJECTS_MAX, *[OBJECTS_MAX // 10] * 10, *[OBJECTS_PER_HANDLER_MIN] * 100]


async def _nothing(ctx: restate.Context) -> None: ...
