"""Recorded journals against code of today: which runs fit, which do not and why, and that nothing acts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest
import restate

from rewake import RewakeError
from rewake.core.ids import invocation_id_from_str
from rewake.ext.kernel import durable_step, parallel, restate_context
from rewake.runs.local.database import local_reading
from rewake.testing import VirtualEngine
from rewake.testing.harness import quiet_log
from rewake.testing.replay import replayer
from rewake.testing.replay.export import recorded
from rewake.testing.replay.files import RecordedJournal, decoded, encoded, read_journals, write_journal
from rewake.testing.replay.replayer import CANCELS_MAX, ReplayOutcome, replay, replay_all
from rewake.testing.replay.report import Report

Handler = Callable[[restate.ObjectContext], Any]
acts: list[str] = []


async def pick() -> str:
    acts.append("pick")
    return "tax"


async def file() -> int:
    acts.append("file")
    return 17


def serving(give: Handler, name: str = "Desk") -> Any:
    """An app with one handler, `Desk/give`, and a service that it may call."""
    desk, clerk = restate.VirtualObject(name), restate.Service("Clerk")

    @desk.handler()
    async def give_(ctx: restate.ObjectContext) -> Any:
        return await give(ctx)

    desk.handlers["give"] = desk.handlers.pop("give_")
    desk.handlers["give"].name = "give"

    @clerk.handler()
    async def note(ctx: restate.Context, what: str) -> str:
        return what.upper()

    return restate.app([desk, clerk])


async def as_recorded(ctx: restate.ObjectContext) -> str:
    topic = await ctx.run_typed("pick", pick)
    count = (await ctx.get("count", type_hint=int) or 0) + 1
    ctx.set("count", count)
    noted = await ctx.generic_call("Clerk", "note", b'"x"')
    await ctx.sleep(timedelta(hours=1))
    number = await ctx.run_typed("file", file)
    return f"{topic} {count} {noted.decode()} {number} {ctx.uuid()}"


def record(engine: VirtualEngine, run: str) -> RecordedJournal:
    with local_reading(engine.path, engine.now_ms) as reading:
        invocation = reading.invocation(invocation_id_from_str(run))
        assert invocation is not None
        return recorded(reading, invocation, is_rewake=True)


@pytest.fixture(autouse=True)
def _quietly() -> Iterator[None]:
    acts.clear()
    with quiet_log("restate"):
        yield


@pytest.fixture(scope="module")
def journals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RecordedJournal]:
    """Of a run that has ended, and of one that sleeps."""
    with quiet_log(), VirtualEngine(tmp_path_factory.mktemp("recorded") / "data") as engine:
        engine.serve(serving(as_recorded))
        engine.call("Desk", "give", key="a")
        ended = engine.send("Desk", "give", key="a")
        engine.result(ended)
        asleep = engine.send("Desk", "give", key="b")
        engine.settle()
        return {"ended": record(engine, ended), "asleep": record(engine, asleep)}


def played(journal: RecordedJournal, give: Handler, name: str = "Desk", timeout_s: float = 10.0) -> ReplayOutcome:
    acts.clear()
    outcome = asyncio.run(replay(serving(give, name), journal, timeout_s=timeout_s))
    assert acts == [], "nothing acts in a replay"
    return outcome


def test_the_same_code_fits(journals: dict[str, RecordedJournal]) -> None:
    ended = played(journals["ended"], as_recorded)
    assert (ended.fits, ended.end, ended.answers_differ) == (True, "ends", False)
    assert 'ends with tax 2 "X" 17 ' in ended.detail
    asleep = played(journals["asleep"], as_recorded)
    assert (asleep.fits, asleep.end, asleep.status) == (True, "waits", "suspended")


def test_a_step_more_behind_the_journal_fits(journals: dict[str, RecordedJournal]) -> None:
    async def give(ctx: restate.ObjectContext) -> str:
        await as_recorded(ctx)
        await ctx.run_typed("thank", pick)
        return "new"

    outcome = played(journals["ended"], give)
    assert (outcome.fits, outcome.end, outcome.detail) == (True, "goes on", "asks for Run thank")


def test_another_answer_breaks_no_run_and_is_reported(journals: dict[str, RecordedJournal]) -> None:
    async def give(ctx: restate.ObjectContext) -> str:
        await as_recorded(ctx)
        return "new"

    outcome = played(journals["ended"], give)
    assert (outcome.fits, outcome.answers_differ) == (True, True)
    assert "1 of the ended runs would end with another result" in "\n".join(Report([outcome]).lines())


def test_a_renamed_step_names_both_sides_and_the_line(journals: dict[str, RecordedJournal]) -> None:
    async def give(ctx: restate.ObjectContext) -> None:
        await ctx.run_typed("choose", pick)

    for journal in journals.values():
        outcome = played(journal, give)
        assert (outcome.fits, outcome.end) == (False, "differs")
        report = outcome.mismatch
        assert report is not None and report.source is not None
        assert (report.recorded, report.asked, report.index) == ("Run pick", "Run choose", 1)
        assert (report.source.function, report.source.text) == ("give", 'await ctx.run_typed("choose", pick)')
        assert Report([outcome]).lines()[-1] == "0 of 1 recorded runs fit."


def test_a_handler_that_ends_earlier_does_not_fit(journals: dict[str, RecordedJournal]) -> None:
    async def give(ctx: restate.ObjectContext) -> None:
        await ctx.run_typed("pick", pick)

    outcome = played(journals["asleep"], give)
    assert (outcome.fits, outcome.mismatch is not None and outcome.mismatch.asked) == (False, "the end of the handler")


def test_a_step_without_a_result_is_not_run(journals: dict[str, RecordedJournal]) -> None:
    cut_off = cut_after(journals["asleep"], 2)
    outcome = played(cut_off, as_recorded)
    assert (outcome.fits, outcome.end, outcome.detail) == (True, "goes on", "runs the step 'pick'")


def test_an_await_that_the_journal_cannot_serve(tmp_path: Path) -> None:
    async def first(ctx: restate.ObjectContext) -> None:
        one, two = ctx.run_typed("one", pick), ctx.run_typed("two", pick)
        await restate.gather(one, two)

    async def second(ctx: restate.ObjectContext) -> None:
        await ctx.run_typed("one", pick)
        await ctx.run_typed("two", pick)

    with VirtualEngine(tmp_path / "data") as engine:
        engine.serve(serving(first)).call("Desk", "give", key="a")
        assert engine.last_run is not None
        journal = record(engine, engine.last_run)
    commands_only = tuple(each for each in journal.entries if each.type.startswith("Command"))[:-1]
    outcome = played(msgspec.structs.replace(journal, entries=commands_only), second)
    assert outcome.mismatch is not None
    assert (outcome.mismatch.kind, outcome.mismatch.asked) == ("await", "the result of Run one")


def test_pieces_side_by_side_fit_wherever_they_were_cut_off(tmp_path: Path) -> None:
    """Their tasks wait for turns of their own, and leave when the replay ends."""

    async def piece(name: str) -> str:
        first: str = await durable_step(f"{name} one", pick)
        await restate_context().sleep(timedelta(minutes=1))
        second: str = await durable_step(f"{name} two", pick)
        return first and second

    async def give(ctx: restate.ObjectContext) -> list[str]:
        return await parallel(piece("left"), piece("right"))

    with VirtualEngine(tmp_path / "data") as engine:
        assert engine.serve(serving(give)).call("Desk", "give", key="a") == ["tax", "tax"]
        assert engine.last_run is not None
        engine.expect_journal('Run left one -> "tax"\nRun right one -> "tax"\nSleep\nSleep\n...\nOutput')
        journal = record(engine, engine.last_run)
    acts.clear()
    cuts = [journal, *(cut_after(journal, length) for length in range(1, len(journal.entries)))]
    outcomes = list(replay_all(serving(give), iter(cuts)))
    assert [each for each in outcomes if not each.fits] == []
    assert (len(outcomes) > 12, outcomes[0].end, acts) == (True, "ends", [])


def test_code_that_swallows_cancellations_is_left(journals: dict[str, RecordedJournal]) -> None:
    async def stubborn(ctx: restate.ObjectContext) -> None:
        for _ in range(CANCELS_MAX + 1):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()

    with mock.patch.object(replayer, "CANCELLED_WITHIN_S", 0.01):
        assert played(journals["asleep"], stubborn, timeout_s=0.1).end == "hangs"


def test_code_that_fails_hangs_or_is_gone(journals: dict[str, RecordedJournal]) -> None:
    async def fails(ctx: restate.ObjectContext) -> None:
        raise ValueError("broken")

    async def hangs(ctx: restate.ObjectContext) -> None:
        await asyncio.sleep(60)

    failed = played(journals["asleep"], fails)
    assert (failed.fits, failed.end, "broken" in failed.detail) == (False, "fails", True)
    assert played(journals["asleep"], hangs, timeout_s=0.2).end == "hangs"
    gone = played(journals["asleep"], as_recorded, name="Bureau")
    assert (gone.fits, gone.end) == (False, "gone")
    assert Report([gone]).lines()[0].endswith("is not served any more")


# Files


def test_the_format_of_a_file(tmp_path: Path) -> None:
    """Version 1 is read for ever: this file was written by it."""
    frozen = Path(__file__).parent / "frozen" / "version_1.journal.json"
    journal = decoded(frozen.read_bytes(), "frozen")
    assert (journal.target, journal.status, len(journal.entries)) == ("Desk/b/give", "suspended", 9)
    assert encoded(journal) == frozen.read_bytes()
    assert played(journal, as_recorded).end == "waits"
    path = write_journal(journal, tmp_path)
    assert path.stat().st_mode & 0o077 == 0
    assert list(read_journals([tmp_path, path])) == [journal, journal]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "truncated"),
        (b"{}", "missing required field"),
        (b'{"format": "else", ID}', "Its format is 'else'"),
        (b'{"version": 2, ID}', "Its version is 2; this release reads up to 1"),
        (b'{"entries": [{"type": "x", "type_id": 1024, "payload": "eA=="}], ID}', "varint|wire|field|truncated|ends"),
    ],
)
def test_what_is_no_journal(tmp_path: Path, content: bytes, why: str) -> None:
    known = (
        b'"id": "inv_1c4el6YeNASd6ovb5xzfXJ6PGLKlh7jATD", "service": "S", "handler": "h", "status": "x", '
        b'"protocol_version": 6' + (b"" if b"entries" in content else b', "entries": []')
    )
    (tmp_path / "a.journal.json").write_bytes(content.replace(b"ID", known))
    with pytest.raises(RewakeError, match=f"RW1026(.|\n)*({why})"):
        list(read_journals([tmp_path]))


def test_a_folder_without_journals(tmp_path: Path) -> None:
    with pytest.raises(RewakeError, match="no file in it that ends with"):
        list(read_journals([tmp_path]))


def cut_after(journal: RecordedJournal, length: int) -> RecordedJournal:
    return msgspec.structs.replace(journal, status="running", entries=journal.entries[:length])
