"""`ask()` on an engine: approved, denied or expired, however often the attempt ends in between."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import adapter_kit
import crash_lab
import pytest
import restate
from tests.warm import Warm

import rewake
from rewake.admin.answering import answer
from rewake.core.ids import awakeable_id_parse
from rewake.errors import RewakeError
from rewake.ext.kernel import ApprovalRequest, Decision, ask
from rewake.ext.kernel.asking import REFUSALS_MAX
from rewake.protocol.messages import Failure, Success
from rewake.runs.approvals import Approval
from rewake.runs.inbox import approval_of, inbox
from rewake.runs.local.database import local_reading

DEADLINE_S = 20.0
DAY_MS = 86_400_000
KILLED = """
import asyncio
import rewake, restate
from test_asking import Desk

async def main():
    desk = Desk()
    async with rewake.Engine("data", restate.app([desk.service])) as engine:
        await engine.send("Desk", "pay")
        name = (await desk.requests.get()).id
        while not (await engine.query("select id from sys_invocation where status = 'suspended'")).rows:
            await asyncio.sleep(0.01)
        print(name, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""
TESTS = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join(str(TESTS / each) for each in ("adapters", "conformance", "e2e", ".."))
}


class Desk:
    """One handler that asks, on a service whose every wait ends the attempt. terms: of `ask`."""

    def __init__(self, **terms: Any) -> None:
        self.terms = terms
        self.requests: asyncio.Queue[ApprovalRequest] = asyncio.Queue()
        self.notified: list[tuple[int, str]] = []
        self.args: Any = {"amount": 750}
        self.service = restate.Service("Desk", inactivity_timeout=timedelta(0))

        @self.service.handler()
        async def pay(ctx: restate.Context) -> dict[str, Any]:
            return told(await ask("Pay it?", self.args, notify=self._notify, **self.terms))

    async def _notify(self, request: ApprovalRequest) -> None:
        self.notified.append((request.reminder, request.refused))
        self.requests.put_nowait(request)

    @asynccontextmanager
    async def engine(self, folder: Path) -> AsyncIterator[Engine]:
        async with rewake.Engine(folder, restate.app([self.service])) as engine:
            yield Engine(engine, folder)


def told(decision: Decision) -> dict[str, Any]:
    return {"outcome": decision.outcome, "who": decision.who, "why": decision.why, "digest": decision.digest}


class Engine:
    """What the tests do with an engine."""

    def __init__(self, engine: rewake.Engine, folder: Path) -> None:
        self.engine, self.folder = engine, folder

    def pay(self) -> asyncio.Task[Any]:
        return asyncio.get_running_loop().create_task(self.engine.call("Desk", "pay"))

    async def resolve(self, name: str, content: Any) -> None:
        result = content if isinstance(content, Failure) else Success(json.dumps(content).encode())
        await self.engine.complete_awakeable(*awakeable_id_parse(name), result)

    def approval(self, name: str) -> Approval:
        with local_reading(self.folder, self.engine.now_ms()) as found:
            return approval_of(found, name)

    async def answer(self, name: str, **said: Any) -> Approval:
        """As pages and CLI do: refused, or counted."""

        async def read(find: Any) -> Any:
            with local_reading(self.folder, self.engine.now_ms()) as found:
                return find(found)

        return await answer(self.engine, read, name, **said)


def scenario(work: Any) -> None:
    asyncio.run(asyncio.wait_for(work, DEADLINE_S))


def test_it_waits_is_listed_and_is_approved_for_its_arguments(tmp_path: Path) -> None:
    async def work() -> None:
        desk = Desk(who="finance")
        async with desk.engine(tmp_path) as engine:
            paid = engine.pay()
            request = await desk.requests.get()
            with local_reading(tmp_path, engine.engine.now_ms()) as found:
                (waiting,) = inbox(found).approvals
            assert (waiting.id, waiting.state, waiting.target) == (request.id, "waiting", "Desk/pay")
            assert (waiting.asked.question, waiting.asked.arguments) == ("Pay it?", '{"amount": 750}')
            assert (waiting.asked.who, waiting.asked.digest) == (("finance",), request.digest)
            with pytest.raises(RewakeError, match="RW4029"):
                await engine.answer(request.id, approved=True, digest="of other arguments")
            now = await engine.answer(request.id, approved=True, who="Ada", why="fine", digest=request.digest)
            assert now.state in ("answered", "approved")
            assert await paid == {"outcome": "approved", "who": "Ada", "why": "fine", "digest": request.digest}
            with pytest.raises(RewakeError, match="RW4027.*approved already by Ada"):
                await engine.answer(request.id, approved=False, who="Bob")
            assert engine.approval(request.id).decided is not None
        assert desk.notified == [(0, "")]

    scenario(work())


