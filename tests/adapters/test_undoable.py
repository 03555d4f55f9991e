"""Effects of called services, undone when the run that called them fails for good: over a tree of invocations."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import restate
from restate import TerminalError
from restate.serde import BytesSerde

import rewake
from rewake.ext.kernel import effect, parallel, undo_on_failure, undoable, undoable_call

FAST: Final = restate.InvocationRetryPolicy(timedelta(milliseconds=1), 1.0, timedelta(milliseconds=1), 1_000, "pause")
DEADLINE_S: Final = 20.0

Handler = Callable[[restate.Context], Awaitable[Any]]


class World:
    """What was done and undone, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.keys: dict[str, str] = {}
        self.undoing: list[str] = []
        self.crashes: list[str] = []
        self.stubborn: tuple[str, ...] = ()
        self.gate = asyncio.Event()
        self.began, self.heard = asyncio.Event(), asyncio.Event()

    @property
    def undone(self) -> list[str]:
        """Each once, as a side that takes keys would have it."""
        return list(dict.fromkeys(self.undoing))

    async def do(self, ctx: restate.Context, name: str, **options: Any) -> str:
        """An effect that can be undone."""

        async def act(key: str) -> str:
            self.done.append(name)
            self.keys[name] = key
            return name

        options = {"on_undo": self.take_back} | options
        return await effect(ctx, name, act, on_unknown="retry", **options)

    async def take_back(self, key: str, name: str) -> None:
        """What undoes any of them."""
        assert self.keys[name] == key
        self.undoing.append(name)
        if name in self.crashes:
            self.crashes.remove(name)
            raise ConnectionError("dies with it undone")
        if name in self.stubborn:
            raise TerminalError("refunds are closed")

    async def unnamed(self, key: str, name: str) -> None:
        """The same, which no other process finds."""
        await self.take_back(key, name)

    async def wait(self, ctx: restate.Context, *, is_kept: bool) -> None:
        """Until the gate opens. is_kept: a cancellation is ignored."""
        self.began.set()
        opened = ctx.run_typed("wait", self.gate.wait)
        while True:
            try:
                await restate.wait_completed(opened)
                return
            except TerminalError:
                self.heard.set()
                if not is_kept:
                    raise


def apps(world: World, handler: Handler, *, waits: bool) -> Any:
    """Trips call flights and hotels; hotels call a cleaner."""
    options: dict[str, Any] = {"invocation_retry_policy": FAST}
    if waits:
        options["inactivity_timeout"] = timedelta(0)
    flights = restate.Service("Flights", **options)
    hotels = restate.VirtualObject("Hotels", **options)
    cleaners = restate.Workflow("Cleaners", **options)
    trips = restate.Service("Trips", **options)

    plain = restate.Service("Plain", **options)

    @flights.handler()
    async def fly(ctx: restate.Context, to: str) -> str:
        await world.do(ctx, f"seat to {to}", **({"on_undo": world.unnamed} if to == "unnamed" else {}))
        if to == "nowhere":
            raise TerminalError("no such place")
        if to.startswith("slow"):
            await world.wait(ctx, is_kept="kept" in to)
        return await world.do(ctx, f"meal to {to}")

    @hotels.handler()
    async def stay(ctx: restate.ObjectContext, nights: int) -> dict[str, int]:
        await world.do(ctx, f"room in {ctx.key()}")
        assert await undoable_call(ctx, clean, key=f"{ctx.key()}-1") == b"\xff\x00"
        await world.do(ctx, f"bill of {ctx.key()}")
        return {"nights": nights}

    @cleaners.main(output_serde=BytesSerde())
    async def clean(ctx: restate.WorkflowContext) -> bytes:
        await world.do(ctx, f"towels for {ctx.key()}")
        return b"\xff\x00"

    @trips.handler()
    async def go(ctx: restate.Context) -> object:
        return await handler(ctx)

    @plain.handler()
    async def call(ctx: restate.Context, what: Any) -> Any:
        return what

    called = [undoable(each, world.take_back) for each in (flights, hotels, cleaners)]
    return restate.app([trips, plain, *called])


