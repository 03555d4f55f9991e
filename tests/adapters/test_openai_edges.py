"""OpenAI Agents: errors and limits, cancellation, identity, what the journal holds, and the user's own objects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import openai_app
import pytest
import restate
from agents import (
    Agent,
    MaxTurnsExceeded,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunHooks,
    Runner,
    function_tool,
    handoff,
    set_default_openai_client,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from test_kernel import DEADLINE_S, Desk

import rewake
from rewake.ext.kernel import ApprovalRequest, ask, sessions
from rewake.ext.kernel.envelope import decode
from rewake.ext.openai import DurableRunner, RestateSession, raise_terminal_errors, restate_context
from rewake.ext.openai.models import durable
from rewake.testing.models import ModelServer, failure, in_turn, rule, text, tool_call, tool_calls

set_tracing_disabled(True)
Handler = Callable[[restate.Context, Any], Awaitable[Any]]


@function_tool
async def note(text: str) -> str:
    """Note."""
    return f"noted {text}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModelServer]]:
    """A model server with these rules, and the framework's default client on it."""
    started: list[ModelServer] = []

    def start(*rules: Any) -> ModelServer:
        found = ModelServer(list(rules))
        found.start()
        started.append(found)
        for name, value in found.env().items():
            monkeypatch.setenv(name, value)
        set_default_openai_client(openai_app.client(), use_for_tracing=False)
        return found

    yield start
    for each in started:
        each.stop()


def ran(handler: Handler, folder: Path, *, service: str = "Desk", given: Any = None) -> Any:
    """The answer of one call of a handler."""

    async def main(engine: rewake.Engine) -> Any:
        return await asyncio.wait_for(engine.call(service, "go", given), DEADLINE_S)

    return on_engine(Desk(go=handler).services, folder, main)


def on_engine(services: list[Any], folder: Path, main: Callable[[rewake.Engine], Awaitable[Any]]) -> Any:
    """What `main` gives, run beside an engine with these services."""

    async def run() -> Any:
        async with rewake.Engine(folder, restate.app(services)) as engine:
            try:
                return await main(engine)
            finally:
                await openai_app.close()

    return asyncio.run(run())


def agent(**fields: Any) -> Agent[Any]:
    return Agent(name="Helper", instructions="you are helper", **fields)


@pytest.mark.parametrize("status", [400, 401])
def test_a_refusal_of_the_provider_ends_the_invocation_at_once(
    status: int, server: Callable[..., ModelServer], tmp_path: Path
) -> None:
    models = server(rule(name="no", answer=failure(status, "not like this")))

    async def handler(ctx: restate.Context, given: object) -> object:
        return (await DurableRunner.run(agent(), "hi")).final_output

    with pytest.raises(rewake.InvocationFailed, match=rf"not like this.*code {status}"):
        ran(handler, tmp_path)
    assert models.count("no").asked == 1


def test_a_refusal_inside_an_agent_used_as_a_tool_is_for_its_failure_function(
    server: Callable[..., ModelServer], tmp_path: Path
) -> None:
    """The framework's own makes text of it for the asking model; raise_terminal_errors ends the invocation."""
    models = server(
        rule(name="refused", system="you are expert", answer=failure(400, "not like this")),
        rule(name="told", after_tool=True, answer=text("without the expert")),
        rule(name="ask", answer=tool_call("expert", {"input": "x"})),
    )
    expert = Agent(name="Expert", instructions="you are expert")

    async def handler(ctx: restate.Context, is_final: bool) -> object:
        given: dict[str, Any] = {"failure_error_function": raise_terminal_errors} if is_final else {}
        asking = agent(tools=[expert.as_tool("expert", "An expert.", **given)])
        return (await DurableRunner.run(asking, "hi")).final_output

    assert ran(handler, tmp_path / "text", given=False) == "without the expert"
    assert {name: count.asked for name, count in models.counts.items()} == {"refused": 1, "told": 1, "ask": 1}
    models.reset()
    set_default_openai_client(openai_app.client(), use_for_tracing=False)  # the first one's event loop is over
    with pytest.raises(rewake.InvocationFailed, match=r"not like this.*code 400"):
        ran(handler, tmp_path / "final", given=True)
    assert {name: count.asked for name, count in models.counts.items()} == {"refused": 1, "told": 0, "ask": 1}


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_provider_is_asked_again_in_place_when_it_says(
    status: int, server: Callable[..., ModelServer], tmp_path: Path
) -> None:
    models = server(rule(name="busy", answer=in_turn(failure(status, retry_after_s=0.3), text("at last"))))
    attempts = []

    async def handler(ctx: restate.Context, given: object) -> object:
        attempts.append(1)
        return (await DurableRunner.run(agent(), "hi")).final_output

    assert ran(handler, tmp_path) == "at last"
    assert (models.count("busy").asked, len(attempts)) == (2, 1)


