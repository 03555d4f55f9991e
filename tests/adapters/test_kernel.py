"""The kernel on an engine: turns, pieces of a framework, and what must not go wrong at replay."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import restate
from frameworks import Call, ToolFailed, step, steps_of, turn
from restate.extensions import current_context

import rewake
from rewake.ext.kernel import InPlace, current_run, durable_step, idempotency_key, parallel, restate_context, rounds

FAST = restate.InvocationRetryPolicy(timedelta(milliseconds=1), 1.0, timedelta(milliseconds=1), 1_000, "pause")
DEADLINE_S = 20.0
HOOK_S = 0.08
Handler = Callable[[restate.Context, Any], Awaitable[Any]]


class Desk:
    """Handlers by name, each also on a service where every wait ends the attempt."""

    def __init__(self, **handlers: Handler) -> None:
        self.services = []
        for name, inactivity in (("Desk", None), ("Suspending", timedelta(0))):
            service = restate.Service(name, inactivity_timeout=inactivity, invocation_retry_policy=FAST)
            for each, function in handlers.items():
                self._add(service, each, function)
            self.services.append(service)

    @staticmethod
    def _add(service: restate.Service, name: str, function: Handler) -> None:
        @service.handler(name=name)
        async def handler(ctx: restate.Context, given: object) -> object:
            return await function(ctx, given)

    @asynccontextmanager
    async def engine(self, folder: Path) -> AsyncIterator[rewake.Engine]:
        async with rewake.Engine(folder, restate.app(self.services)) as engine:
            yield engine


class Bodies:
    """Bodies of steps that count, overlap, and now and then end the attempt as a crash would."""

    def __init__(self, chaos: float = 0.0) -> None:
        self.chaos = chaos
        self.finished: dict[str, int] = {}

    async def __call__(self, name: str) -> str:
        await asyncio.sleep(random.uniform(0, 0.01))
        if random.random() < self.chaos:
            raise ConnectionError("the attempt ends here")
        self.finished[name] = self.finished.get(name, 0) + 1
        return name


ROUNDS: dict[str, tuple[list[Call], str]] = {
    "all come": ([Call("a", 2), Call("b"), Call("c", 3)], "a.0+a.1 b.0 c.0+c.1+c.2"),
    "one alone": ([Call("a", 2)], "a.0+a.1"),
    "one is dropped": ([Call("a", 2), Call("b", is_dropped=True), Call("c")], "a.0+a.1 c.0"),
    "all are dropped": ([Call("a", is_dropped=True), Call("b", is_dropped=True)], ""),
    "one of two is dropped": ([Call("a", is_dropped=True), Call("b")], "b.0"),
    "one fails at once": ([Call("a", 3), Call("b", 0), Call("c", 2)], "failed: b"),
    "all fail at once": ([Call("a", 0), Call("b", 0)], "failed: "),
}


async def _rounds(bodies: Callable[[str], Awaitable[str]], chosen: str) -> str:
    """Two turns with the same ids, a step before, between and after."""
    run = current_run()
    assert run is not None
    calls, _ = ROUNDS[chosen]
    told = []

    async def framework() -> None:
        for number in range(2):
            await step(run, f"model {number}", bodies)
            try:
                told.append(" ".join(await turn(run, calls, bodies, HOOK_S)))
            except ToolFailed as failed:
                told.append(f"failed: {failed if len(calls) > 2 else ''}")

    await run.drive(framework)
    await step(run, "last", bodies)
    return "|".join(told)


@pytest.mark.parametrize("chosen", ROUNDS)
def test_a_frameworks_calls_fall_in_the_same_places(chosen: str, tmp_path: Path) -> None:
    """Hooks delay calls at random and attempts end at random: each run ends, with the right answer."""

    async def handler(ctx: restate.Context, given: str) -> str:
        run = current_run()
        assert run is not None
        return await _rounds(Bodies(chaos=0.1), given)

    async def main() -> None:
        async with Desk(go=handler).engine(tmp_path) as engine:
            calls = [engine.call(service, "go", chosen) for service in ("Desk", "Suspending") for _ in range(4)]
            answers = await asyncio.wait_for(asyncio.gather(*calls), DEADLINE_S)
        expected = ROUNDS[chosen][1]
        assert set(answers) == {f"{expected}|{expected}"}

    asyncio.run(main())


async def _nested(bodies: Bodies, label: str, depth: int = 0) -> list[Any]:
    """Steps, with pieces inside pieces."""
    told: list[Any] = [await durable_step(f"{label}.0", bodies, f"{label}.0", retry=InPlace(attempts=1))]
    if not depth:
        told += await parallel(_nested(bodies, f"{label}x", 1), _nested(bodies, f"{label}y", 1))
    return [*told, await durable_step(f"{label}.1", bodies, f"{label}.1", retry=InPlace(attempts=1))]


def test_parallel_pieces_replay_and_each_step_is_stored_once(tmp_path: Path) -> None:
    """Pieces inside pieces, beside the SDK's own combinators on the context that pieces see."""
    counts: list[dict[str, int]] = []

    async def by_combinators() -> list[Any]:
        ctx = restate_context()
        who, _ = await restate.select(timer=ctx.sleep(timedelta(milliseconds=5)), never=ctx.awakeable()[1])
        one, two = ctx.run_typed("one", lambda: "one"), ctx.run_typed("two", lambda: "two")
        await restate.gather(one, two)
        return [who, await one, await two]

    async def handler(ctx: restate.Context, given: object) -> list[Any]:
        bodies = Bodies()
        counts.append(bodies.finished)
        found = await parallel(*(_nested(bodies, label) for label in "abc"), by_combinators())
        return [*found, await ctx.run_typed("plain", lambda: "plain")]

    async def main() -> None:
        async with Desk(go=handler).engine(tmp_path) as engine:
            for service in ("Desk", "Suspending"):
                answer = await asyncio.wait_for(engine.call(service, "go", None), DEADLINE_S)
                assert answer == [*(_expected(label) for label in "abc"), ["timer", "one", "two"], "plain"]
        finished = [name for attempt in counts for name in attempt.items()]
        assert len(finished) == 2 * 3 * 6, "a body ran again for nothing"

    asyncio.run(main())