def played(
    world: World, handler: Handler, folder: Path, *, waits: bool = False, meanwhile: Any = None
) -> tuple[Any, list[tuple[str, str, str]]]:
    """Answer or failure, and the effects of all runs as SQL has them: service, name, state."""

    async def work() -> Any:
        async with rewake.Engine(folder, apps(world, handler, waits=waits)) as engine:
            run = await engine.send("Trips", "go")
            if meanwhile is not None:
                await meanwhile(engine, run)
            try:
                answer = await engine.result(run)
            except rewake.InvocationFailed as failure:
                answer = failure
            rows = await engine.query(
                "select i.target_service_name, e.name, e.state from sys_effect e join sys_invocation i on i.id = e.id"
            )
            return answer, [tuple(row) for row in rows.rows]

    answer, shown = asyncio.run(asyncio.wait_for(work(), DEADLINE_S))
    return answer, shown


async def trip(ctx: restate.Context, world: World) -> None:
    await world.do(ctx, "taxi")
    await undoable_call(ctx, "Flights/fly", "Rome")
    assert await undoable_call(ctx, "Hotels/stay", 3, key="Forum") == {"nights": 3}
    await world.do(ctx, "tickets")


ALL_DONE: Final = [
    "taxi",
    "seat to Rome",
    "meal to Rome",
    "room in Forum",
    "towels for Forum-1",
    "bill of Forum",
    "tickets",
]


@pytest.mark.parametrize("waits", [False, True])
def test_a_tree_of_runs_is_undone_in_reverse_when_its_root_fails_for_good(waits: bool, tmp_path: Path) -> None:
    world = World()

    async def handler(ctx: restate.Context) -> None:
        await trip(ctx, world)
        raise TerminalError("it rains")

    answer, shown = played(world, handler, tmp_path, waits=waits)
    assert (answer.message, world.done) == ("it rains", ALL_DONE)
    assert world.undoing == ALL_DONE[::-1]
    undoing = [(service, name) for service, name, state in shown if state == "undone"]
    assert sorted(undoing) == sorted(
        [("Trips", "taxi"), ("Trips", "tickets"), ("Cleaners", "towels for Forum-1")]
        + [("Flights", name) for name in ("seat to Rome", "meal to Rome")]
        + [("Hotels", name) for name in ("room in Forum", "bill of Forum")]
    )


def test_nothing_is_undone_when_the_root_ends_well(tmp_path: Path) -> None:
    """A called run that fails undoes what it did itself; what called it may go on."""
    world = World()

    async def handler(ctx: restate.Context) -> str:
        await trip(ctx, world)
        with pytest.raises(TerminalError, match="no such place"):
            await undoable_call(ctx, "Flights/fly", "nowhere")
        return "home"

    answer, _ = played(world, handler, tmp_path)
    assert (answer, world.done[:-1], world.undoing) == ("home", ALL_DONE, ["seat to nowhere"])


def test_undoing_elsewhere_is_tried_again_and_goes_on_past_what_cannot_be_undone(tmp_path: Path) -> None:
    world = World()
    world.crashes = ["meal to Rome", "room in Forum"]

    async def handler(ctx: restate.Context) -> None:
        await undoable_call(ctx, "Flights/fly", "stubborn hills")
        await trip(ctx, world)
        raise TerminalError("it rains")

    world.stubborn = ("seat to stubborn hills",)
    _, shown = played(world, handler, tmp_path)
    assert world.undone == [*ALL_DONE[::-1], "meal to stubborn hills", "seat to stubborn hills"]
    assert len(world.undoing) == len(world.undone) + 2
    assert ("Flights", "seat to stubborn hills", "not undone") in shown


