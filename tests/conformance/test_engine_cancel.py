"""Cancel and kill: at every point of a life, down a call tree, and what a handler that catches may still do."""

from __future__ import annotations

import asyncio

import pytest
from stage import (
    DEFAULTS,
    QUICK_SUSPENSION,
    VERSIONS,
    Cut,
    Stage,
    Transport,
    journal,
    nothing,
    reaches,
    row,
    run,
    settles_in_memory,
    status,
    until,
)

from rewake.core.effects import ReplyStatus
from rewake.core.ids import invocation_id_from_str
from rewake.core.model import Status
from rewake.engine import Engine, InvocationFailed


async def cancel(engine: Engine, invocation_id: str) -> ReplyStatus:
    return await engine.cancel(invocation_id_from_str(invocation_id))


async def kill(engine: Engine, invocation_id: str) -> ReplyStatus:
    return await engine.kill(invocation_id_from_str(invocation_id))


async def fails(engine: Engine, invocation_id: str) -> str:
    with pytest.raises(InvocationFailed) as caught:
        await engine.result(invocation_id)
    return f"{caught.value.code} {caught.value.message}"


def test_cancel_and_kill_what_has_not_started(stage: Stage) -> None:
    """Scheduled and queued ones vanish; those who wait for them get an answer; the queue moves on."""

    async def main() -> None:
        async with stage.engine() as engine:
            holder = await engine.send("Counter", "hold", "gate", key="k")
            await stage.marked("holds")
            for operate, word in ((cancel, "canceled"), (kill, "killed")):
                for invocation_id in (
                    await engine.send("Steps", "same", "x", delay_ms=3_600_000),
                    await engine.send("Counter", "add", 100, key="k"),
                ):
                    waiting = asyncio.ensure_future(fails(engine, invocation_id))
                    await until(lambda: engine.stats()["callers_waiting"] == 1)
                    assert await operate(engine, invocation_id) is ReplyStatus.DONE
                    assert await waiting == f"409 {word}"
                    assert row(engine, invocation_id) is None
                    assert await operate(engine, invocation_id) is ReplyStatus.NOT_FOUND
            last = await engine.send("Counter", "add", 1, key="k")
            stage.open_gate("gate")
            assert await engine.result(holder) == "gate"
            assert await engine.result(last) == 1
            assert await cancel(engine, last) is ReplyStatus.ALREADY_COMPLETED
            assert await kill(engine, last) is ReplyStatus.ALREADY_COMPLETED
            assert engine._store.reader.next_timer_at() is None
            await settles_in_memory(engine)

    run(main())


def test_cancel_in_a_sleep(stage: Stage, transport: Transport, version: int) -> None:
    cancelled_while_it_runs(stage, transport, version, "asleep")


@pytest.mark.full_duplex(reason="a running step hears of the cancellation only when it ends")
def test_cancel_in_a_step(stage: Stage, transport: Transport, version: int) -> None:
    cancelled_while_it_runs(stage, transport, version, "in_run")


def cancelled_while_it_runs(stage: Stage, transport: Transport, version: int, handler: str) -> None:
    async def main() -> None:
        async with stage.engine(transport, version=version) as engine:
            invocation_id = await engine.send("Cancels", handler)
            await until(lambda: len(journal(engine, invocation_id)) == 2)
            assert await cancel(engine, invocation_id) is ReplyStatus.ACCEPTED
            assert await fails(engine, invocation_id) == "409 cancelled"
            assert journal(engine, invocation_id)[-2:] == ["SIGNAL", "OUTPUT"]
            await settles_in_memory(engine)

    run(main())


@pytest.mark.parametrize("version", VERSIONS)
def test_cancel_while_suspended(stage: Stage, version: int) -> None:
    async def main() -> None:
        async with stage.engine(version=version, defaults=QUICK_SUSPENSION) as engine:
            invocation_id = await engine.send("Cancels", "asleep")
            await reaches(engine, invocation_id, Status.SUSPENDED)
            assert await cancel(engine, invocation_id) is ReplyStatus.ACCEPTED
            assert await fails(engine, invocation_id) == "409 cancelled"

    run(main())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_caught_cancel_is_over_and_a_second_one_works_again(stage: Stage, version: int) -> None:
    """And no attempt is made in vain: the consumed signal wakes nobody twice."""

    async def main() -> None:
        async with stage.engine(version=version, defaults=QUICK_SUSPENSION) as engine:
            invocation_id = await engine.send("Cancels", "catches", 2)
            await reaches(engine, invocation_id, Status.SUSPENDED)
            for number in (1, 2):
                await cancel(engine, invocation_id)
                await stage.marked(f"ran compensation {number}, 409")
                await reaches(engine, invocation_id, Status.SUSPENDED)
                await settles_in_memory(engine)
            attempts = stage.count("attempt")
            started = engine.stats()["attempts_started"]
            for _ in range(20):  # other work passes; were it woken in a loop, it would be by now
                assert await engine.call("Steps", "same", "x") == "x"
            assert stage.count("attempt") == attempts <= 5
            assert engine.stats()["attempts_started"] == started + 20
            body = {"resolve": "done", "to": invocation_id, "value": "finished"}
            await engine.call("Waits", "signaller", body)
            assert await engine.result(invocation_id) == "caught 2, finished"
            assert stage.counts("ran ") == {"compensation 1, 409": 1, "compensation 2, 409": 1}

    run(main())