def _expected(label: str) -> list[Any]:
    inner = [[f"{label}{each}.0", f"{label}{each}.1"] for each in "xy"]
    return [f"{label}.0", *inner, f"{label}.1"]


def test_keys_are_the_same_in_each_attempt(tmp_path: Path) -> None:
    seen: dict[str, set[str]] = {"a": set(), "b": set()}

    async def act(name: str) -> str:
        seen[name].add(idempotency_key())
        assert idempotency_key("charge") != idempotency_key("refund")
        if len(seen) and random.random() < 0.5:
            raise ConnectionError("again")
        return idempotency_key()

    async def piece(name: str) -> str:
        return await durable_step(name, act, name, retry=InPlace(attempts=1))

    async def handler(ctx: restate.Context, given: object) -> list[str]:
        return [*await parallel(piece("a"), piece("b")), idempotency_key(), idempotency_key()]

    async def main() -> None:
        async with Desk(go=handler).engine(tmp_path) as engine:
            keys = await asyncio.wait_for(engine.call("Suspending", "go", None), DEADLINE_S)
        assert len(set(keys)) == 4
        assert seen == {"a": {keys[0]}, "b": {keys[1]}}

    asyncio.run(main())


def test_a_failure_is_tried_again_in_place_and_leaves_siblings_alone(tmp_path: Path) -> None:
    calls = {"flaky": 0, "slow": 0}

    async def flaky() -> str:
        calls["flaky"] += 1
        if calls["flaky"] < 3:
            raise ConnectionError("busy")
        return "at last"

    async def slow() -> str:
        calls["slow"] += 1
        await asyncio.sleep(0.1)
        return "slow"

    async def handler(ctx: restate.Context, given: object) -> list[str]:
        retry = InPlace(first_delay_s=0.01)
        return await parallel(durable_step("flaky", flaky, retry=retry), durable_step("slow", slow))

    async def main() -> None:
        async with Desk(go=handler).engine(tmp_path) as engine:
            assert await asyncio.wait_for(engine.call("Desk", "go", None), DEADLINE_S) == ["at last", "slow"]
        assert calls == {"flaky": 3, "slow": 1}

    asyncio.run(main())


def test_a_body_has_the_contextvars_of_its_caller_and_keeps_its_own(tmp_path: Path) -> None:
    """Alone, where no task waits for all, and side by side, where one branch waits for the others' futures."""
    who = ContextVar("who", default="nobody")

    async def tell() -> str:
        found = who.get()
        who.set("a body")
        return found

    async def piece(name: str) -> list[str]:
        who.set(name)
        return [await durable_step("one", tell), await durable_step("two", tell)]

    async def handler(ctx: restate.Context, given: object) -> list[Any]:
        who.set("main")
        return [
            await durable_step("before", tell),
            *await parallel(piece("a"), piece("b")),
            await durable_step("after", tell),
            who.get(),
        ]

    async def main() -> None:
        async with Desk(go=handler).engine(tmp_path) as engine:
            found = await asyncio.wait_for(engine.call("Desk", "go", None), DEADLINE_S)
            assert found == ["main", ["a", "a"], ["b", "b"], "main", "main"]

    asyncio.run(main())


