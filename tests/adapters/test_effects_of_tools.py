"""Tools with an effect, of both frameworks: lost answers, what no model may try again, and what is undone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Protocol

import openai_app
import pytest
import restate
from agents import Agent, Tool, function_tool, set_default_openai_client
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai import ModelRetry
from pydantic_kit import Log, call, script
from pydantic_kit import text as said
from test_effects import Bank, Desk, scenario

import rewake
from rewake.core.ids import invocation_id_from_str
from rewake.ext.kernel import effect_key, idempotency_key
from rewake.ext.openai import Done, DurableRunner, durable_function_tool, external
from rewake.ext.pydantic import RewakeDurability
from rewake.runs.agents import agent_trace, is_of_agents
from rewake.runs.local.database import local_reading
from rewake.runs.turns import AgentTrace
from rewake.testing.models import ModelServer, in_turn, rule, text, tool_call, tool_calls

AT_ONCE: Final = timedelta(0)
bank_here: list[Bank] = []
"""The bank of this test: tools take no more than what models give."""


def bank() -> Bank:
    return bank_here[0]


async def find(amount: int) -> Done[str] | None:
    found = await bank().find(effect_key())
    return None if found is None else Done(found.value["receipt"])


async def refund(receipt: str | None, amount: int) -> None:
    assert idempotency_key() != effect_key()
    bank().undone.append((receipt == effect_key(), amount))


async def pay(amount: int) -> str:
    """Pay."""
    assert idempotency_key() == effect_key()
    return (await bank().pay(effect_key()))["receipt"]


async def broken() -> str:
    """Look something up."""
    raise restate.TerminalError("no such thing")


class Play(Protocol):
    """An agent that pays, then looks something up, then says how it went. How often its model was asked."""

    def __call__(self, **terms: Any) -> tuple[Callable[..., Any], Callable[[], int]]: ...


@pytest.fixture
def openai_play(monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    servers: list[ModelServer] = []

    def play(*, recovers: bool = True, **terms: Any) -> Any:
        answers = in_turn(tool_call("pay", {"amount": 7}), tool_call("broken", {}), text("All is well."))
        server = ModelServer([rule(name="model", answer=answers)])
        server.start()
        servers.append(server)
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        set_default_openai_client(openai_app.client(), use_for_tracing=False)
        lookup: Tool = function_tool(broken) if recovers else durable_function_tool(broken)
        tools: list[Tool] = [durable_function_tool(effect="external", settle=AT_ONCE, **terms)(pay), lookup]
        agent = Agent(name="Clerk", instructions="pay", tools=tools)

        async def handler(ctx: restate.Context, _: Bank) -> Any:
            return (await DurableRunner.run(agent, "pay 7")).final_output

        return handler, lambda: server.count("model").asked

    yield play
    for server in servers:
        server.stop()


@pytest.fixture
def pydantic_play() -> Play:
    def play(*, recovers: bool = True, **terms: Any) -> Any:
        log = Log()
        model = script(log, "clerk", call("pay", "1", amount=7), call("broken", "2"), said("All is well."))
        agent = PydanticAgent(model, name="Clerk", capabilities=[RewakeDurability()])
        agent.tool_plain(external(settle=AT_ONCE, **terms)(pay))

        @agent.tool_plain(name="broken")
        async def lookup() -> str:
            if recovers:
                raise ModelRetry("no such thing")
            return await broken()

        async def handler(ctx: restate.Context, _: Bank) -> Any:
            return (await agent.run("pay 7")).output

        return handler, lambda: sum(log.count(f"clerk {number}") for number in range(3))

    return play


@pytest.fixture(params=["openai", "pydantic"])
def play(request: pytest.FixtureRequest) -> Play:
    found: Play = request.getfixturevalue(f"{request.param}_play")
    return found


def ran(handler: Any, folder: Path, *fates: str, waits: bool = False) -> tuple[Any, list[str], AgentTrace]:
    """The answer or the failure of a run, the names of its steps, and what the page of its agents shows."""
    bank_here[:] = [Bank(*fates)]
    desk = Desk(handler, bank(), waits=waits)

    async def work() -> Any:
        async with desk.engine(folder) as engine:
            run = await engine.send("Desk", "run")
            try:
                answer: Any = await engine.result(run)
            except rewake.InvocationFailed as failure:
                answer = failure.message
            rows = (await engine.query("select name from sys_journal order by index")).rows
            with local_reading(folder, engine.now_ms()) as reading:
                invocation = reading.invocation(invocation_id_from_str(run))
                assert invocation is not None
                trace = agent_trace(reading, invocation)
                assert is_of_agents(reading, invocation)
            await openai_app.close()
            return answer, [row[0] for row in rows if row[0]], trace

    return scenario(work())  # type: ignore[no-any-return]


@pytest.mark.parametrize(("fate", "waits"), [("before", True), ("after", False)])
def test_a_lost_answer_of_a_tool_is_found(play: Play, fate: str, waits: bool, tmp_path: Path) -> None:
    handler, asked = play(verify=find)
    answer, names, trace = ran(handler, tmp_path, fate, waits=waits)
    assert answer == "All is well."
    assert (len(bank().booked), asked()) == (1, 3)
    assert bank().asked >= 1
    assert names.index("Clerk: send pay") + 1 == names.index("Clerk: effect pay")
    state = "verified" if fate == "after" else "done"
    (effect,) = [turn for turn in trace.turns if turn.title == "Clerk: effect pay"]
    assert (effect.agent, effect.text.split()[0], effect.is_failure) == ("Clerk", state, False)
    assert [*trace.turns[1].results.values()][:1] == bank().booked


def test_no_model_tries_again_what_is_unknown(play: Play, tmp_path: Path) -> None:
    """Frameworks make text of a tool's failure, and the model would pay a second time."""
    handler, asked = play(on_unknown="fail")
    answer, _, trace = ran(handler, tmp_path, "cut")
    assert "Whether 'pay'" in answer
    assert (len(bank().booked), asked()) == (1, 1)
    assert [turn.text.split()[0] for turn in trace.turns if turn.is_failure and turn.title] == ["unknown"]