def test_a_handler_cancels_another(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine() as engine:
            invocation_id = await engine.send("Cancels", "asleep")
            await stage.marked("attempt")
            await engine.call("Waits", "signaller", {"cancel": invocation_id})
            assert await fails(engine, invocation_id) == "409 cancelled"
            await engine.call("Waits", "signaller", {"cancel": invocation_id})  # finished: nothing happens

    run(main())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("is_quick", [False, True])
def test_cancel_goes_down_a_deep_call_tree(stage: Stage, version: int, is_quick: bool) -> None:
    """From the root, by the SDK; with every level running, or every level suspended."""
    depth = 12

    async def main() -> None:
        async with stage.engine(version=version, defaults=QUICK_SUSPENSION if is_quick else DEFAULTS) as engine:
            root = await engine.send("Cancels", "tree", depth)
            await stage.marked("tree 0")
            if is_quick:
                await until(lambda: engine._store.reader.open_counts() == {Status.SUSPENDED: depth + 1})
                await settles_in_memory(engine)
            await cancel(engine, root)
            assert await fails(engine, root) == "409 cancelled"
            nodes = {line.split()[2] for line in stage.marks if line.startswith("tree")}
            assert len(nodes) == depth + 1
            for node in nodes:
                assert await fails(engine, node) == "409 cancelled"
                signals = [entry for entry in journal(engine, node) if entry == "SIGNAL"]
                assert len(signals) == 1, "told once"
            await settles_in_memory(engine)

    run(main())


@pytest.mark.parametrize("is_quick", [False, True])
def test_kill_takes_calls_and_sends_with_it(stage: Stage, is_quick: bool) -> None:
    """All children, also those scheduled; a finished one stays as it was."""

    async def main() -> None:
        async with stage.engine(defaults=QUICK_SUSPENSION if is_quick else DEFAULTS) as engine:
            parent = await engine.send("Cancels", "parent")
            await stage.marked("leaf 1")
            await stage.marked("leaf 2")
            if is_quick:
                counts = {Status.SUSPENDED: 3, Status.SCHEDULED: 1}
                await until(lambda: engine._store.reader.open_counts() == counts)
            leaves = {line.split()[1]: line.split()[2] for line in stage.marks if line.startswith("leaf")}
            assert await kill(engine, parent) is ReplyStatus.DONE
            assert await fails(engine, parent) == "409 killed"
            assert await engine.result(leaves["0"]) == "leaf"
            assert await fails(engine, leaves["1"]) == "409 killed"
            assert await fails(engine, leaves["2"]) == "409 killed"
            assert engine._store.reader.open_counts() == {}
            await settles_in_memory(engine)
            assert engine.stats()["attempts_running"] == 0

    run(main())


def test_kill_of_a_leaf_is_an_ordinary_failure_to_its_caller(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine() as engine:
            root = await engine.send("Cancels", "tree", 3)
            leaf = await stage.marked("tree 0")
            await kill(engine, leaf)
            assert await fails(engine, root) == "409 killed"

    run(main())


def test_kill_of_a_deep_tree_and_of_a_key_holder(stage: Stage) -> None:
    """The next in line gets the key; state written before stays."""

    async def main() -> None:
        async with stage.engine() as engine:
            root = await engine.send("Cancels", "tree", 60)
            await stage.marked("tree 0")
            await kill(engine, root)
            await until(lambda: not engine._store.reader.open_counts())  # a tree of this size is killed in slices

            assert await engine.call("Counter", "add", 5, key="k") == 5
            holder = await engine.send("Counter", "hold", "gate", key="k")
            await stage.marked("holds")
            following = await engine.send("Counter", "add", 1, key="k")
            assert status(engine, following) is Status.INBOXED
            await kill(engine, holder)
            assert await engine.result(following) == 6
            assert await fails(engine, holder) == "409 killed"

    run(main())


def test_cancel_and_kill_survive_a_restart(stage: Stage) -> None:
    """A cancel that was accepted is carried out by the next engine, whatever the handler was doing."""

    async def main() -> None:
        async with stage.engine(cut=Cut(1, nothing, is_total=True)) as engine:
            invocation_id = await engine.send("Cancels", "in_run")
            await stage.marked("attempt")
            await until(lambda: journal(engine, invocation_id) == ["INPUT", "RUN held"])
            assert await cancel(engine, invocation_id) is ReplyStatus.ACCEPTED
        async with stage.engine() as engine:
            assert await fails(engine, invocation_id) == "409 cancelled"

    run(main())


def test_cancel_of_what_waits_for_its_turn_to_run(stage: Stage) -> None:
    """Admitted but beyond the concurrency limit: it learns of the cancel as soon as it starts."""

    async def main() -> None:
        async with stage.engine(concurrency_max=1) as engine:
            first = await engine.send("Steps", "slow", "gate")
            await stage.marked("attempt slow")
            second = await engine.send("Cancels", "asleep")
            assert engine.stats()["attempts_queued"] == 1
            assert await cancel(engine, second) is ReplyStatus.ACCEPTED
            stage.open_gate("gate")
            assert await engine.result(first) == "slow gate"
            assert await fails(engine, second) == "409 cancelled"

            third = await engine.send("Steps", "slow", "other gate")
            fourth = await engine.send("Cancels", "asleep")
            await kill(engine, fourth)
            assert engine.stats()["attempts_queued"] == 0
            await kill(engine, third)

    run(main())
