"""Effects on an engine: done once, or known to be unknown, whatever became of the attempt in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import crash_lab
import pytest
import restate
from adapter_kit import marks
from restate import TerminalError

import rewake
from rewake.cli.effects_view import effect_lines, effects_json
from rewake.core.ids import awakeable_id_parse, invocation_id_from_str, invocation_id_to_str
from rewake.ext.kernel import (
    ApprovalRequest,
    Approvals,
    Done,
    acts,
    effect,
    effects,
    external,
    idempotency_key,
    undo_on_failure,
)
from rewake.protocol.messages import Success
from rewake.runs.agents import is_of_agents
from rewake.runs.effects import effects_of
from rewake.runs.local.database import local_reading
from rewake.runs.steps import steps_of
from rewake.ui.run_data import run_data

FAST: Final = restate.InvocationRetryPolicy(timedelta(milliseconds=1), 1.0, timedelta(milliseconds=1), 1_000, "pause")
DEADLINE_S: Final = 20.0
AT_ONCE: Final = timedelta(0)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow one another sooner than users' do."""
    monkeypatch.setattr(acts, "PAUSES_S", (0.01, 0.01, None))
    monkeypatch.setattr(effects, "PAUSE_S", 0.05)


class Bank:
    """The other side. booked: keys in the order of booking.   loses: what becomes of each call.

    `before` and `after`: the attempt dies before or after the booking, as a crash would have it; `cut`: the answer is
    lost and the caller sees it; `refused` (402), `away` (no connection), `ok`.
    """

    def __init__(self, *loses: str) -> None:
        self.loses = list(loses)
        self.booked: list[str] = []
        self.asked = 0
        self.undone: list[Any] = []
        self.is_to_die = False
        self.dies_undoing = False

    # A codec of journal values, which ends the attempt at one of them

    def encode(self, buf: bytes) -> bytes:
        if self.is_to_die and b'"state":"done"' in buf:
            self.is_to_die = False
            raise ConnectionError("dies with the result")
        if self.dies_undoing and self.undone and b'"state":"undone"' in buf:
            self.dies_undoing = False
            raise ConnectionError("dies with an effect undone")
        return buf

    async def decode(self, buf: bytes) -> bytes:
        if self.loses[:1] == ["before"] and b'"state":"sent"' in buf:
            self.loses.pop(0)
            raise ConnectionError("dies with the marker stored")
        return buf

    # What callers do

    async def pay(self, key: str) -> dict[str, str]:
        fate = self.loses.pop(0) if self.loses else "ok"
        if fate == "before":  # where there is no marker
            raise ConnectionError
        if fate == "refused":
            raise TerminalError("The card was declined.", 402)
        if fate == "away":
            raise ConnectionRefusedError("nobody listens")
        self.booked.append(key)
        self.is_to_die = fate == "after"
        if fate == "cut":
            raise TimeoutError("no answer")
        return {"receipt": key}

    async def pay_once(self, key: str) -> dict[str, str]:
        """A bank that takes keys."""
        if key in self.booked:
            return {"receipt": key}
        return await self.pay(key)

    async def find(self, key: str) -> Done[dict[str, str]] | None:
        self.asked += 1
        return Done({"receipt": key}) if key in self.booked else None

    async def refund(self, key: str, receipt: dict[str, str] | None) -> None:
        self.undone.append(receipt and receipt["receipt"] == key)


Handler = Callable[[restate.Context, Bank], Awaitable[Any]]


class Desk:
    """One handler. waits: its every wait ends the attempt."""

    def __init__(self, handler: Handler, bank: Bank, *, waits: bool = False) -> None:
        self.bank = bank
        self.requests: asyncio.Queue[ApprovalRequest] = asyncio.Queue()
        self.attempts: list[dict[str, str]] = []
        self.shown: list[tuple[str, str]] = []
        inactivity = timedelta(0) if waits else None
        self.service = restate.Service("Desk", inactivity_timeout=inactivity, invocation_retry_policy=FAST)

        @self.service.handler()
        async def run(ctx: restate.Context) -> object:
            self.attempts.append(dict(ctx.request().attempt_headers))
            return await handler(ctx, bank)

    @asynccontextmanager
    async def engine(self, folder: Path) -> AsyncIterator[rewake.Engine]:
        async def codec() -> Any:
            return self.bank

        app = restate.app([self.service], journal_value_codec=codec)
        async with rewake.Engine(folder, app) as engine:
            yield engine


def scenario(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, DEADLINE_S))