async def _two_tasks() -> object:
    return await asyncio.gather(durable_step("a", str), durable_step("b", str))


async def _beside_pieces() -> object:
    """A hook of the framework makes a step in the main flow while another call still runs."""
    run, started = current_run(), asyncio.Event()
    assert run is not None

    async def first() -> str:
        started.set()
        await asyncio.sleep(0.05)
        return "first"

    async def hook() -> str:
        await started.wait()
        return await step(run, "from a hook", Bodies())

    run.expect(["a", "b"])
    pieces = [run.piece("a", first), run.piece("b", lambda: steps_of(run, Call("b"), Bodies()))]
    return await asyncio.gather(*pieces, hook())


async def _left_behind() -> object:
    """A task that goes on after its piece has ended."""
    left: list[asyncio.Task[Any]] = []

    async def first() -> None:
        left.append(asyncio.ensure_future(later()))

    async def later() -> None:
        await asyncio.sleep(0.01)
        await durable_step("late", str)

    await parallel(first())
    return await left[0]


async def _within_a_body() -> object:
    """A step inside of a step, with the SDK's own context."""
    ctx: Any = current_context()
    return await durable_step("outer", lambda: ctx.run_typed("inner", str))


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (_within_a_body, r"'outer' uses the context \(run_typed\).*before the step or after it"),
        (_two_tasks, r"side by side in the main flow.*parallel\(first\(\), second\(\)\)"),
        (_beside_pieces, "while calls? 'a'.* still ran beside it.*hooks and event handlers"),
        (_left_behind, "another piece had the turn.*left behind"),
    ],
)
@pytest.mark.parametrize("service", ["Desk", "Suspending"])
def test_an_entry_without_the_turn_is_an_error_at_once(
    work: Callable[[], Awaitable[object]], says: str, service: str, tmp_path: Path
) -> None:
    async def handler(ctx: restate.Context, given: object) -> object:
        return await work()

    async def main() -> None:
        async with Desk(go=handler).engine(tmp_path) as engine:
            with pytest.raises(rewake.InvocationFailed, match=says):
                await asyncio.wait_for(engine.call(service, "go", None), DEADLINE_S)

    asyncio.run(main())


def test_a_call_that_does_not_come_at_replay_fails_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "REPLAY_WAIT_S", 0.2)
    attempts: list[int] = []

    async def handler(ctx: restate.Context, given: object) -> object:
        attempts.append(1)
        calls = [Call("a"), Call("lookup_order", is_dropped=len(attempts) > 1)]
        run = current_run()
        assert run is not None
        found = await run.drive(lambda: turn(run, calls, Bodies(), 0))
        await ctx.awakeable()[1]
        return found

    async def main() -> None:
        async with Desk(go=handler).engine(tmp_path) as engine:
            with pytest.raises(rewake.InvocationFailed, match="call 'lookup_order' came in an earlier attempt"):
                await asyncio.wait_for(engine.call("Suspending", "go", None), DEADLINE_S)

    asyncio.run(main())


def test_a_cancelled_run_stops_and_no_piece_makes_an_answer_of_it(tmp_path: Path) -> None:
    """Both pieces swallow the cancellation, as frameworks do with errors of tools."""
    waiting, told = asyncio.Event(), []

    async def swallow(name: str) -> str:
        try:
            waiting.set()
            await restate_context().awakeable()[1]
        except Exception as problem:  # noqa: BLE001 - as a framework does
            told.append(f"{name}: {problem}")
        return "went on"

    async def framework() -> object:
        run = current_run()
        assert run is not None
        run.expect(["a", "b"])
        pieces = [run.piece("a", lambda: swallow("a")), run.piece("b", lambda: swallow("b"))]
        return await asyncio.gather(*pieces, return_exceptions=True)

    async def handler(ctx: restate.Context, given: object) -> object:
        run = current_run()
        assert run is not None
        return await run.drive(framework)

    async def main() -> None:
        async with Desk(go=handler).engine(tmp_path) as engine:
            invocation_id = await engine.send("Desk", "go", None)
            await asyncio.wait_for(waiting.wait(), DEADLINE_S)
            await engine.cancel(invocation_id)
            with pytest.raises(rewake.InvocationFailed, match=r"cancelled \(code 409"):
                await asyncio.wait_for(engine.result(invocation_id), DEADLINE_S)
        assert told == ["a: cancelled", "b: cancelled"]

    asyncio.run(main())