@pytest.mark.parametrize(
    ("said", "outcome", "why"),
    [
        (False, "denied", None),
        ({"approved": False, "reason": "too much"}, "denied", "too much"),
        (Failure(500, "never"), "denied", "never"),
        ("yes", "approved", None),
    ],
)
def test_plain_answers_to_the_awakeable_do_as_well(said: Any, outcome: str, why: str | None, tmp_path: Path) -> None:
    async def work() -> None:
        desk = Desk()
        async with desk.engine(tmp_path) as engine:
            paid = engine.pay()
            await engine.resolve((await desk.requests.get()).id, said)
            found = await paid
            assert (found["outcome"], found["why"]) == (outcome, why)

    scenario(work())


def test_nobody_answers_in_time(tmp_path: Path) -> None:
    """Reminders first, each once; then it is expired, and a late answer is refused as such."""

    async def work() -> None:
        desk = Desk(deadline=timedelta(seconds=1), remind=[timedelta(milliseconds=200), timedelta(days=1)])
        async with desk.engine(tmp_path) as engine:
            paid = engine.pay()
            request = await desk.requests.get()
            found = await paid
            assert (found["outcome"], found["who"], desk.notified) == ("expired", None, [(0, ""), (1, "")])
            with pytest.raises(RewakeError, match="RW4028"):
                await engine.answer(request.id, approved=True)

    scenario(work())


def test_several_people_each_count_once(tmp_path: Path) -> None:
    async def work() -> None:
        desk = Desk(quorum=2)
        async with desk.engine(tmp_path) as engine:
            paid = engine.pay()
            request = await desk.requests.get()
            with pytest.raises(RewakeError, match="RW4030.*no name"):
                await engine.answer(request.id, approved=True)
            assert (await engine.answer(request.id, approved=True, who="Ada")).missing == 1
            with pytest.raises(RewakeError, match="RW4030.*ada has answered already"):
                await engine.answer(request.id, approved=True, who="ada ")
            await engine.answer(request.id, approved=True, who="Bob")
            assert (await paid)["outcome"] == "approved"
            assert [each.who for each in engine.approval(request.id).given] == ["Ada", "Bob"]

    scenario(work())


def test_an_answer_that_cannot_be_taken_is_asked_again(tmp_path: Path) -> None:
    """Sent past the checks: other arguments, no answer at all, one person twice. The question keeps its id."""

    async def work() -> None:
        desk = Desk(quorum=2)
        async with desk.engine(tmp_path) as engine:
            paid = engine.pay()
            first = await desk.requests.get()
            await engine.resolve(first.id, {"approved": True, "digest": "of other arguments"})
            again = await desk.requests.get()
            await engine.resolve(again.id, "perhaps")
            again = await desk.requests.get()
            await engine.resolve(again.id, {"approved": True, "who": "Ada"})
            second = next(name for name in engine.approval(first.id).slots if name != again.id)
            await engine.resolve(second, {"approved": True, "who": "ADA"})
            await desk.requests.get()
            assert engine.approval(second).id == first.id  # each of its ids leads to it
            await engine.answer(first.id, approved=True, who="Bob")
            assert (await paid)["outcome"] == "approved"
        refused = [why.partition(".")[0].casefold() for _, why in desk.notified]
        assert refused == [
            "",
            "the answer was for other arguments",
            "'perhaps' says neither yes nor no",
            "ada has answered already",
        ]

    scenario(work())


def test_answers_that_say_nothing_end_the_run_at_last(tmp_path: Path) -> None:
    async def work() -> None:
        desk = Desk()
        async with desk.engine(tmp_path) as engine:
            paid = engine.pay()
            for _ in range(REFUSALS_MAX + 1):
                await engine.resolve((await desk.requests.get()).id, "perhaps")
            with pytest.raises(rewake.InvocationFailed, match="cannot be taken, too many. The last: 'perhaps'"):
                await paid

    scenario(work())


