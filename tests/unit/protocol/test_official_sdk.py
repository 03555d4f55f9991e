"""The official SDK's own core understands what we encode, and we what it says, in every version.

The SDK's ASGI app is called in this process: a request body of our frames goes in, its frames come out. Every request
is complete before the handler starts, so an attempt ends at the first thing the SDK has to wait for.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
import restate
from restate.exceptions import TerminalError

from rewake.protocol import messages as m
from rewake.protocol.codec import decode_message, encode_message, message_type
from rewake.protocol.discovery import ACCEPT, HandlerKind, manifest_version, parse_manifest
from rewake.protocol.framing import FrameDecoder, encode_frames
from rewake.protocol.messages import CANCEL_SIGNAL, FIRST_USER_SIGNAL, REQUESTED_ACK, MessageType

demo = restate.Service("Demo")
counter = restate.VirtualObject("Counter")
flow = restate.Workflow("Flow")

INVOCATION_ID = bytes(range(24))
DEBUG_ID = "inv_1debug"


async def _pick() -> int:
    return 42


@demo.handler()
async def work(ctx: restate.Context, name: str) -> str:
    picked = await ctx.run_typed("pick", _pick)
    greeting: str = await ctx.generic_call("Demo", "greet", name.encode())  # type: ignore[assignment]
    return f"{greeting!r} {picked}"


@demo.handler()
async def wait(ctx: restate.Context) -> None:
    await ctx.sleep(timedelta(days=1))


@demo.handler()
async def gather(ctx: restate.Context) -> None:
    _, awakeable = ctx.awakeable(type_hint=str)
    await restate.gather(ctx.sleep(timedelta(days=1)), awakeable)


@demo.handler()
async def refuse(ctx: restate.Context) -> None:
    raise TerminalError("not today", 418)


@demo.handler()
async def fail(ctx: restate.Context) -> None:
    raise ValueError("broken")


@demo.handler()
async def reach(ctx: restate.Context, awakeable_id: str) -> None:
    ctx.generic_send("Counter", "add", b"1", key="k", send_delay=timedelta(seconds=5))
    ctx.resolve_awakeable(awakeable_id, "done")
    ctx.cancel_invocation("inv_1other")
    await ctx.attach_invocation("inv_1other")


@counter.handler()
async def add(ctx: restate.ObjectContext, amount: int) -> int:
    total = (await ctx.get("total", type_hint=int) or 0) + amount
    ctx.set("total", total)
    ctx.clear("other")
    return total


@counter.handler()
async def reset(ctx: restate.ObjectContext) -> str:
    keys = await ctx.state_keys()
    ctx.clear_all()
    return ",".join(keys)


@flow.main()
async def run(ctx: restate.WorkflowContext) -> str:
    promise = ctx.promise("go", type_hint=str)
    await promise.resolve("now")
    peeked: str | None = await promise.peek()
    return str(peeked)


APP = restate.app([demo, counter, flow])

Frames = list[tuple[int, m.Message]]


async def _request(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[dict[bytes, bytes], bytes]:
    """Head and body of the app's answer to one complete request."""
    inbox: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, Any]] = []
    closed = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if inbox:
            return inbox.pop()
        await closed.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {
        "type": "http",
        "http_version": "2",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await APP(scope, receive, send)
    closed.set()
    assert sent[0]["status"] == 200
    return dict(sent[0]["headers"]), b"".join(message.get("body", b"") for message in sent[1:])


def attempt(
    handler: str,
    version: int,
    *journal: m.Message,
    key: str = "",
    state: dict[bytes, bytes] | None = None,
) -> Frames:
    """What the SDK answers to a journal, as (flags, message)."""
    start = m.Start(
        INVOCATION_ID,
        DEBUG_ID,
        len(journal),
        tuple((state or {}).items()),
        state is None,
        key,
        0,
        0,
        7,
        idempotency_key="ik",
    )
    body = encode_frames((message_type(item), encode_message(item, version)) for item in (start, *journal))
    content_type = f"application/vnd.restate.invocation.v{version}"
    head, answer = asyncio.run(_request("POST", f"/invoke/{handler}", {"content-type": content_type}, body))
    assert head[b"content-type"].decode() == content_type
    decoder = FrameDecoder()
    frames = [(frame.flags, decode_message(frame.type_id, frame.payload, version)) for frame in decoder.feed(answer)]
    assert len(decoder.pending) == 0
    return frames


def said(frames: Frames) -> list[m.Message]:
    """The messages without the hints that come when they come."""
    return [message for _, message in frames if not isinstance(message, m.AwaitingOn)]


@pytest.fixture(params=[5, 6, 7], ids=["v5", "v6", "v7"])
def version(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


def waits_for(version: int, completions: tuple[int, ...], signals: tuple[int, ...] = ()) -> m.Suspension:
    combinator = m.Combinator.FIRST_COMPLETED if version >= 7 else m.Combinator.UNKNOWN
    return m.Suspension(m.Future(completions, (CANCEL_SIGNAL, *signals), combinator=combinator))


def test_discovery() -> None:
    head, body = asyncio.run(_request("GET", "/discover", {"accept": ACCEPT}, b""))
    assert manifest_version(head[b"content-type"].decode()) == 4
    manifest = parse_manifest(body)
    assert (manifest.min_protocol_version, manifest.max_protocol_version) == (5, 7)
    kinds = {found.name: {handler.kind for handler in found.handlers} for found in manifest.services}
    assert kinds == {
        "Demo": {HandlerKind.PLAIN},
        "Counter": {HandlerKind.EXCLUSIVE},
        "Flow": {HandlerKind.WORKFLOW},
    }


def test_a_run_a_call_and_the_end(version: int) -> None:
    given = m.InputCommand((("a", "b"),), b'"bob"')
    frames = attempt("Demo/work", version, given)
    assert said(frames) == [
        m.RunCommand(1, "pick"),
        m.ProposeRunCompletion(1, m.Success(b"42")),
        waits_for(version, (1,)),
    ]
    assert [flags for flags, message in frames if isinstance(message, m.ProposeRunCompletion)] == [
        REQUESTED_ACK if version >= 7 else 0
    ]

    ran = (given, m.RunCommand(1, "pick"), m.Completion(MessageType.RUN_COMPLETION, 1, m.Success(b"42")))
    call = m.CallCommand("Demo", "greet", b"bob", (), "", None, None, None, 2, 3)
    assert said(attempt("Demo/work", version, *ran)) == [call, waits_for(version, (3,))]

    called = (
        *ran,
        call,
        m.Completion(MessageType.CALL_INVOCATION_ID_COMPLETION, 2, m.InvocationIdResult("inv_1callee")),
        m.Completion(MessageType.CALL_COMPLETION, 3, m.Success(b"hi")),
    )
    output = m.OutputCommand(m.Success(b"\"b'hi' 42\""))
    assert said(attempt("Demo/work", version, *called)) == [output, m.End()]
    assert said(attempt("Demo/work", version, *called, output)) == [m.End()]


def test_a_failed_call_ends_the_caller(version: int) -> None:
    failure = m.Failure(409, "killed", (("k", "v"),) if version > 5 else ())
    journal = (
        m.InputCommand((), b'"bob"'),
        m.RunCommand(1, "pick"),
        m.Completion(MessageType.RUN_COMPLETION, 1, m.Success(b"42")),
        m.CallCommand("Demo", "greet", b"bob", (), "", None, None, None, 2, 3),
        m.Completion(MessageType.CALL_INVOCATION_ID_COMPLETION, 2, m.InvocationIdResult("inv_1callee")),
        m.Completion(MessageType.CALL_COMPLETION, 3, failure),
    )
    (output, end) = said(attempt("Demo/work", version, *journal))
    assert isinstance(output, m.OutputCommand)
    assert isinstance(output.result, m.Failure)
    assert (output.result.code, output.result.message) == (409, "killed")
    assert end == m.End()


def test_sleep_and_cancel(version: int) -> None:
    sleep, suspension = said(attempt("Demo/wait", version, m.InputCommand((), b"")))
    assert isinstance(sleep, m.SleepCommand)
    assert (sleep.completion_id, suspension) == (1, waits_for(version, (1,)))

    slept = m.Completion(MessageType.SLEEP_COMPLETION, 1, m.VOID)
    answer = said(attempt("Demo/wait", version, m.InputCommand((), b""), sleep, slept))
    assert [type(message) for message in answer] == [m.OutputCommand, m.End]

    cancelled = said(attempt("Demo/wait", version, m.InputCommand((), b""), sleep, m.Signal(CANCEL_SIGNAL, m.VOID)))
    assert cancelled == [m.OutputCommand(m.Failure(409, "cancelled")), m.End()]


def test_an_await_of_several_things(version: int) -> None:
    _, suspension = said(attempt("Demo/gather", version, m.InputCommand((), b"")))
    assert isinstance(suspension, m.Suspension)
    if version >= 7:
        both = m.Future((1,), (FIRST_USER_SIGNAL,), combinator=m.Combinator.ALL_COMPLETED)
        expected = m.Future(signals=(CANCEL_SIGNAL,), nested=(both,), combinator=m.Combinator.FIRST_COMPLETED)
        assert suspension.awaiting_on == expected
    else:
        assert set(suspension.awaiting_on.completions) == {1}
        assert set(suspension.awaiting_on.signals) == {CANCEL_SIGNAL, FIRST_USER_SIGNAL}


def test_terminal_and_retryable_failures(version: int) -> None:
    assert said(attempt("Demo/refuse", version, m.InputCommand((), b""))) == [
        m.OutputCommand(m.Failure(418, "not today")),
        m.End(),
    ]
    (error,) = said(attempt("Demo/fail", version, m.InputCommand((), b"")))
    assert isinstance(error, m.Error)
    assert error.code == 500
    assert "broken" in error.message
    assert error.behavior is m.ErrorBehavior.RETRY


def test_messages_to_others(version: int) -> None:
    send, complete, signal, attach, _ = said(attempt("Demo/reach", version, m.InputCommand((), b'"sign_1abc"')))
    assert isinstance(send, m.OneWayCallCommand)
    assert (send.service_name, send.handler_name, send.key, send.parameter) == ("Counter", "add", "k", b"1")
    assert send.invoke_at_ms > 0
    assert complete == m.CompleteAwakeableCommand("sign_1abc", m.Success(b'"done"'))
    assert signal == m.SendSignalCommand("inv_1other", CANCEL_SIGNAL, m.VOID)
    assert attach == m.AttachInvocationCommand(m.InvocationIdTarget("inv_1other"), 2)


def test_eager_state(version: int) -> None:
    state = {b"total": b"2", b"empty": b""}
    assert said(attempt("Counter/add", version, m.InputCommand((), b"3"), key="k", state=state)) == [
        m.GetEagerStateCommand(b"total", m.Success(b"2")),
        m.SetStateCommand(b"total", b"5"),
        m.ClearStateCommand(b"other"),
        m.OutputCommand(m.Success(b"5")),
        m.End(),
    ]
    assert said(attempt("Counter/reset", version, m.InputCommand((), b""), key="k", state=state)) == [
        m.GetEagerStateKeysCommand((b"empty", b"total")),
        m.ClearAllStateCommand(),
        m.OutputCommand(m.Success(b'"empty,total"')),
        m.End(),
    ]


def test_lazy_state(version: int) -> None:
    given = m.InputCommand((), b"3")
    read = m.GetLazyStateCommand(b"total", 1)
    assert said(attempt("Counter/add", version, given, key="k")) == [read, waits_for(version, (1,))]
    absent = m.Completion(MessageType.GET_LAZY_STATE_COMPLETION, 1, m.VOID)
    assert said(attempt("Counter/add", version, given, read, absent, key="k"))[0] == m.SetStateCommand(b"total", b"3")

    listed = m.GetLazyStateKeysCommand(1)
    keys = m.Completion(MessageType.GET_LAZY_STATE_KEYS_COMPLETION, 1, m.StateKeys((b"a", b"b")))
    answer = said(attempt("Counter/reset", version, m.InputCommand((), b""), listed, keys, key="k"))
    assert answer[1] == m.OutputCommand(m.Success(b'"a,b"'))


def test_promises(version: int) -> None:
    given = m.InputCommand((), b"")
    complete = m.CompletePromiseCommand("go", m.Success(b'"now"'), 1)
    assert said(attempt("Flow/run", version, given, key="w1"))[0] == complete
    completed = m.Completion(MessageType.COMPLETE_PROMISE_COMPLETION, 1, m.VOID)
    peek = m.PeekPromiseCommand("go", 2)
    assert said(attempt("Flow/run", version, given, complete, completed, key="w1"))[0] == peek
    peeked = m.Completion(MessageType.PEEK_PROMISE_COMPLETION, 2, m.Success(b'"now"'))
    answer = said(attempt("Flow/run", version, given, complete, completed, peek, peeked, key="w1"))
    assert answer == [m.OutputCommand(m.Success(b'"now"')), m.End()]