def test_too_many_turns_are_terminal_and_keep_what_was_done(server: Callable[..., ModelServer], tmp_path: Path) -> None:
    models = server(rule(name="turns", answer=tool_call("note", {"text": "x"})))
    told: list[Any] = []

    async def handler(ctx: restate.Context, given: object) -> object:
        try:
            await DurableRunner.run(agent(tools=[note]), "hi", max_turns=2)
        except MaxTurnsExceeded as error:
            assert error.run_data is not None
            told.append(len(error.run_data.new_items))
            raise
        return None

    with pytest.raises(rewake.InvocationFailed, match="Max turns"):
        ran(handler, tmp_path)
    assert told == [4]
    assert models.count("turns").asked == 2


@pytest.mark.parametrize("is_durable", [True, False])
def test_a_cancelled_run_makes_no_tool_message(
    is_durable: bool, server: Callable[..., ModelServer], tmp_path: Path
) -> None:
    """The wait of a durable tool ends, and so does the body of a plain one."""
    models = server(rule(name="end", after_tool=True, answer=text("went on")), rule(answer=tool_call("wait")))
    waiting = asyncio.Event()

    async def for_a_person() -> str:
        waiting.set()
        return str(await restate_context().awakeable()[1])

    async def for_nothing() -> str:
        waiting.set()
        await asyncio.Event().wait()
        return "never"

    wait = function_tool(for_a_person if is_durable else for_nothing, name_override="wait")

    async def handler(ctx: restate.Context, given: object) -> object:
        return (await DurableRunner.run(agent(tools=[wait]), "hi")).final_output

    async def main(engine: rewake.Engine) -> None:
        invocation_id = await engine.send("Desk", "go", None)
        await asyncio.wait_for(waiting.wait(), DEADLINE_S)
        await engine.cancel(invocation_id)
        with pytest.raises(rewake.InvocationFailed, match="cancelled"):
            await asyncio.wait_for(engine.result(invocation_id), DEADLINE_S)

    on_engine(Desk(go=handler).services, tmp_path, main)
    assert models.count("end").asked == 0


def test_agents_stay_the_users_own_and_work_outside_of_a_handler(
    server: Callable[..., ModelServer], tmp_path: Path
) -> None:
    server(
        rule(system="you are other", answer=text("other answers")),
        rule(answer=tool_calls(tool_call("note", {"text": "x"}), tool_call("transfer_to_other"))),
    )
    other = Agent[Any](name="Other", instructions="you are other")
    own = OpenAIChatCompletionsModel("any", openai_app.client())
    desk = agent(tools=[note], handoffs=[handoff(other)], model=own)
    seen: list[Any] = []

    class Hooks(RunHooks[Any]):
        async def on_agent_start(self, context: Any, agent: Any) -> None:
            seen.append(agent)

        async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: Any) -> None:
            seen.append(tool)

    async def handler(ctx: restate.Context, given: object) -> object:
        result = await DurableRunner.run(desk, "hi", hooks=Hooks())
        return [result.final_output, result.last_agent is other]

    assert ran(handler, tmp_path) == ["other answers", True]
    assert [each is found for each, found in zip(seen, (desk, note, other), strict=True)] == [True] * 3
    assert isinstance(desk.model, OpenAIChatCompletionsModel)
    assert desk.model.model == "any"
    # Clients of the provider belong to an event loop.
    desk.model = durable(OpenAIChatCompletionsModel("any", openai_app.client()))
    set_default_openai_client(openai_app.client(), use_for_tracing=False)

    async def outside() -> object:
        try:
            return (await Runner.run(desk, "hi")).last_agent
        finally:
            await openai_app.close()

    assert asyncio.run(outside()) is other


def test_names_of_steps_and_envelopes_are_pinned(server: Callable[..., ModelServer], tmp_path: Path) -> None:
    server(
        rule(system="you are boss", after_tool=True, answer=text("end")),
        rule(
            system="you are boss",
            answer=tool_calls(tool_call("ask_helper", {"input": "x"}), tool_call("note", {"text": "y"})),
        ),
        rule(system="you are helper", after_tool=True, answer=text("helped", input_tokens=7, output_tokens=3)),
        rule(system="you are helper", answer=tool_call("note", {"text": "z"})),
    )
    boss = Agent[Any](
        name="Boss", instructions="you are boss", tools=[agent(tools=[note]).as_tool("ask_helper", "helps"), note]
    )

    async def handler(ctx: restate.Context, given: object) -> object:
        return (await DurableRunner.run(boss, "hi")).final_output

    async def main(engine: rewake.Engine) -> list[Any]:
        invocation_id = await engine.send("Desk", "go", None)
        await asyncio.wait_for(engine.result(invocation_id), DEADLINE_S)
        sql = f"select name, entry_json from sys_journal where id = '{invocation_id}' order by index"
        found = await engine.query(sql)
        return [row for row in found.rows if row[0]]

    entries = on_engine(Desk(go=handler).services, tmp_path, main)
    assert [name for name, _ in entries] == [
        "Boss: model",
        "order",
        "Helper: model",
        "Boss: note",
        "Helper: note",
        "Helper: model",
        "Boss: model",
    ]