async def shown(engine: rewake.Engine, folder: Path, run: str) -> list[tuple[str, str]]:
    """Name and state of the effects of a run: what SQL has is what pages and the CLI have."""
    with local_reading(folder, engine.now_ms()) as reading:
        invocation = reading.invocation(invocation_id_from_str(run))
        assert invocation is not None
        found = effects_of(reading, invocation, steps_of(reading.entries(invocation.id)))
        page = run_data(reading, invocation, first_row=0, step_index=None)
        assert page is not None
        assert page.effects == found
        assert not is_of_agents(reading, invocation)  # it opens on its timeline
    columns = ("name", "state", "key", "why", "who")
    rows = (await engine.query(f"select {', '.join(columns)} from sys_effect where id = '{run}' order by index")).rows
    told = sorted(tuple(getattr(each, name) or None for name in columns) for each in found)
    assert sorted(map(tuple, rows)) == told
    assert [each["key"] for each in effects_json(found)] == [each.key for each in found]
    lines = effect_lines(found)
    assert all(each.state in line for each, line in zip(found, lines[2:], strict=True))
    return [(each.name, each.state) for each in found]


def played(handler: Handler, bank: Bank, folder: Path, *, waits: bool = False) -> tuple[Any, Desk, list[str]]:
    """The answer or the failure of a run, its desk, and the names of its steps."""
    desk = Desk(handler, bank, waits=waits)

    async def work() -> tuple[Any, list[str]]:
        async with desk.engine(folder) as engine:
            run = await engine.send("Desk", "run")
            try:
                answer = await engine.result(run)
            except rewake.InvocationFailed as failure:
                answer = failure
            desk.shown = await shown(engine, folder, run)
            rows = (await engine.query("select name from sys_journal where name is not null order by index")).rows
            return answer, [row[0] for row in rows if row[0]]

    answer, names = scenario(work())
    return answer, desk, names


async def verified(ctx: restate.Context, bank: Bank) -> Any:
    return await effect(ctx, "pay", bank.pay, verify=bank.find, settle=AT_ONCE)


async def keyed(ctx: restate.Context, bank: Bank) -> Any:
    return await effect(ctx, "pay", bank.pay_once, on_unknown="retry")


async def failing(ctx: restate.Context, bank: Bank) -> Any:
    return await effect(ctx, "pay", bank.pay, on_unknown="fail")


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("handler", [verified, keyed, failing])
def test_undisturbed_it_is_done_once_and_nobody_is_asked(handler: Handler, waits: bool, tmp_path: Path) -> None:
    """A plain suspension between marker and act is no crash: the engine says so."""
    bank = Bank()
    answer, desk, names = played(handler, bank, tmp_path, waits=waits)
    assert [answer["receipt"]] == bank.booked
    assert bank.asked == 0
    assert names == (["effect pay"] if handler is keyed else ["send pay", "effect pay"])
    assert desk.shown == [("pay", "done")]
    resumed = [headers.get("x-rewake-resumed") for headers in desk.attempts]
    assert resumed == ([None] + ["clean"] * (len(names)) if waits else [None])


LOSSES: Final = [["before"], ["after"], ["cut"], ["before", "before", "after"], ["before", "cut"]]


@pytest.mark.parametrize(
    ("handler", "loses", "waits"),
    [(verified, loses, waits) for loses in LOSSES for waits in (False, True)]
    + [(keyed, ["after"], False), (keyed, ["before", "cut"], True)],
)
def test_what_is_lost_is_found_or_done_again(handler: Handler, loses: list[str], waits: bool, tmp_path: Path) -> None:
    bank = Bank(*loses)
    answer, desk, names = played(handler, bank, tmp_path, waits=waits)
    assert [answer["receipt"]] == bank.booked
    assert bank.asked >= (handler is verified)
    found = handler is verified and loses[-1] != "before"
    assert desk.shown == [("pay", "verified" if found else "done")]
    assert names == (["effect pay"] if handler is keyed else ["send pay", "effect pay"])


