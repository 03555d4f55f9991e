"""Steps, calls and sends through the real engine, in process and in workers, with protocol versions 5 to 7."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import restate
from stage import (
    VERSIONS,
    Stage,
    Transport,
    journal,
    reaches,
    row,
    run,
    settles_in_memory,
    until,
)

from rewake.core.effects import ReplyStatus
from rewake.core.ids import invocation_id_from_str, invocation_id_to_str
from rewake.core.model import HandlerOptions, RetryPolicy, Status
from rewake.deployments.in_process import InProcessDeployment
from rewake.engine import InvocationFailed
from rewake.engine.results import decode_result

ENGINES_OWN = pytest.mark.parametrize(
    ("transport", "version"), [*(("in_process", version) for version in VERSIONS), ("worker", 6)]
)
"""For tests of what the engine does, not its transports: test_transports.py and both_*.py have the same messages over
HTTP."""

HOURLY = HandlerOptions(retry=RetryPolicy(initial_interval_ms=3_600_000, max_interval_ms=3_600_000))

ROUTE_JOURNAL = [
    "INPUT",
    "RUN pick",
    "RUN_COMPLETION",
    "CALL",
    "CALL_INVOCATION_ID_COMPLETION",
    "CALL_COMPLETION",
    "RUN check",
    "RUN_COMPLETION",
    "OUTPUT",
]


@pytest.mark.parametrize("version", VERSIONS)
def test_steps_and_a_call(stage: Stage, transport: Transport, version: int) -> None:
    """The journal holds steps and results under their names, in order; nothing stays in memory."""

    async def main() -> None:
        async with stage.engine(transport, version=version) as engine:
            invocation_id = await engine.send("Steps", "route", "Ada")
            assert await engine.result(invocation_id) == "pick, ask Ada, check"
            assert journal(engine, invocation_id) == ROUTE_JOURNAL
            assert stage.counts("ran ") == {"pick": 1, "ask": 1, "check": 1}
            found = row(engine, invocation_id)
            assert found is not None and found.pinned_version == version
            await settles_in_memory(engine)

    run(main())


def test_a_failure_reaches_the_caller_with_what_it_carries(stage: Stage, transport: Transport, version: int) -> None:
    async def main() -> None:
        async with stage.engine(transport, version=version) as engine:
            with pytest.raises(InvocationFailed) as caught:
                await engine.call("Steps", "fails")
            assert (caught.value.code, caught.value.message) == (404, "no such claim")
            body = {"service": "Steps", "handler": "fails", "body": "null"}
            assert await engine.call("Steps", "call_generic", body) == "404 no such claim"
            if version > 5:
                with pytest.raises(InvocationFailed) as caught:
                    await engine.call("Steps", "fails_with_metadata")
                assert caught.value.metadata == {"claim": "17"}

    run(main())


def test_metadata_on_version_5_is_the_handlers_error(stage: Stage) -> None:
    """It cannot be said there: the SDK reports it, the attempt is retried."""

    async def main() -> None:
        async with stage.engine(version=5) as engine:
            invocation_id = await engine.send("Steps", "fails_with_metadata")
            found = await reaches(engine, invocation_id, Status.PAUSED)
            assert found.last_error is not None and found.last_error.code == 573

    run(main())


def test_what_a_handler_sees_of_itself(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine() as engine:
            target = engine.resolve("Steps", "who_am_i", None)
            assert target is not None
            headers = (("content-type", "application/json"), ("x-claim", "17 €"))
            reply = await engine.invoke(target, b"", headers=headers, wait=True)
            assert reply.result is not None
            assert reply.invocation_id is not None
            seen = decode_result(reply.invocation_id, reply.result)
            assert seen["id"] == invocation_id_to_str(reply.invocation_id)
            assert seen["headers"] == dict(headers)

    run(main())


def test_secrets_of_callers_are_not_kept(stage: Stage) -> None:
    """Not in the journal, not anywhere in the files; the handler sees that there was something."""
    secret = "s3cret-of-a-caller"

    async def main() -> None:
        async with stage.engine() as engine:
            target = engine.resolve("Steps", "who_am_i", None)
            assert target is not None
            headers = (("authorization", f"Bearer {secret}"), ("Cookie", secret), ("x-team", "claims"))
            reply = await engine.invoke(target, b"", headers=headers, wait=True)
            assert reply.result is not None and reply.invocation_id is not None
            seen = decode_result(reply.invocation_id, reply.result)["headers"]
            assert seen == {"authorization": "[redacted]", "Cookie": "[redacted]", "x-team": "claims"}
            assert not [
                path for path in stage.data.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
            ]

    run(main())


def test_big_payloads(stage: Stage) -> None:
    """10 MiB through a request, a step, a call and an answer. test_transports.py has large ones over each transport."""

    async def main() -> None:
        async with stage.engine("worker") as engine:
            text = "äx" * (10 * 1024 * 1024 // 6)
            assert await engine.call("Steps", "double", text) == text * 2

    run(main())


@ENGINES_OWN
def test_a_journal_of_many_steps_is_replayed(stage: Stage, transport: Transport, version: int) -> None:
    """In test_long_journals there are 10,000 entries of them."""
    count = 100

    async def main() -> None:
        async with stage.engine(transport, version=version) as engine:
            invocation_id = await engine.send("Steps", "many", count)
            await stage.marked(f"attempt many {count}")
        async with stage.engine(transport, version=version) as engine:
            await engine.call("Waits", "signaller", {"resolve": "go", "to": invocation_id, "value": "x"})
            assert await engine.result(invocation_id) == count
            assert stage.count(f"attempt many {count}") >= 2
            assert len(journal(engine, invocation_id)) == 2 * count + 3

    run(main())


# Keys


def test_keys_may_hold_any_text(stage: Stage, transport: Transport) -> None:
    keys = ["", " ", "a/b?c=d&e#f%20", "ключ", "鍵 🔑", "a\nb", "x" * 5_000, "é" * 1_000, "\x00"]

    async def main() -> None:
        async with stage.engine(transport) as engine:
            for round_ in (1, 2):
                results = await asyncio.gather(*(engine.call("Counter", "add", 1, key=key) for key in keys))
                assert results == [round_] * len(keys)
            assert await engine.call("Counter", "call_other_key", "ключ", key="鍵 🔑") == [3, 12, 3]

    run(main())


# Idempotency


def test_an_idempotency_key_names_one_invocation(stage: Stage) -> None:
    """While it runs and after it ended; other bodies change nothing."""

    async def main() -> None:
        async with stage.engine() as engine:
            calls = [engine.call("Steps", "slow", "a", idempotency_key="k") for _ in range(10)]
            running = asyncio.gather(*calls)
            await stage.marked("attempt slow")
            first = await engine.send("Steps", "slow", "b", idempotency_key="k")
            stage.open_gate("a")
            assert await running == ["slow a"] * 10
            assert await engine.call("Steps", "slow", "c", idempotency_key="k") == "slow a"
            assert await engine.send("Steps", "slow", "c", idempotency_key="k") == first
            assert stage.counts("through ") == {"a": 1}
            assert await engine.call("Steps", "leave_mark", "other handler", idempotency_key="k") == "other handler"

    run(main())


def test_after_its_retention_a_key_is_free_again(stage: Stage) -> None:
    """Whether or not a sweep has come by; and the sweep forgets what nobody asks for."""
    brief = restate.Service("Brief", idempotency_retention=timedelta(milliseconds=400))
    ran = []

    @brief.handler()
    async def count(ctx: restate.Context, name: str) -> int:
        ran.append(name)
        return len(ran)

    async def main() -> None:
        async with stage.engine(app=restate.app([brief])) as engine:
            assert await engine.call("Brief", "count", "a", idempotency_key="k") == 1
            invocation_id = await engine.send("Brief", "count", "a", idempotency_key="k")
            found = row(engine, invocation_id)
            assert found is not None and found.purge_at_ms is not None
            purge_at_ms = found.purge_at_ms
            await until(lambda: engine.now_ms() > purge_at_ms)
            assert await engine.call("Brief", "count", "a", idempotency_key="k") == 2
            found = row(engine, invocation_id)
            assert found is not None and found.purge_at_ms is not None
            purge_at_ms = found.purge_at_ms
            await until(lambda: engine.now_ms() > purge_at_ms)
            assert await engine.sweep() == 1
            assert row(engine, invocation_id) is None
            assert journal(engine, invocation_id) == []
            with pytest.raises(KeyError):
                await engine.result(invocation_id)

    run(main())


@pytest.mark.parametrize("version", VERSIONS)
def test_calls_between_handlers_share_an_idempotency_key(stage: Stage, version: int) -> None:
    async def main() -> None:
        async with stage.engine(version=version) as engine:
            invocation_id = await engine.send("Steps", "twice", "x")
            await stage.marked("attempt slow")
            stage.open_gate("x")
            answers = await engine.result(invocation_id)
            assert answers[:3] == ["slow x"] * 3
            assert len(set(answers[3:])) == 1
            assert stage.counts("through ") == {"x": 1}

    run(main())


# Sends


def test_a_delayed_send_waits_its_time_and_survives_a_restart(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine() as engine:
            sent_at_ms = engine.now_ms()
            later = await engine.send("Steps", "leave_mark", "later", delay_ms=700)
            by_handler = await engine.call("Steps", "sender", {"mark": "by handler", "delay_ms": 700})
            at_once = await engine.call("Steps", "sender", {"mark": "at once"})
            assert await engine.result(at_once) == "at once"
            for scheduled in (later, by_handler):
                found = row(engine, scheduled)
                assert found is not None and found.status is Status.SCHEDULED
            await settles_in_memory(engine)
            due_at_ms = sent_at_ms + 700
        async with stage.engine() as engine:
            assert [await engine.result(later), await engine.result(by_handler)] == ["later", "by handler"]
            assert engine.now_ms() >= due_at_ms
            assert stage.counts("") == {"later": 1, "by handler": 1, "at once": 1}

    run(main())


def test_attach_and_output(stage: Stage) -> None:
    """From outside and from handlers: unknown, running and done."""

    async def main() -> None:
        async with stage.engine() as engine:
            unknown = await engine.send("Steps", "same", "x")
            await engine.result(unknown)
            assert str(await engine.purge(invocation_id_from_str(unknown)))
            assert (await engine.attach(invocation_id_from_str(unknown))).status is ReplyStatus.NOT_FOUND
            assert (await engine.output(invocation_id_from_str(unknown))).status is ReplyStatus.NOT_FOUND
            assert await engine.call("Steps", "attach_to", {"id": unknown}) == "404 not found"

            running = await engine.send("Steps", "slow", "a")
            await stage.marked("attempt slow")
            assert (await engine.output(invocation_id_from_str(running))).status is ReplyStatus.PENDING
            attached = asyncio.gather(
                engine.result(running),
                engine.result(running),
                engine.call("Steps", "attach_to", {"id": running}),
            )
            stage.open_gate("a")
            assert list(await attached) == ["slow a", "slow a", "got slow a"]
            assert await engine.call("Steps", "attach_to", {"id": running}) == "got slow a"
            reply = await engine.output(invocation_id_from_str(running))
            assert reply.status is ReplyStatus.COMPLETED and reply.expires_at_ms is not None

            failed = await engine.send("Steps", "fails")
            assert await engine.call("Steps", "attach_to", {"id": failed}) == "404 no such claim"

    run(main())


def test_an_unknown_callee_is_called_once_it_is_there(stage: Stage) -> None:
    newcomer = restate.Service("Newcomer")

    @newcomer.handler()
    async def hello(ctx: restate.Context, name: str) -> str:
        return f"hello {name}"

    async def main() -> None:
        async with stage.engine(defaults=HOURLY) as engine:
            body = {"service": "Newcomer", "handler": "hello", "body": '"Ada"'}
            invocation_id = await engine.send("Steps", "call_generic", body)
            await until(lambda: (found := row(engine, invocation_id)) and found.last_error)
            found = row(engine, invocation_id)
            assert found is not None and found.last_error is not None
            assert found.last_error.restate_code == "RT0018"
            await engine.add_deployment(
                InProcessDeployment(restate.app([newcomer])), uri="in-process:newcomer", kind="in_process"
            )
            await engine.resume(invocation_id)
            assert await engine.result(invocation_id) == '"hello Ada"'

    run(main())