def test_a_conversation_of_the_official_session_goes_on(server: Callable[..., ModelServer], tmp_path: Path) -> None:
    models = server(rule(name="end", answer=text("go on")))
    desk = restate.VirtualObject("Chat")

    @desk.handler()
    async def before(ctx: restate.ObjectContext, given: str) -> None:
        ctx.set("items", [{"role": "user", "content": "I am Ada."}, {"role": "assistant", "content": "Hello Ada."}])

    @desk.handler()
    async def say(ctx: restate.ObjectContext, given: str) -> list[Any]:
        result = await DurableRunner.run(agent(), given, use_restate_session=True)
        session = RestateSession()
        return [result.final_output, len(await session.get_items()), session.last_agent]

    async def main(engine: rewake.Engine) -> list[Any]:
        await engine.call("Chat", "before", "", key="ada")
        return [await engine.call("Chat", "say", "and?", key="ada") for _ in range(2)]

    assert on_engine([desk], tmp_path, main) == [["go on", 4, "Helper"], ["go on", 6, "Helper"]]
    assert len(models.requests[-1].messages) == 5


def test_own_retry_options_bound_the_attempts(server: Callable[..., ModelServer], tmp_path: Path) -> None:
    models = server(rule(name="down", answer=failure(500)))

    async def handler(ctx: restate.Context, given: object) -> object:
        options: restate.RunOptions[Any] = restate.RunOptions(
            max_attempts=2, initial_retry_interval=timedelta(milliseconds=1)
        )
        return (await DurableRunner.run(agent(), "hi", run_options=options)).final_output

    with pytest.raises(rewake.InvocationFailed):
        ran(handler, tmp_path)
    assert models.count("down").asked == 2


def test_a_model_object_is_wrapped_and_not_replaced() -> None:
    own = OpenAIResponsesModel("gpt", AsyncOpenAI(api_key="none"))
    wrapped: Any = durable(own)
    assert durable(wrapped) is wrapped
    assert isinstance(wrapped, OpenAIResponsesModel)
    assert (wrapped.model, json.dumps(decode(b'{"rewake":1,"kind":"model","framework":"x"}').value)) == ("gpt", "null")


@pytest.mark.parametrize(("bytes_max", "chunks"), [(sessions.CHUNK_BYTES_MAX, 1), (10, 3)])
def test_a_conversation_grows_by_chunks_and_is_compacted_by_a_hook(
    bytes_max: int, chunks: int, server: Callable[..., ModelServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server(rule(name="end", answer=text("go on")))
    monkeypatch.setattr(sessions, "CHUNK_BYTES_MAX", bytes_max)
    chat = restate.VirtualObject("Chat")

    async def shorter(items: list[Any]) -> list[Any] | None:
        return items[-2:] if len(items) > 6 else None

    @chat.handler()
    async def say(ctx: restate.ObjectContext, given: str) -> None:
        await DurableRunner.run(agent(), given, session=RestateSession(compaction=shorter))

    @chat.handler()
    async def look(ctx: restate.ObjectContext) -> list[Any]:
        keys = [key for key in await ctx.state_keys() if key.startswith("session/")]
        return [len(await RestateSession().get_items()), len(keys)]

    async def main(engine: rewake.Engine) -> list[Any]:
        told = []
        for _ in range(4):
            await engine.call("Chat", "say", "and?", key="ada")
            told.append(await engine.call("Chat", "look", key="ada"))
        return told

    told = on_engine([chat], tmp_path, main)
    assert [count for count, _ in told] == [2, 4, 6, 2]
    assert [told[2][1], told[3][1]] == [chunks, 1]


def test_a_tool_asks_people_by_itself(server: Callable[..., ModelServer], tmp_path: Path) -> None:
    """`ask()` in the body of a tool is the question of its agent; when nobody answers, the tool goes on as it likes."""
    server(
        rule(name="end", after_tool="pay", answer=text("done")),
        rule(name="desk", answer=tool_call("pay", {"amount": 5})),
    )
    asked: list[ApprovalRequest] = []
    outcomes: list[str] = []

    async def notify(request: ApprovalRequest) -> None:
        asked.append(request)

    @function_tool
    async def pay(amount: int) -> str:
        """Pay."""
        found = await ask("Pay it?", {"amount": amount}, deadline=timedelta(milliseconds=50), notify=notify)
        outcomes.append(found.outcome)
        return found.outcome

    desk = Agent[Any](name="desk", instructions="you are desk", tools=[pay])

    async def go(ctx: restate.Context, given: Any) -> str:
        return str((await DurableRunner.run(desk, "go")).final_output)

    async def main() -> None:
        async with Desk(go=go).engine(tmp_path) as engine, asyncio.timeout(DEADLINE_S):
            assert await engine.call("Suspending", "go", "") == "done"

    asyncio.run(main())
    assert set(outcomes) == {"expired"}
    assert [(each.agent, each.tool, each.question) for each in asked] == [("desk", "pay", "Pay it?")]
