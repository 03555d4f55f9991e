"""State, promises, awakeables, signals and the order of a key, with the official SDK."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from stage import (
    DEFAULTS,
    QUICK_SUSPENSION,
    VERSIONS,
    Stage,
    Transport,
    journal,
    reaches,
    row,
    run,
    settles_in_memory,
    status,
    until,
)
from test_engine_calls import ENGINES_OWN

from rewake.core.effects import ReplyStatus
from rewake.core.ids import awakeable_id_format, awakeable_id_parse, invocation_id_from_str
from rewake.core.model import Status
from rewake.engine import InvocationFailed
from rewake.protocol.messages import Failure, Success

USED = [[], None, 1, ["a", "b", "empty"], None, None, []]


@pytest.mark.parametrize(
    ("service", "reads"),
    [("Counter", {"GET_EAGER_STATE", "GET_EAGER_STATE_KEYS"}), ("LazyCounter", {"GET_LAZY_STATE_KEYS"})],
)
@ENGINES_OWN
def test_state_reads_and_writes(
    stage: Stage, transport: Transport, version: int, service: str, reads: set[str]
) -> None:
    """Eager or lazy, across a suspension and its replay, what was written last is what is read."""

    async def main() -> None:
        async with stage.engine(transport, version=version, defaults=QUICK_SUSPENSION) as engine:
            invocation_id = await engine.send(service, "use", key="k")
            assert await engine.result(invocation_id) == USED
            found = [entry for entry in journal(engine, invocation_id) if entry.startswith("GET_")]
            assert reads <= set(found)
            assert engine._store.reader.state(service, "k") == {b"a": b"4", b"c": b"3"}
            assert await engine.call(service, "see", key="k") == [["a", "c"], 4, None]
            await settles_in_memory(engine)
        async with stage.engine(transport, version=version, defaults=QUICK_SUSPENSION) as engine:
            assert await engine.call(service, "see", key="k") == [["a", "c"], 4, None]
            assert await engine.call(service, "see", key="other") == [[], None, None]

    run(main())


@pytest.mark.parametrize("version", VERSIONS)
def test_state_that_is_too_much_to_send_is_read_when_asked_for(stage: Stage, version: int) -> None:
    """What fits travels with the start, the rest lazily; nothing that is there is taken for absent."""

    async def main() -> None:
        async with stage.engine(version=version, eager_state_bytes_max=3) as engine:
            await engine.mutate_state("Counter", "k", {b"a": b"1", b"z": b"2" * 10})
            invocation_id = await engine.send("Counter", "see", key="k")
            assert await engine.result(invocation_id) == [["a", "z"], 1, 2222222222]
            entries = journal(engine, invocation_id)
            assert "GET_EAGER_STATE" in entries and "GET_LAZY_STATE" in entries and "GET_LAZY_STATE_KEYS" in entries

    run(main())


def test_a_service_that_names_the_keys_to_preload(stage: Stage) -> None:
    """A newer manifest says so; until that is spoken its state is read lazily, and rightly."""

    async def main() -> None:
        async with stage.engine() as engine:
            assert await engine.call("Preloading", "use", key="k") == USED
            assert await engine.call("Preloading", "see", key="k") == [["a", "c"], 4, None]

    run(main())


def test_state_written_before_a_failure_stays(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine() as engine:
            assert await engine.call("Counter", "add", 3, key="k") == 3
            holder = await engine.send("Flow", "run", "x", key="w")
            await stage.marked("run w")
            await until(lambda: engine._store.reader.state("Flow", "w") == {b"status": b'"waiting"'})
            await engine.kill(invocation_id_from_str(holder))
            assert engine._store.reader.state("Flow", "w") == {b"status": b'"waiting"'}

    run(main())


# Keys


def test_a_key_runs_one_at_a_time_in_order_of_arrival(stage: Stage) -> None:
    """Shared handlers run beside it, other keys too; a restart keeps the line."""
    names = [f"n{number}" for number in range(6)]

    async def main() -> None:
        async with stage.engine("worker") as engine:
            assert await engine.call("Counter", "add", 7, key="k") == 7
            sent = [await engine.send("Counter", "hold", name, key="k") for name in names]
            await stage.marked("holds k n0")
            assert await engine.call("Counter", "read", key="k") == 7
            assert await engine.call("Counter", "add", 1, key="other") == 1
            assert [status(engine, each) for each in sent] == [Status.INVOKED] + [Status.INBOXED] * 5
            assert await engine.cancel(invocation_id_from_str(sent[2])) is ReplyStatus.DONE
            stage.open_gate("n0")
            await stage.marked("holds k n1")
        async with stage.engine("worker") as engine:
            await stage.marked("holds k n1", times=2)
            late = await engine.send("Counter", "hold", "late", key="k")
            for name in [*names[1:], "late"]:
                stage.open_gate(name)
            assert [await engine.result(each) for each in [*sent[:2], *sent[3:], late]] == [
                *names[:2],
                *names[3:],
                "late",
            ]
            order = list(dict.fromkeys(line.removeprefix("holds k ") for line in stage.marks))
            assert order == [*names[:2], *names[3:], "late"]

    run(main())


def test_a_key_stays_taken_while_its_holder_is_suspended_or_paused(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine(defaults=QUICK_SUSPENSION) as engine:
            holder = await engine.send("Counter", "use", key="k")
            following = await engine.send("Counter", "add", 1, key="k")
            assert await engine.result(holder) == USED
            assert await engine.result(following) == 1

            held = await engine.send("Counter", "hold", "gate", key="k")
            await stage.marked("holds")
            await engine.pause(invocation_id_from_str(held))
            stage.open_gate("gate")
            await reaches(engine, held, Status.PAUSED)
            following = await engine.send("Counter", "add", 1, key="k")
            assert status(engine, following) is Status.INBOXED
            await engine.resume(invocation_id_from_str(held))
            assert await engine.result(held) == "gate"
            assert await engine.result(following) == 2

    run(main())


def test_a_key_calls_another_key_and_a_shared_handler_of_its_own(stage: Stage) -> None:
    async def main() -> None:
        for defaults in (DEFAULTS, QUICK_SUSPENSION):
            async with stage.engine(defaults=defaults) as engine:
                key = f"k{defaults.inactivity_timeout_ms}"
                assert await engine.call("Counter", "call_other_key", f"other {key}", key=key) == [1, 10, 1]

    run(main())


def test_an_operators_change_of_state_waits_its_turn(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine() as engine:
            held = await engine.send("Counter", "hold", "gate", key="k")
            await stage.marked("holds")
            await engine.mutate_state("Counter", "k", {b"value": b"40"})
            following = await engine.send("Counter", "add", 2, key="k")
        async with stage.engine() as engine:
            stage.open_gate("gate")
            assert await engine.result(held) == "gate"
            assert await engine.result(following) == 42

    run(main())


# Workflows


def test_a_workflow(stage: Stage, transport: Transport, version: int) -> None:
    """Runs once, its promises are completed once, and all of it is kept until its retention ends."""

    async def main() -> None:
        async with stage.engine(transport, version=version, defaults=QUICK_SUSPENSION) as engine:
            run_id = await engine.send("Flow", "run", "claim", key="w")
            assert await engine.send("Flow", "run", "another", key="w") == run_id
            with pytest.raises(InvocationFailed) as caught:
                await engine.call("Flow", "run", "another", key="w")
            assert (caught.value.code, caught.value.message) == (409, "the workflow method was already invoked")
            body = {"service": "Flow", "handler": "run", "body": '"x"', "key": "w"}
            answer = await engine.call("Steps", "call_generic", body)
            assert answer == "409 the workflow method was already invoked"

            await reaches(engine, run_id, Status.SUSPENDED)
            assert await engine.call("Flow", "peek", key="w") == [None, "waiting"]
            waiting = [await engine.send("Flow", "wait", "approval", key="w") for _ in range(3)]
            await stage.marked("waits", times=3)
            assert await engine.call("Flow", "approve", "yes", key="w") == "done"
            assert await engine.result(run_id) == "claim yes"
            assert [await engine.result(each) for each in waiting] == ["yes"] * 3
            assert await engine.call("Flow", "approve", "no", key="w") == "409 promise was already completed"
            assert await engine.call("Flow", "wait", "approval", key="w") == "yes"
            assert await engine.call("Flow", "peek", key="w") == ["yes", "approved"]
            assert stage.counts("run ") == {"w": stage.count("run w")} and stage.count("run w") >= 2

            assert await engine.purge(invocation_id_from_str(run_id)) is ReplyStatus.DONE
            assert await engine.call("Flow", "peek", key="w") == [None, None]
            again = await engine.send("Flow", "run", "new", key="w")
            assert again == run_id
            await engine.call("Flow", "reject", "no way", key="w")
            with pytest.raises(InvocationFailed) as caught:
                await engine.result(again)
            assert (caught.value.code, caught.value.message) == (418, "no way")
            await settles_in_memory(engine)

    run(main())


def test_a_promise_completed_before_the_workflow_runs(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine() as engine:
            assert await engine.call("Flow", "approve", "early", key="w") == "done"
            assert await engine.call("Flow", "run", "claim", key="w") == "claim early"

    run(main())


def test_promises_survive_a_restart(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine(defaults=QUICK_SUSPENSION) as engine:
            waiting = await engine.send("Flow", "wait", "approval", key="w")
            await reaches(engine, waiting, Status.SUSPENDED)
        async with stage.engine(defaults=QUICK_SUSPENSION) as engine:
            assert await engine.call("Flow", "approve", "yes", key="w") == "done"
            assert await engine.result(waiting) == "yes"

    run(main())


# Awakeables


@ENGINES_OWN
@pytest.mark.parametrize("handler", ["awakeable", "awakeable_later"])
def test_an_awakeable_completed_after_or_before_its_await(
    stage: Stage, transport: Transport, version: int, handler: str
) -> None:
    """The first completion counts."""

    async def main() -> None:
        async with stage.engine(transport, version=version) as engine:
            invocation_id = await engine.send("Waits", handler)
            name = await stage.marked("awakeable")
            target, index = awakeable_id_parse(name)
            assert (target, index) == (invocation_id_from_str(invocation_id), 17)
            first = await engine.complete_awakeable(target, index, Success(b'"first"'))
            assert first.status is ReplyStatus.ACCEPTED
            second = await engine.complete_awakeable(target, index, Success(b'"second"'))
            assert second.status is ReplyStatus.DONE
            stage.open_gate("later")
            assert await engine.result(invocation_id) == "got first"
            late = await engine.complete_awakeable(target, index, Success(b'"late"'))
            assert late.status is ReplyStatus.DONE
            unknown = await engine.complete_awakeable(bytes(24), 17, Success(b""))
            assert unknown.status is ReplyStatus.DONE

    run(main())


@pytest.mark.parametrize("version", VERSIONS)
def test_an_awakeable_completed_by_a_handler_or_rejected(stage: Stage, version: int) -> None:
    async def main() -> None:
        async with stage.engine(version=version, defaults=QUICK_SUSPENSION) as engine:
            resolved = await engine.send("Waits", "awakeable")
            await engine.call(
                "Waits", "signaller", {"awakeable": await stage.marked("awakeable"), "value": "from a handler"}
            )
            assert await engine.result(resolved) == "got from a handler"

            rejected = await engine.send("Waits", "awakeable")
            await reaches(engine, rejected, Status.SUSPENDED)
            name = awakeable_id_format(invocation_id_from_str(rejected), 17)
            await engine.call("Waits", "signaller", {"reject_awakeable": name})
            with pytest.raises(InvocationFailed) as caught:
                await engine.result(rejected)
            assert (caught.value.code, caught.value.message) == (418, "not today")

            from_outside = await engine.send("Waits", "awakeable_later")
            stage.open_gate("later")
            await engine.complete_awakeable(invocation_id_from_str(from_outside), 17, Failure(500, "no"))
            assert await engine.result(from_outside) == "500 no"

    run(main())


def test_an_awakeable_id_that_is_none_fails_the_attempt(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine() as engine:
            for body, code in (
                ({"awakeable": "sign_1garbage", "value": "x"}, "RT0012"),
                ({"resolve": "go", "to": "inv_1garbage", "value": "x"}, "RT0012"),
            ):
                invocation_id = await engine.send("Waits", "signaller", body)
                await until(lambda: (found := row(engine, invocation_id)) and found.last_error)  # noqa: B023
                found = row(engine, invocation_id)
                assert found is not None and found.last_error is not None
                assert found.last_error.restate_code == code, found.last_error
                assert journal(engine, invocation_id) == ["INPUT"]
                await engine.kill(invocation_id_from_str(invocation_id))

    run(main())


# Signals


@pytest.mark.parametrize("version", VERSIONS)
def test_named_signals(stage: Stage, version: int) -> None:
    """Before and after they are asked for; several of one name; a rejection."""

    async def main() -> None:
        for defaults in (DEFAULTS, QUICK_SUSPENSION):
            async with stage.engine(version=version, defaults=defaults) as engine:
                target = await engine.send("Waits", "named", ["a", "b", "c", "a"])
                bodies: list[dict[str, Any]] = [
                    {"resolve": "c", "to": target, "value": "c1"},
                    {"resolve": "a", "to": target, "value": "a1"},
                    {"reject": "b", "to": target},
                    {"resolve": "a", "to": target, "value": "a2"},
                ]
                for body in bodies:
                    await engine.call("Waits", "signaller", body)
                assert await engine.result(target) == ["a1", "418 not today", "c1", "a2"]

    run(main())


@pytest.mark.parametrize("version", VERSIONS)
def test_signals_to_what_has_not_started_are_kept(stage: Stage, version: int) -> None:
    """The real server drops them."""

    async def main() -> None:
        async with stage.engine(version=version) as engine:
            scheduled = await engine.send("Waits", "named", ["go"], delay_ms=400)
            await engine.call("Waits", "signaller", {"resolve": "go", "to": scheduled, "value": "kept"})
            assert status(engine, scheduled) is Status.SCHEDULED
            assert await engine.result(scheduled) == ["kept"]

            holder = await engine.send("Counter", "hold", "gate", key="k")
            await stage.marked("holds")
            queued = await engine.send("Counter", "add", 1, key="k")
            await engine.complete_awakeable(invocation_id_from_str(queued), 17, Success(b'"x"'))
            assert journal(engine, queued) == ["INPUT", "SIGNAL"]
            stage.open_gate("gate")
            assert await engine.result(holder) == "gate"
            assert await engine.result(queued) == 1

    run(main())


def test_signals_to_one_that_waits_for_its_turn_are_kept(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine(concurrency_max=2) as engine:
            blocking = await engine.send("Steps", "slow", "gate")
            also_blocking = await engine.send("Steps", "slow", "other gate")
            await stage.marked("attempt slow", times=2)
            waiting = await engine.send("Waits", "named", ["go"])
            assert engine.stats()["attempts_queued"] == 1
            await engine.complete_awakeable(invocation_id_from_str(waiting), 17, Success(b'"ignored"'))
            stage.open_gate("gate")
            assert await engine.result(blocking) == "slow gate"
            await stage.marked("attempt named")
            stage.open_gate("other gate")
            assert await engine.result(also_blocking) == "slow other gate"
            await engine.call("Waits", "signaller", {"resolve": "go", "to": waiting, "value": "kept"})
            assert await engine.result(waiting) == ["kept"]

    run(main())


def test_many_keys_and_callers_at_once(stage: Stage) -> None:
    """Every addition counts once, whatever interleaves."""
    keys, additions = 10, 20

    async def main() -> None:
        async with stage.engine() as engine:
            calls = [engine.call("Counter", "add", 1, key=f"k{number % keys}") for number in range(keys * additions)]
            results = await asyncio.gather(*calls)
            assert sorted(results) == sorted(list(range(1, additions + 1)) * keys)
            await settles_in_memory(engine)

    run(main())