def test_the_engine_dies_during_effects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the handlers, by SIGKILL in each act: nothing is booked under two keys, and the policy settles the rest."""
    monkeypatch.setenv("LAB_FOLDER", str(tmp_path))
    told = crash_lab.played("effects_app", tmp_path, "Desk", "pay")
    assert told == {"kills": 4, "answer": ["early", "late", "keyed", "unknown"]}
    found = marks()
    booked = [mark.split()[1] for mark in found if mark.startswith("booked")]
    assert booked == ["early", "late", "keyed", "failing"]
    assert [count for mark, count in found.items() if mark.startswith("booked")] == [1, 1, 2, 1]

    async def states() -> list[tuple[str, str]]:
        async with rewake.Engine(tmp_path / "data") as engine:
            return [
                tuple(row) for row in (await engine.query("select name, state from sys_effect order by index")).rows
            ]

    settled = [("early", "done"), ("late", "verified"), ("keyed", "done"), ("failing", "unknown")]
    assert scenario(states()) == settled


@pytest.mark.parametrize("loses", ["before", "after", "cut"])
def test_it_fails_when_nobody_can_say(loses: str, tmp_path: Path) -> None:
    bank = Bank(loses)
    answer, desk, _ = played(failing, bank, tmp_path)
    assert isinstance(answer, rewake.InvocationFailed)
    assert "Whether 'pay'" in answer.message
    assert "is unknown, so it was not done again" in answer.message
    assert len(bank.booked) == (loses != "before")
    assert desk.shown == [("pay", "unknown")]


@pytest.mark.parametrize(("answer", "bookings"), [(True, 1), (False, 2)])
def test_a_person_says_whether_it_was_done(answer: bool, bookings: int, tmp_path: Path) -> None:
    """The answer of the bank is lost after the booking: yes is right, and no books a second time."""
    asked: asyncio.Queue[ApprovalRequest] = asyncio.Queue()

    async def handler(ctx: restate.Context, bank: Bank) -> Any:
        people = Approvals(who="finance", notify=asked.put)
        return await effect(ctx, "pay", bank.pay, on_unknown="ask", args={"amount": 7}, approvals=people)

    desk = Desk(handler, Bank("cut"), waits=True)

    async def work() -> Any:
        async with desk.engine(tmp_path) as engine:
            paid = asyncio.ensure_future(engine.call("Desk", "run"))
            request = await asked.get()
            assert request.question.startswith("Was 'pay' done? Approve if it was.")
            shown = json.loads(request.arguments)
            assert (shown["arguments"], shown["key"]) == ({"amount": 7}, desk.bank.booked[0])
            await engine.complete_awakeable(*awakeable_id_parse(request.id), Success(json.dumps(answer).encode()))
            return await paid

    told = scenario(work())
    assert told is None if answer else told["receipt"] == desk.bank.booked[1]
    assert desk.bank.booked == [desk.bank.booked[0]] * bookings


def test_a_refusal_is_final_and_no_connection_is_tried_again(tmp_path: Path) -> None:
    """Neither is unknown: nobody is asked, and nothing is booked by the first."""

    async def handler(ctx: restate.Context, bank: Bank) -> Any:
        with pytest.raises(TerminalError, match="declined") as refused:
            await effect(ctx, "pay", bank.pay, on_unknown="fail")
        return refused.value.status_code, await effect(ctx, "again", bank.pay, on_unknown="fail")

    bank = Bank("refused", "away", "away", "away")
    answer, desk, names = played(handler, bank, tmp_path)
    assert desk.shown == [("pay", "refused"), ("again", "done")]
    assert answer == [402, {"receipt": bank.booked[0]}]
    again = ["send again", "effect again"]
    assert names == ["send pay", "effect pay", *again, "pause again", *again]


UNDONE: Final = ["undo later", "undo pay"]


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("failure", [TerminalError("no seat left"), ValueError("tried again")])
def test_what_was_done_is_undone_in_reverse_when_the_run_fails_for_good(
    failure: Exception, waits: bool, tmp_path: Path
) -> None:
    is_final = isinstance(failure, TerminalError)
    undone: list[str] = []
    attempts = 0

    async def later() -> None:
        undone.append("later")

    async def handler(ctx: restate.Context, bank: Bank) -> str:
        nonlocal attempts
        await effect(ctx, "pay", bank.pay_once, on_unknown="retry", on_undo=bank.refund)
        undo_on_failure(ctx, "later", later)
        attempts += waits
        if is_final or not bank.loses:
            bank.loses.append("seen")
            raise failure
        return "went on"

    bank = Bank()
    answer, desk, names = played(handler, bank, tmp_path, waits=waits)
    if is_final:
        assert desk.shown == [("pay", "undone"), ("later", "undone")]
        assert isinstance(answer, rewake.InvocationFailed)
        assert answer.message == "no seat left"
        assert names[-2:] == UNDONE
        assert (undone, bank.undone) == (["later"], [True])
    else:
        assert answer == "went on"
        assert (undone, bank.undone, names) == ([], [], ["effect pay"])


def test_undoing_goes_on_after_a_crash(tmp_path: Path) -> None:
    """One that was undone is not undone again; one whose result was lost is, with the same key."""
    keys: list[str] = []

    async def later() -> None:
        keys.append("later")

    async def refund(key: str, receipt: dict[str, str]) -> None:
        keys.append(idempotency_key())
        bank.undone.append(receipt["receipt"] == key)

    async def handler(ctx: restate.Context, bank: Bank) -> None:
        await effect(ctx, "pay", bank.pay_once, on_unknown="retry", on_undo=refund)
        undo_on_failure(ctx, "later", later)
        raise TerminalError("no seat left")

    bank = Bank()
    bank.dies_undoing = True
    answer, desk, names = played(handler, bank, tmp_path)
    assert answer.message == "no seat left"
    assert (keys[0], len(keys), keys[1] == keys[2]) == ("later", 3, True)
    assert bank.undone == [True, True]
    assert names == ["effect pay", *UNDONE]
    assert desk.shown == [("pay", "undone"), ("later", "undone")]


@pytest.mark.parametrize(("on_unknown", "state"), [("verify", "verified"), ("retry", "done")])
def test_a_fork_goes_on_with_the_effects_of_its_origin(
    on_unknown: effects.OnUnknown, state: str, tmp_path: Path
) -> None:
    """By their keys: behind the marker it asks whether its origin has booked, and undoes with the origin's key.

    Entry 2 is the result of the first step: the marker, or the act of a policy that has no marker.
    """
    fails = False

    async def handler(ctx: restate.Context, bank: Bank) -> Any:
        verify = bank.find if on_unknown == "verify" else None
        paid = await effect(
            ctx, "pay", bank.pay, verify=verify, on_unknown=on_unknown, settle=AT_ONCE, on_undo=bank.refund
        )
        if fails:
            raise TerminalError("no seat left")
        return paid

    desk = Desk(handler, Bank())

    async def work() -> None:
        nonlocal fails
        async with desk.engine(tmp_path) as engine:
            first = await engine.send("Desk", "run")
            paid = await engine.result(first)
            for fails in (False, True):
                fork = (await engine.restart_as_new(first, from_index=2)).invocation_id
                assert fork is not None
                told = engine.result(invocation_id_to_str(fork))
                if fails:
                    with pytest.raises(rewake.InvocationFailed, match="no seat left"):
                        await told
                else:
                    assert await told == paid
                    assert await shown(engine, tmp_path, invocation_id_to_str(fork)) == [("pay", state)]

    scenario(work())
    assert (len(desk.bank.booked), desk.bank.undone) == (1, [True])


def test_a_cancelled_run_waits_for_what_is_under_way_and_undoes_it(tmp_path: Path) -> None:
    """The rest of the undoing goes on where one of it fails for good."""
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slow(key: str) -> str:
        begun.set()
        await finish.wait()
        return key

    async def refused(key: str, result: object) -> None:
        raise TerminalError("refunds are closed")

    async def handler(ctx: restate.Context, bank: Bank) -> None:
        await effect(ctx, "pay", bank.pay, on_unknown="fail", on_undo=bank.refund)
        await effect(ctx, "slow", slow, on_unknown="fail", on_undo=refused)

    desk = Desk(handler, Bank())

    async def work() -> tuple[Any, list[str]]:
        async with desk.engine(tmp_path) as engine:
            run = await engine.send("Desk", "run")
            await begun.wait()
            await engine.cancel(run)
            finish.set()
            with pytest.raises(rewake.InvocationFailed) as failure:
                await engine.result(run)
            rows = (await engine.query("select name from sys_journal where name is not null order by index")).rows
            return failure.value, [row[0] for row in rows if row[0]]

    failure, names = scenario(work())
    assert failure.code == 409
    assert names[-2:] == ["undo slow", "undo pay"]
    assert desk.bank.undone == [True]


def test_a_cancellation_during_the_undoing_changes_nothing(tmp_path: Path) -> None:
    begun, finish = asyncio.Event(), asyncio.Event()

    async def slowly(key: str, receipt: object) -> None:
        begun.set()
        await finish.wait()

    async def handler(ctx: restate.Context, bank: Bank) -> None:
        await effect(ctx, "pay", bank.pay_once, on_unknown="retry", on_undo=bank.refund)
        await effect(ctx, "slow", bank.pay_once, on_unknown="retry", on_undo=slowly)
        raise TerminalError("no seat left")

    desk = Desk(handler, Bank())

    async def work() -> None:
        async with desk.engine(tmp_path) as engine:
            run = await engine.send("Desk", "run")
            await begun.wait()
            for _ in range(2):
                await engine.cancel(run)
            finish.set()
            with pytest.raises(rewake.InvocationFailed, match="no seat left"):
                await engine.result(run)
            assert await shown(engine, tmp_path, run) == [("pay", "undone"), ("slow", "undone")]

    scenario(work())
    assert desk.bank.undone == [True]


def test_policies_that_do_not_go_together() -> None:
    async def tool() -> None:
        """Nothing."""

    async def found() -> Done[None]:
        return Done(None)

    with pytest.raises(ValueError, match="needs verify="):
        external(on_unknown="verify")
    with pytest.raises(ValueError, match="never calls verify"):
        external(on_unknown="retry", verify=found)
    with pytest.raises(ValueError, match="must be 'verify'"):
        external(on_unknown="maybe")  # type: ignore[call-overload]
    assert asyncio.run(external()(tool)()) is None