@pytest.mark.parametrize("recovers", [True, False])
def test_what_a_tool_has_done_is_undone_when_the_run_fails_and_not_when_the_model_recovers(
    play: Play, recovers: bool, tmp_path: Path
) -> None:
    handler, _ = play(on_unknown="retry", on_undo=refund, recovers=recovers)
    answer, names, _ = ran(handler, tmp_path)
    assert ("All is well." in answer) is recovers
    assert bank().undone == ([] if recovers else [(True, 7)])
    assert (names[-1] == "Clerk: undo pay") is not recovers


@pytest.fixture
def teller(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Agent[Any]]]:
    """An agent that makes two payments in one answer; nested: as the tool of another one."""
    twice = tool_calls(tool_call("pay", {"amount": 7}), tool_call("pay", {"amount": 8}))
    asks = tool_call("ask_teller", {"input": "pay"})
    rules = [
        rule(name="teller", system="teller", answer=in_turn(twice, text("Both are paid."))),
        rule(name="boss", system="boss", answer=in_turn(asks, text("All is well."))),
    ]
    with ModelServer(rules) as server:
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        set_default_openai_client(openai_app.client(), use_for_tracing=False)

        def made(tool: Tool, *, nested: bool = False) -> Agent[Any]:
            teller = Agent(name="Teller", instructions="teller", tools=[tool])
            if not nested:
                return teller
            return Agent(name="Boss", instructions="boss", tools=[teller.as_tool("ask_teller", "pays")])

        yield made


@pytest.mark.parametrize(("nested", "fate"), [(False, "after"), (True, "before"), (True, "after")])
def test_payments_side_by_side_are_each_booked_once(
    teller: Callable[..., Agent[Any]], nested: bool, fate: str, tmp_path: Path
) -> None:
    """Of one answer of the model, also in an agent that is a tool, when the attempt dies in one of them."""
    agent = teller(durable_function_tool(effect="external", settle=AT_ONCE, verify=find)(pay), nested=nested)

    async def handler(ctx: restate.Context, _: Bank) -> Any:
        return (await DurableRunner.run(agent, "pay")).final_output

    answer, names, _ = ran(handler, tmp_path, "ok", fate)
    assert answer == ("All is well." if nested else "Both are paid.")
    assert len(bank().booked) == len(set(bank().booked)) == 2
    assert [name for name in names if "pay" in name].count("Teller: effect pay") == 2


def test_a_cancelled_agent_waits_for_its_payments_and_they_are_undone(
    teller: Callable[..., Agent[Any]], tmp_path: Path
) -> None:
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slow(amount: int) -> str:
        """Pay."""
        begun.set()
        await finish.wait()
        return await pay(amount)

    slow.__name__ = "pay"
    agent = teller(durable_function_tool(effect="external", on_unknown="fail", on_undo=refund)(slow), nested=True)

    async def handler(ctx: restate.Context, _: Bank) -> Any:
        return (await DurableRunner.run(agent, "pay")).final_output

    bank_here[:] = [Bank()]
    desk = Desk(handler, bank())

    async def work() -> int:
        async with desk.engine(tmp_path) as engine:
            run = await engine.send("Desk", "run")
            await begun.wait()
            await engine.cancel(run)
            finish.set()
            with pytest.raises(rewake.InvocationFailed) as failed:
                await engine.result(run)
            await openai_app.close()
            return failed.value.code

    assert scenario(work()) == 409
    assert 1 <= len(bank().booked) == len(bank().undone)
    assert all(is_its_own for is_its_own, _ in bank().undone)


def test_terms_without_an_effect_are_refused() -> None:
    with pytest.raises(ValueError, match='need effect="external"'):
        durable_function_tool(verify=find)