def test_other_arguments_at_replay_end_the_run(tmp_path: Path) -> None:
    async def work() -> None:
        desk = Desk()
        async with desk.engine(tmp_path) as engine:
            paid = engine.pay()
            request = await desk.requests.get()
            desk.args = {"amount": 9_999}
            await engine.resolve(request.id, "perhaps")
            again = await desk.requests.get()
            assert again.arguments == engine.approval(request.id).asked.arguments == '{"amount": 750}'
            await engine.answer(request.id, approved=True)
            with pytest.raises(rewake.InvocationFailed, match="An approval holds for exactly what was shown"):
                await paid

    scenario(work())


def test_a_cancelled_run_hears_of_it_and_takes_no_answer(tmp_path: Path) -> None:
    async def work() -> None:
        desk = Desk()
        async with desk.engine(tmp_path) as engine:
            paid = engine.pay()
            request = await desk.requests.get()
            await engine.engine.cancel(awakeable_id_parse(request.id)[0])
            with pytest.raises(rewake.InvocationFailed, match="cancelled"):
                await paid
            with pytest.raises(RewakeError, match="RW4031"):
                await engine.answer(request.id, approved=True)

    scenario(work())


def test_an_id_of_nothing_is_unknown(tmp_path: Path) -> None:
    async def work() -> None:
        async with Desk().engine(tmp_path) as engine:
            for name in ("sign_1", "perhaps", ""):
                with pytest.raises(RewakeError, match="RW4026"):
                    engine.approval(name)

    scenario(work())


@pytest.mark.timeout(120)
def test_reminders_and_expiry_happen_once_under_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engine and handlers die at each result of the journal."""
    monkeypatch.setenv("LAB_FOLDER", str(tmp_path))
    told = crash_lab.played("asking_app", tmp_path, "Suspending", "asked")
    assert told["answer"] == ["approved", "expired", "expired"]
    assert told["kills"] >= 12
    assert adapter_kit.marks() == {"ask one": 1, "remind one": 1, "ask two": 1, "ask three": 1}


class Calendar(rewake.Engine):
    """An engine whose clock is days ahead."""

    days = 0.0

    def now_ms(self) -> int:
        return super().now_ms() + round(self.days * DAY_MS)


@pytest.mark.parametrize("answered_on", [None, 20])
def test_a_month_over_restarts(answered_on: int | None, tmp_path: Path) -> None:
    """Weekly reminders, each once; expired after 30 days, or approved when somebody came back from a holiday."""
    desk = Desk(deadline=timedelta(days=30), remind=timedelta(days=7))

    async def work() -> None:
        first, run_id = "", None
        for day in (0, 3, 7, 10, 14, 17.5, 20, 21.5, 28, 29.9, 30.1):
            Calendar.days = day
            async with Calendar(tmp_path, restate.app([desk.service])) as engine:
                if run_id is None:
                    run_id = await engine.send("Desk", "pay")
                    first = (await desk.requests.get()).id
                if day == answered_on:
                    await Engine(engine, tmp_path).answer(first, approved=True, who="Ada")
                if day > 30 or day == answered_on:
                    found = await engine.result(run_id)
                    break
                while len(desk.notified) <= day // 7:
                    await asyncio.sleep(0.01)
        expected = ("expired", 5) if answered_on is None else ("approved", 3)
        assert (found["outcome"], len(desk.notified)) == expected
        assert [number for number, _ in desk.notified] == [*range(expected[1])]

    scenario(work())


def test_a_killed_engine_still_knows_what_waits(tmp_path: Path) -> None:
    """Killed while it waits; the question is listed by the next one, and answered there."""
    (tmp_path / "app.py").write_text(KILLED)
    command = [sys.executable, "app.py"]
    with Warm(command, env=ENVIRONMENT, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        name = first.stdout.readline().strip()
        first.kill()

    async def work() -> None:
        desk = Desk()
        async with desk.engine(tmp_path / "data") as engine:
            with local_reading(tmp_path / "data", engine.engine.now_ms()) as found:
                assert [each.id for each in inbox(found).approvals] == [name]
            now = await engine.answer(name, approved=True, who="Ada")
            assert (await engine.engine.result(now.run_id))["who"] == "Ada"
        assert desk.notified == []

    scenario(work())
