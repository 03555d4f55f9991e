"""What ends a run of Pydantic AI, who is asked, which model and names: rows that no crash is needed for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import restate
from pydantic import TypeAdapter
from pydantic_ai import Agent, RunContext, Tool, UsageLimits, capabilities
from pydantic_ai.exceptions import FallbackExceptionGroup, ModelHTTPError, UsageLimitExceeded
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, ToolDenied
from pydantic_kit import DEADLINE_S, Handler, Log, app_of, call, returned, script, text
from stage import entries

import rewake
from rewake.agents.envelope import decode_envelope
from rewake.core.ids import awakeable_id_parse
from rewake.ext.kernel import ask as people
from rewake.ext.pydantic import (
    ApprovalRequest,
    Approvals,
    DurableApprovals,
    RestateAgent,
    RewakeDurability,
    restate_context,
)
from rewake.protocol.messages import Failure, MessageType, Success

# What ends a run, and who is asked


async def outcome(handler: Handler, folder: Path, service: str = "Desk") -> Any:
    """The answer of one call, or its failure as text."""
    app = app_of(handler)
    async with rewake.Engine(folder, app) as engine:
        try:
            return await asyncio.wait_for(engine.call(service, "go"), DEADLINE_S)
        except rewake.InvocationFailed as failed:
            return str(failed)


def http_error(status: int, **headers: str) -> ModelHTTPError:
    return ModelHTTPError(status, "some-model", {"error": "no"}, headers=headers)


@pytest.mark.parametrize(
    ("answers", "limits", "says", "asked"),
    [
        ([call("again", "a"), text("never")], UsageLimits(request_limit=1), "UsageLimitExceeded", 1),
        ([http_error(400)], None, "status_code: 400", 1),
        ([http_error(401)], None, "status_code: 401", 1),
        ([call("unknown", f"{n}") for n in range(4)], None, "UnexpectedModelBehavior", None),
    ],
)
def test_what_would_fail_again_ends_the_invocation(
    answers: list[Any], limits: UsageLimits | None, says: str, asked: int | None, tmp_path: Path
) -> None:
    log = Log()
    agent = Agent(script(log, "desk", *answers), name="desk", capabilities=[RewakeDurability()])

    @agent.tool_plain
    def again() -> str:
        return "again"

    async def handler(ctx: restate.Context) -> Any:
        return (await agent.run("go", usage_limits=limits)).output

    assert says in asyncio.run(outcome(handler, tmp_path))
    if asked is not None:
        assert log.count("desk 0") == asked


def test_the_users_except_still_catches_what_is_terminal(tmp_path: Path) -> None:
    log = Log()
    agent = Agent(script(log, "desk", text("never")), name="desk", capabilities=[RewakeDurability()])

    async def handler(ctx: restate.Context) -> Any:
        try:
            await agent.run("go", usage_limits=UsageLimits(request_limit=0))
        except UsageLimitExceeded as limit:
            return f"{type(limit).__name__} {isinstance(limit, restate.TerminalError)} {limit.status_code}"  # type: ignore[attr-defined]

    assert asyncio.run(outcome(handler, tmp_path)) == "UsageLimitExceeded True 500"


@pytest.mark.skipif(not hasattr(capabilities, "ModelFallback"), reason="this version has no such capability")
def test_when_all_models_have_failed_the_run_ends(tmp_path: Path) -> None:
    """Each is asked once, and the user catches what the framework raises, at replay as well."""
    log = Log()
    busy, refuses = script(log, "busy", http_error(503)), script(log, "refuses", http_error(401))
    agent = Agent(busy, name="desk", capabilities=[capabilities.ModelFallback(refuses), RewakeDurability()])

    async def handler(ctx: restate.Context) -> Any:
        try:
            return (await agent.run("go")).output
        except FallbackExceptionGroup as group:
            await ctx.run_typed("note", lambda: log.lines.append("note"))
            statuses = [getattr(each, "status_code", None) for each in group.exceptions]
            return [isinstance(group, restate.TerminalError), *statuses]

    assert asyncio.run(outcome(handler, tmp_path, "Suspending")) == [True, 503, 401]
    assert log.lines == ["busy 0", "refuses 0", "note"]


def test_a_hook_for_errors_hears_what_the_provider_said(tmp_path: Path) -> None:
    log = Log()
    hooks: Any = capabilities.Hooks()

    @hooks.on.model_request_error  # type: ignore[untyped-decorator]
    async def failed(ctx: RunContext[Any], *, request_context: Any, error: Exception) -> ModelResponse:
        assert isinstance(error, ModelHTTPError)
        return ModelResponse(parts=[TextPart(f"sorry: {error.status_code} {error.body}")])

    agent = Agent(script(log, "desk", http_error(400)), name="desk", capabilities=[hooks, RewakeDurability()])

    async def handler(ctx: restate.Context) -> Any:
        return (await agent.run("go")).output

    assert asyncio.run(outcome(handler, tmp_path, "Suspending")) == "sorry: 400 {'error': 'no'}"
    assert log.lines == ["desk 0"]


def test_a_busy_provider_is_asked_again_when_it_says_and_siblings_go_on(tmp_path: Path) -> None:
    log = Log()
    busy = [http_error(429, **{"retry-after": "0.05"}), http_error(503)]
    loop_times: list[float] = []

    async def tool() -> str:
        loop_times.append(asyncio.get_running_loop().time())
        with log.body("flaky"):
            if busy:
                raise busy.pop(0)
        return "flaky"

    async def slow() -> str:
        with log.body("slow"):
            await asyncio.sleep(0.2)
        return "slow"

    model = script(log, "desk", [call("tool", "a"), call("slow", "b")], text("done"))
    agent = Agent(model, name="desk", tools=[tool, slow], capabilities=[RewakeDurability()])

    async def handler(ctx: restate.Context) -> Any:
        return returned((await agent.run("go")).all_messages())

    assert asyncio.run(outcome(handler, tmp_path)) == {"a": "flaky", "b": "slow"}
    assert log.count("slow") == 1 and log.count("flaky") == 3
    assert loop_times[1] - loop_times[0] >= 0.05


async def complete(engine: rewake.Engine, awakeable: str, result: Success | Failure) -> None:
    await engine.complete_awakeable(*awakeable_id_parse(awakeable), result)


@pytest.mark.parametrize("answer", ["approve", "deny", "nobody", "reject"])
@pytest.mark.parametrize("service", ["Desk", "Suspending"])
def test_a_durable_question(answer: str, service: str, tmp_path: Path) -> None:
    """The run waits, over a restart of the engine; it asks once, and the tool runs once or never."""

    if not hasattr(capabilities, "RequestInput"):
        pytest.skip("this version of Pydantic AI cannot wait for an answer from outside")
    log = Log()
    tokens: list[str] = []

    def ask(ctx: RunContext[Any], requests: DeferredToolRequests, token: str) -> None:
        log.lines.append("ask")
        tokens.append(token)

    limit = timedelta(milliseconds=20) if answer == "nobody" else None
    agent = Agent(
        script(log, "desk", [call("pay", "a", amount=5), call("free", "b")], text("done")),
        name="desk",
        capabilities=[RewakeDurability(), capabilities.RequestInput(ask=ask, timeout=limit)],
    )

    @agent.tool_plain(requires_approval=True)
    def pay(amount: int) -> str:
        with log.body("pay"):
            return f"paid {amount}"

    @agent.tool_plain
    def free() -> str:
        with log.body("free"):
            return "free"

    async def handler(ctx: restate.Context) -> Any:
        return returned((await agent.run("go")).all_messages())

    async def main() -> dict[str, Any]:
        app = app_of(handler)
        async with rewake.Engine(tmp_path, app) as engine:
            invocation_id = await engine.send(service, "go")
            async with asyncio.timeout(DEADLINE_S):
                while not tokens:
                    await asyncio.sleep(0.005)
        async with rewake.Engine(tmp_path, app) as engine:
            if answer == "reject":
                await complete(engine, tokens[0], Failure(500, "not today"))
            elif answer != "nobody":
                given = DeferredToolResults(approvals={"a": True if answer == "approve" else ToolDenied("too much")})
                payload = TypeAdapter(DeferredToolResults).dump_python(given, mode="json")
                await complete(engine, tokens[0], Success(json.dumps(payload).encode()))
            found: dict[str, Any] = await asyncio.wait_for(engine.result(invocation_id), DEADLINE_S)
            return found

    found = asyncio.run(main())
    assert found["b"] == "free"
    says = {"approve": "paid 5", "deny": "too much", "nobody": "answered within", "reject": "not today"}[answer]
    assert says in found["a"]
    assert log.count("pay") == (answer == "approve")
    assert log.finished["desk 0"] == log.finished["desk 1"] == log.finished["free"] == 1
    assert log.count("ask") <= 2  # the engine may have stopped before the question was stored


def test_a_cancelled_run_ends_and_no_tool_makes_an_answer_of_it(tmp_path: Path) -> None:
    log = Log()
    model = script(log, "desk", [call("wait", "a"), call("wait", "b")], text("never"))
    agent = Agent(model, name="desk", capabilities=[RewakeDurability()])
    waiting = asyncio.Event()

    @agent.tool_plain
    async def wait() -> str:
        waiting.set()
        try:
            await restate_context().awakeable()[1]
        except Exception as problem:  # noqa: BLE001 - as careless tools do
            return f"failed: {problem}"
        return "never"

    async def handler(ctx: restate.Context) -> Any:
        return (await agent.run("go")).output

    async def main() -> None:
        app = app_of(handler)
        async with rewake.Engine(tmp_path, app) as engine:
            invocation_id = await engine.send("Desk", "go")
            await asyncio.wait_for(waiting.wait(), DEADLINE_S)
            await engine.cancel(invocation_id)
            with pytest.raises(rewake.InvocationFailed, match=r"cancelled \(code 409"):
                await asyncio.wait_for(engine.result(invocation_id), DEADLINE_S)

    asyncio.run(main())
    assert log.count("desk 1") == 0


# Streams


@pytest.mark.parametrize("how", ["events", "text", "left early"])
@pytest.mark.parametrize("service", ["Desk", "Suspending"])
def test_a_stream_is_live_while_the_model_answers(how: str, service: str, tmp_path: Path) -> None:
    """The model says its second word only when the first one was heard; a replay has the same answer."""
    log, heard = Log(), asyncio.Event()

    async def speak(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        with log.body("model"):
            yield "one "
            await heard.wait()
            yield "two"

    agent = Agent(FunctionModel(stream_function=speak), name="desk", capabilities=[RewakeDurability()])

    async def handler(ctx: restate.Context) -> Any:
        if how == "events":
            async with agent.run_stream_events("go") as events:
                async for event in events:
                    if event.event_kind == "part_start":
                        heard.set()
                    elif event.event_kind == "agent_run_result":
                        answer = event.result.output
        else:
            async with agent.run_stream("go") as stream:
                async for _ in stream.stream_text(delta=True, debounce_by=None):
                    heard.set()
                    if how == "left early":
                        break
                answer = "" if how == "left early" else await stream.get_output()
            answer = answer or ("one two" if log.count("model+") else "the step goes on beside the handler")
        return [answer, await ctx.run_typed("after", lambda: "after")]

    assert asyncio.run(outcome(handler, tmp_path, service)) == ["one two", "after"]
    assert log.finished == {"model": 1}


def test_an_event_handler_hears_the_model_live_and_once(tmp_path: Path) -> None:
    """In the body of the model's step, so a replay does not hear it again."""
    log, heard, kinds = Log(), asyncio.Event(), list[str]()

    async def speak(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        with log.body("model"):
            yield "one "
            await heard.wait()
            yield "two"

    async def hear(ctx: RunContext[Any], events: Any) -> None:
        async for event in events:
            kinds.append(event.event_kind)
            heard.set()

    durable = RewakeDurability[None](event_stream_handler=hear)
    agent = Agent(FunctionModel(stream_function=speak), name="desk", capabilities=[durable])

    async def handler(ctx: restate.Context) -> Any:
        answer = (await agent.run("go")).output
        return [answer, await ctx.run_typed("after", lambda: "after")]

    assert asyncio.run(outcome(handler, tmp_path, "Suspending")) == ["one two", "after"]
    assert log.finished == {"model": 1} and kinds.count("part_delta") == 1


# Which model, which order, which names


def test_models_given_for_one_run(tmp_path: Path) -> None:
    """An object nobody registered, one by its id, and the agent's own."""
    log = Log()
    by_id = script(log, "registered", text("registered"))
    agent = Agent(
        script(log, "own", text("own")), name="desk", capabilities=[RewakeDurability(models={"other": by_id})]
    )

    async def handler(ctx: restate.Context) -> Any:
        unknown = script(log, "unknown", text("unknown"))
        return [(await agent.run("go", model=model)).output for model in (None, "other", by_id, unknown)]

    assert asyncio.run(outcome(handler, tmp_path, "Suspending")) == ["own", "registered", "registered", "unknown"]
    assert log.finished == {"own 0": 1, "registered 0": 2, "unknown 0": 1}


@pytest.mark.parametrize("how", ["run", "tool", "neither"])
def test_a_users_own_sequential_is_respected(how: str, tmp_path: Path) -> None:
    log = Log()

    async def slow() -> str:
        with log.body("slow"):
            await asyncio.sleep(0.03)
        return "slow"

    async def quick() -> str:
        with log.body("quick"):
            return "quick"

    agent = Agent(
        script(log, "desk", [call("slow", "a"), call("quick", "b")], text("done")),
        name="desk",
        tools=[Tool(slow, sequential=how == "tool"), quick],
        capabilities=[RewakeDurability()],
    )

    async def handler(ctx: restate.Context) -> Any:
        if how != "run":
            return (await agent.run("go")).output
        with agent.parallel_tool_call_execution_mode("sequential"):
            return (await agent.run("go")).output

    assert asyncio.run(outcome(handler, tmp_path)) == "done"
    in_turn = ["slow", "slow+", "quick", "quick+"]
    assert (log.lines[2:6] == in_turn) == (how != "neither"), log.lines


def test_outside_of_a_handler_nothing_changes() -> None:
    log = Log()
    inner = Agent(script(log, "desk", call("tool", "a"), text("done")), name="desk")
    agent = RestateAgent(inner, auto_wrap_tools=False)

    @inner.tool_plain
    def tool() -> str:
        with pytest.raises(RuntimeError, match="outside of a handler"):
            restate_context()
        return "plain"

    result = asyncio.run(agent.run("go"))
    assert result.output == "done" and returned(result.all_messages()) == {"a": "plain"}


def test_names_of_steps_and_what_they_store(tmp_path: Path) -> None:
    """Both are stored data: a change here breaks runs that are under way."""
    log = Log()
    helper = Agent(script(log, "helper", text("hm")), name="helper", capabilities=[RewakeDurability()])
    asked = [call("consult", "a"), call("note", "b", text="x")]
    inner = Agent(script(log, "desk", asked, text("done")), name="desk", instructions="Be kind.")
    agent = RestateAgent(inner)

    @inner.tool_plain
    async def consult() -> str:
        return str((await helper.run("well?")).output)

    @inner.tool_plain
    def note(text: str) -> str:
        return text

    async def handler(ctx: restate.Context) -> Any:
        return (await agent.run("go")).output

    async def main() -> list[Any]:
        app = app_of(handler)
        async with rewake.Engine(tmp_path, app) as engine:
            invocation_id = await engine.send("Desk", "go")
            await asyncio.wait_for(engine.result(invocation_id), DEADLINE_S)
            return entries(engine, invocation_id)

    journal = asyncio.run(main())
    assert sorted(entry.name for entry in journal if entry.type_id == MessageType.RUN) == [
        "desk__function_toolset__<agent>.call_tool:consult",
        "desk__function_toolset__<agent>.call_tool:note",
        "desk__model.request",
        "desk__model.request",
        "helper__model.request",
        "order",
    ]
    stored = [found for entry in journal if (found := _envelope(entry.payload)) is not None]
    asked_first, *side_by_side, asked_last = [
        (each.kind, each.agent, each.path, each.calls, each.call, each.tool, each.is_branch)
        for each in stored
        if each.kind != "order"
    ]
    assert asked_first == asked_last == ("model", "desk", ("desk",), (), "", "", False)
    assert sorted(side_by_side) == [
        ("model", "helper", ("desk", "helper"), ("a",), "", "", False),
        ("tool", "desk", ("desk",), (), "a", "consult", True),
        ("tool", "desk", ("desk",), (), "b", "note", False),
    ]
    replies = [each.reply for each in stored if each.reply is not None]
    assert [reply.model for reply in replies] == ["desk-model", "helper-model", "desk-model"]
    assert all(reply.input_tokens and reply.output_tokens for reply in replies)
    assert {each.framework for each in stored} == {"Pydantic AI", "kernel"}


def _envelope(payload: bytes) -> Any:
    start = payload.find(b'{"rewake"')
    return None if start < 0 else decode_envelope(payload[start:])


@pytest.mark.parametrize(
    ("answer", "says"), [(True, "paid 5"), (False, "denied"), (None, "neither approved nor denied")]
)
def test_each_call_is_asked_for_by_itself(answer: bool | None, says: str, tmp_path: Path) -> None:
    """Approved, denied, or nobody answered: for its exact arguments; the other call is free."""
    log = Log()
    asked: list[ApprovalRequest] = []

    async def notify(request: ApprovalRequest) -> None:
        asked.append(request)

    approvals = Approvals(notify=notify, deadline=timedelta(milliseconds=50) if answer is None else None)
    agent = Agent(
        script(log, "desk", [call("pay", "a", amount=5), call("free", "b")], text("done")),
        name="desk",
        capabilities=[RewakeDurability(), DurableApprovals(approvals)],
    )

    @agent.tool_plain(requires_approval=True)
    def pay(amount: int) -> str:
        with log.body("pay"):
            return f"paid {amount}"

    @agent.tool_plain
    def free() -> str:
        return "free"

    async def handler(ctx: restate.Context) -> Any:
        return returned((await agent.run("go")).all_messages())

    async def main() -> dict[str, Any]:
        async with rewake.Engine(tmp_path, app_of(handler)) as engine, asyncio.timeout(DEADLINE_S):
            invocation_id = await engine.send("Suspending", "go")
            while not asked:
                await asyncio.sleep(0.005)
            if answer is not None:
                await complete(engine, asked[0].id, Success(json.dumps(answer).encode()))
            found: dict[str, Any] = await engine.result(invocation_id)
            return found

    found = asyncio.run(main())
    assert found["b"] == "free"
    assert says in found["a"]
    assert log.count("pay") == (answer is True)
    assert [(each.agent, each.tool, each.call_id) for each in asked] == [("desk", "pay", "a")]
    assert json.loads(asked[0].arguments) == {"amount": 5}


def test_a_tool_asks_by_itself(tmp_path: Path) -> None:
    """`ask()` in the body of a tool: it is the question of its agent, and the tool goes on with the decision."""
    log = Log()
    asked: list[ApprovalRequest] = []

    async def notify(request: ApprovalRequest) -> None:
        asked.append(request)

    agent = Agent(
        script(log, "desk", [call("pay", "a", amount=5)], text("done")), name="desk", capabilities=[RewakeDurability()]
    )

    @agent.tool_plain
    async def pay(amount: int) -> str:
        found = await people("Pay it?", {"amount": amount}, notify=notify)
        return f"{found.outcome} by {found.who}"

    async def handler(ctx: restate.Context) -> Any:
        return returned((await agent.run("go")).all_messages())

    async def main() -> Any:
        async with rewake.Engine(tmp_path, app_of(handler)) as engine, asyncio.timeout(DEADLINE_S):
            invocation_id = await engine.send("Suspending", "go")
            while not asked:
                await asyncio.sleep(0.005)
            await complete(engine, asked[0].id, Success(b'{"approved": true, "who": "Ada"}'))
            return await engine.result(invocation_id)

    assert asyncio.run(main()) == {"a": "approved by Ada"}
    assert [(each.agent, each.tool, each.question) for each in asked] == [("desk", "pay", "Pay it?")]