@pytest.mark.parametrize("to", ["slow town", "slow and kept"])
def test_a_cancelled_run_waits_for_the_called_one_which_is_undone_either_way(to: str, tmp_path: Path) -> None:
    """The called one fails and undoes itself, or takes no notice and is undone by its caller."""
    world = World()

    async def handler(ctx: restate.Context) -> None:
        await world.do(ctx, "taxi")
        await undoable_call(ctx, "Flights/fly", to)
        raise AssertionError("not reached")

    async def cancel(engine: rewake.Engine, run: str) -> None:
        await world.began.wait()
        await engine.cancel(run)
        await world.heard.wait()
        await engine.cancel(run)  # once more, while it waits for the called one
        world.gate.set()

    answer, _ = played(world, handler, tmp_path, meanwhile=cancel)
    assert answer.code == 409
    meal = [f"meal to {to}"] * ("kept" in to)
    assert world.undoing == [*meal, f"seat to {to}", "taxi"]


def test_calls_side_by_side_are_undone_in_the_order_of_the_journal(tmp_path: Path) -> None:
    world = World()

    async def handler(ctx: restate.Context) -> None:
        await parallel(undoable_call(ctx, "Flights/fly", "Rome"), undoable_call(ctx, "Flights/fly", "Oslo"))
        raise TerminalError("it rains")

    played(world, handler, tmp_path)
    for town in ("Rome", "Oslo"):
        assert [name for name in world.undoing if town in name] == [f"meal to {town}", f"seat to {town}"]


def test_an_effect_that_nobody_else_could_undo_fails_the_call_and_is_undone_there(tmp_path: Path) -> None:
    world = World()

    async def handler(ctx: restate.Context) -> None:
        await undoable_call(ctx, "Flights/fly", "unnamed")

    answer, _ = played(world, handler, tmp_path)
    assert "undoable(Flights, that_function)" in answer.message
    assert world.undoing == ["meal to unnamed", "seat to unnamed"]


def test_the_stored_form_of_an_answer_and_of_what_undoes_it(tmp_path: Path) -> None:
    """Pinned: journals have it, and a caller may be of another version."""
    world = World()

    async def handler(ctx: restate.Context) -> Any:
        answer = await ctx.generic_call("Flights", "fly", b'"Rome"', headers={"x-rewake-undo": "collect"})
        plain = await ctx.generic_call("Flights", "fly", b'"Rome"')
        return [json.loads(answer), json.loads(plain)]

    (told, plain), _ = played(world, handler, tmp_path)
    seat, meal = told["value"].pop("undo")
    assert told == {"rewake": 1, "kind": "undoable", "framework": "kernel", "value": {"answer": '"meal to Rome"'}}
    assert plain == "meal to Rome"
    key = seat["effect"]
    assert (meal["name"], meal["effect"] == key) == ("meal to Rome", False)
    assert seat == {
        "service": "Flights",
        "key": None,
        "function": "take_back",
        "args": [key, "seat to Rome"],
        "kwargs": {},
        "name": "seat to Rome",
        "step": "undo seat to Rome",
        "effect": key,
        "about": {"rewake": 1, "kind": "effect", "framework": "kernel", "tool": "seat to Rome", "value": None},
    }


def test_a_service_that_is_not_undoable_answers_as_ever(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World()

    async def handler(ctx: restate.Context) -> object:
        answers = [await undoable_call(ctx, "Plain/call", {"a": 1}), await undoable_call(ctx, "Plain/call")]
        if answers[1] is None:
            undo_on_failure(ctx, "plain", world.gate.wait)
        return answers

    assert played(world, handler, tmp_path)[0] == [{"a": 1}, None]
    assert [record.message for record in caplog.records if "Plain/call" in record.message] == [
        "Plain/call is not undoable(): what it does is not undone when its caller fails"
    ]


def test_functions_without_a_name_of_their_own_are_refused() -> None:
    async def undo() -> None: ...

    first = undo

    async def undo() -> None: ...  # type: ignore[no-redef]

    for functions in ((first, undo), (lambda: None,)):
        with pytest.raises(ValueError, match="no name of its own"):
            undoable(restate.Service("Flights"), *functions)
    service = undoable(restate.Service("Flights"), undo, undo)
    with pytest.raises(ValueError, match="call undoable\\(\\) once"):
        undoable(service, undo)
    assert service.handlers["undo_effect"].ingress_private
