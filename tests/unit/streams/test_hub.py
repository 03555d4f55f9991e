"""Streams of an engine: marks without writers, capabilities, bounds, slow readers, runs that are forgotten."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rewake.core.ids import awakeable_id_format, invocation_id_to_str
from rewake.core.lifecycle import CANCELED, KILLED
from rewake.protocol.codec import encode_message
from rewake.protocol.messages import Failure, MessageType, Signal, Success
from rewake.streams.events import (
    Answered,
    Delta,
    Ended,
    Failed,
    Paused,
    Resumed,
    Started,
    StepCommitted,
    StepStarted,
    Suspended,
    Void,
    Waiting,
)
from rewake.streams.files import OPEN_FILES_MAX, RUN_BYTES_MAX, RUNS_MAX, TOTAL_BYTES_MAX, Bounds
from rewake.streams.hub import WRITERS_MAX
from rewake.streams.marks import VALUE_BYTES_MAX
from rewake.streams.run_log import EARLY_BYTES_MAX
from rewake.streams.writers import DELTA_BYTES_MAX, Lines

from .kit import RUN, OneRun, Watcher


@pytest.fixture
def world(tmp_path: Path) -> Iterator[OneRun]:
    with OneRun(tmp_path) as found:
        yield found


def kinds(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


def read(world: OneRun, after: int = 0) -> list[Any]:
    return asyncio.run(world.events(after))


# Marks


def test_a_run_without_a_writer_has_its_marks_before_and_after_it_ended(world: OneRun) -> None:
    world.begin()
    world.command("Look up", 1)
    world.result(1, b'{"a": 1}')
    expected = [Started, StepStarted, StepCommitted]
    assert [type(event) for event in read(world)] == expected
    world.command("Book", 2)
    world.result(2, Failure(400, "no seat"))
    world.end(Success(b'"done"'))
    events = read(world)
    assert [type(event) for event in events] == [*expected, StepStarted, StepCommitted, Ended]
    assert [event.name for event in events if isinstance(event, StepCommitted)] == ["Look up", "Book"]
    assert [(event.value, event.failure) for event in events if isinstance(event, StepCommitted)] == [
        ({"a": 1}, None),
        (None, Failed(400, "no seat")),
    ]
    assert [event.entry for event in events if isinstance(event, StepCommitted)] == [2, 4]


def test_a_run_that_nobody_looked_at_leaves_nothing_behind(world: OneRun) -> None:
    world.begin()
    world.command("Look up", 1)
    world.result(1, b"1")
    world.end(Success(b"1"))
    assert list((world.path / "streams").iterdir()) == []
    assert kinds(read(world)) == ["Started", "StepStarted", "StepCommitted", "Ended"]


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (Success(b"1"), "result"),
        (Failure(500, "broken"), "failure"),
        (Failure(409, "taken"), "failure"),
        (CANCELED, "cancelled"),
        (Failure(409, "cancelled"), "cancelled"),
        (KILLED, "killed"),
    ],
)
def test_every_end_of_a_run_has_its_mark(world: OneRun, result: Success | Failure, outcome: str) -> None:
    world.begin()
    read(world)
    world.end(result)
    last = read(world)[-1]
    assert isinstance(last, Ended)
    assert last.outcome == outcome
    assert (last.failure is None) == isinstance(result, Success)


def test_a_question_is_shown_with_its_arguments_and_its_outcome(world: OneRun) -> None:
    question = {"id": "sign_1a", "awakeables": ["sign_1a"], "question": "May I?", "arguments": '{"amount":3}'}
    world.begin()
    world.command("ask", 1)
    world.result(1, msgspec.json.encode({"rewake": 1, "kind": "approval", "framework": "kernel", "value": question}))
    world.suspend()
    waiting = read(world)[-2]
    assert isinstance(waiting, Waiting)
    assert (waiting.id, waiting.question, waiting.args) == ("sign_1a", "May I?", {"amount": 3})
    world.begin()
    world.command("answer", 2)
    outcome = {"outcome": "approved", "id": "sign_1a"}
    world.result(2, msgspec.json.encode({"rewake": 1, "kind": "approval", "framework": "kernel", "value": outcome}))
    answered = read(world)[-1]
    assert isinstance(answered, Answered)
    assert (answered.id, answered.value) == ("sign_1a", outcome)


def test_a_plain_awakeable_is_shown_when_the_handler_rests(world: OneRun) -> None:
    world.begin()
    read(world)
    world.suspend(17)
    world.append(world.entry(MessageType.SIGNAL, encode_message(Signal(17, Success(b'"yes"'))), signal=17))
    world.begin()
    events = read(world)
    assert kinds(events) == ["Started", "Waiting", "Suspended", "Answered", "Resumed"]
    assert {event.id for event in events if isinstance(event, Waiting | Answered)} == {awakeable_id_format(RUN, 17)}
    assert [event.value for event in events if isinstance(event, Answered)] == ["yes"]


def test_a_failed_attempt_is_shown_with_its_reason(world: OneRun) -> None:
    world.begin()
    read(world)
    world.fail("the worker died")
    world.begin()
    started, void, resumed = read(world)
    assert isinstance(void, Void) and isinstance(started, Started) and isinstance(resumed, Resumed)
    assert (void.steps, void.error) == ((), "the worker died")
    assert void.retry_at_ms is not None


def test_steps_of_one_name_at_once_are_told_apart(world: OneRun) -> None:
    async def main() -> None:
        world.begin()
        world.command("Desk: model", 1)
        world.command("Desk: model", 2)
        first, second = world.writing("Desk: model"), world.writing("Desk: model")
        first.put([b'"a"'])
        second.put([b'"b"'])
        first.put([b'"c"'])
        watcher = Watcher(world)
        await watcher.read()
        assert sorted(watcher.shown.values()) == ["ac", "b"]
        second.cut()
        world.result(1, b'"ac"')
        await watcher.read()
        assert watcher.final == {3: "ac"}
        assert list(watcher.shown.values()) == [""]

    asyncio.run(main())


def test_what_comes_after_a_step_was_stored_is_dropped(world: OneRun) -> None:
    world.begin()
    world.command("Desk: model", 1)
    writing = world.writing("Desk: model")
    writing.put([b'"a"'])
    world.result(1, b'"ab"')
    writing.put([b'"b"'])
    writing.cut()
    assert kinds(read(world)) == ["Started", "StepStarted", "Delta", "StepCommitted"]


def test_what_is_said_before_its_step_is_stored_is_shown_then(world: OneRun) -> None:
    world.begin()
    early = world.writing("Desk: model", kind="model", agent="Desk")
    early.put([b'"a"'])
    assert kinds(read(world)) == ["Started"]
    early.end()
    world.command("Desk: model", 1)
    world.result(1, b'"a"')
    events = read(world)
    assert kinds(events) == ["Started", "StepStarted", "StepStarted", "Delta", "StepCommitted"]
    assert [(event.kind, event.agent) for event in events if isinstance(event, StepStarted)] == [
        (None, None),
        ("model", "Desk"),
    ]


def test_who_comes_after_its_step_was_stored_does_not_speak_for_the_next(world: OneRun) -> None:
    world.begin()
    world.command("Desk: model", 1)
    world.result(1, b'"a"')
    head = {"step": "Desk: model"}
    late = world.streams.writing(world.streams.capability(RUN, world.epoch), head, may_be_late=True)
    assert late is not None
    late.put([b'"a"'])
    late.end()
    world.command("Desk: model", 2)
    assert kinds(read(world)) == ["Started", "StepStarted", "StepCommitted", "StepStarted"]


# Who may write


def test_only_the_capability_of_the_live_attempt_opens_a_stream(world: OneRun) -> None:
    world.begin()
    old = world.streams.capability(RUN, world.epoch)
    run, epoch, mac = old.split(".")
    head = {"step": "Desk: model"}
    for wrong in (
        "",
        "x",
        old[:-1],
        f"{run}.{int(epoch) + 1}.{mac}",
        f"{run}.{epoch}.",
        f"{run}.²³.{mac}",
        f"inv_1.1.{mac}",
    ):
        assert world.streams.writing(wrong, head) is None
    no_heads: list[Any] = [None, [], {}, {"step": 3}]
    for no_head in no_heads:
        assert world.streams.writing(old, no_head) is None
    assert world.streams.writing(old, head) is not None
    world.fail()
    assert not world.streams.allows(old)
    world.begin()
    assert world.streams.writing(old, head) is None
    assert world.streams.writing(world.streams.capability(RUN, world.epoch), head) is not None


def test_a_writer_hears_when_its_attempt_is_over(world: OneRun) -> None:
    world.begin()
    over: list[bool] = []
    world.writing("Desk: model").on_over(lambda: over.append(True))
    world.fail()
    assert over == [True]


def test_a_run_has_so_many_writers_at_most(world: OneRun) -> None:
    world.begin()
    for number in range(WRITERS_MAX):
        world.writing(f"step {number}")
    assert world.streams.writing(world.streams.capability(RUN, world.epoch), {"step": "one more"}) is None


def test_lines_that_are_no_json_or_too_long_are_left_out() -> None:
    lines = Lines()
    assert lines.feed(b'"a"\n{"b": ') == [b'"a"']
    assert lines.feed(b'1}\n\nno json\n"\xff"\n[1,\r2]\n') == [b'{"b": 1}', b"[1,2]"]
    assert lines.feed(b'"' + b"x" * DELTA_BYTES_MAX) == []
    assert lines.feed(b'still too long"\n"short"\n') == [b'"short"']


# Bounds


def test_a_step_that_is_never_stored_holds_so_much_at_most(world: OneRun) -> None:
    world.begin()
    writing = world.writing("of another name")
    for _ in range(EARLY_BYTES_MAX // 1_000 + 100):
        writing.put([b'"' + b"x" * 998 + b'"'])
    assert sum(map(len, writing._early)) <= EARLY_BYTES_MAX + 1_000


def test_the_default_bounds() -> None:
    assert Bounds() == Bounds(run_bytes=RUN_BYTES_MAX, total_bytes=TOTAL_BYTES_MAX, runs=RUNS_MAX)


def test_a_run_that_says_too_much_keeps_its_marks(tmp_path: Path) -> None:
    with OneRun(tmp_path, bounds=Bounds(run_bytes=2_000)) as world:
        world.begin()
        world.command("Desk: model", 1)
        writing = world.writing("Desk: model")
        for number in range(200):
            writing.put([b'"%d"' % number])
        world.result(1, b'"' + b"x" * 1_000 + b'"')
        world.end(Success(b'"bye"'))
        events = read(world)
        assert 10 < kinds(events).count("Delta") < 100
        assert kinds(events)[-2:] == ["StepCommitted", "Ended"]
        assert [event.value for event in events if isinstance(event, StepCommitted)] == [None]
        assert isinstance(events[-1], Ended) and events[-1].result == "bye"


def test_a_long_value_is_left_out(world: OneRun) -> None:
    world.begin()
    world.command("Load", 1)
    world.result(1, b'"' + b"x" * VALUE_BYTES_MAX + b'"')
    (committed,) = (event for event in read(world) if isinstance(event, StepCommitted))
    assert committed.value is None


def test_the_oldest_runs_that_nobody_uses_make_room(tmp_path: Path) -> None:
    files = OPEN_FILES_MAX + 4
    with OneRun(tmp_path, bounds=Bounds(runs=files)) as first:
        runs = []
        for number in range(files + 1):
            run = type(RUN)(number.to_bytes(24, "big"))
            first.run, first.row = run, msgspec.structs.replace(first.row, id=run) if first.row else None
            first.rows = []
            first.begin()
            read(first)
            first.end(Success(b"1"))
            runs.append(invocation_id_to_str(run))
        left = {path.name for path in (tmp_path / "streams").iterdir()}
        assert len(left) == int(files * 0.9)
        assert runs[0] not in left and runs[-1] in left
        assert len(first.streams._folder._open) <= OPEN_FILES_MAX


# Runs that go, and readers that are slow


def test_a_forgotten_run_is_dropped_and_whoever_reads_it_gets_the_rest(world: OneRun) -> None:
    async def main() -> None:
        world.begin()
        async with contextlib.aclosing(world.streams.events(RUN)) as events:
            assert isinstance(await anext(events), Started)
            world.end(Success(b"1"))
            world.forget()
            assert [type(event) async for event in events] == [Ended]
        assert list((world.path / "streams").iterdir()) == []
        assert not world.streams.begin(RUN)
        with pytest.raises(KeyError):
            await anext(world.streams.events(RUN))

    asyncio.run(main())


def test_a_reader_that_does_not_read_holds_no_memory_and_is_caught_up_from_the_file(world: OneRun) -> None:
    async def main() -> None:
        world.begin()
        world.command("Desk: model", 1)
        writing = world.writing("Desk: model")
        async with contextlib.aclosing(world.streams.records(RUN)) as slow:
            await anext(slow)
            for number in range(20_000):
                writing.put([b'"%05d "' % number])
            pieces = []
            size = 0
            async for piece in slow:
                pieces.append(len(piece))
                size += piece.count(b'"delta"')
                if size == 20_000:
                    break
            assert max(pieces) <= 64 * 1024

    asyncio.run(main())


def test_many_readers_get_everything(world: OneRun) -> None:
    async def reader() -> str:
        text = ""
        async with contextlib.aclosing(world.streams.events(RUN)) as events:
            async for event in events:
                text += event.data if isinstance(event, Delta) else ""
        return text

    async def main() -> None:
        world.begin()
        readers = [asyncio.ensure_future(reader()) for _ in range(50)]
        await asyncio.sleep(0)
        world.command("Desk: model", 1)
        writing = world.writing("Desk: model")
        for number in range(100):
            writing.put([b'"%d "' % number])
            await asyncio.sleep(0)
        world.result(1, b"1")
        world.end(Success(b"1"))
        assert set(await asyncio.gather(*readers)) == {"".join(f"{number} " for number in range(100))}
        assert world.streams._logs == {}, "what nobody uses is let go"

    asyncio.run(main())


def test_a_reader_of_a_log_that_is_no_more_begins_anew(world: OneRun) -> None:
    world.begin()
    last = read(world)[-1].offset
    world.streams._drop(RUN)
    world.now += 1_000
    events = read(world, after=last)
    assert isinstance(events[0], Void) and events[0].from_offset == 0
    assert kinds(events[1:]) == ["Started"]


def test_pausing_is_shown(world: OneRun) -> None:
    from rewake.core.model import Status

    world.begin()
    read(world)
    world._change(status=Status.PAUSED)
    world._commit([], [])
    assert isinstance(read(world)[-1], Paused)
    world.begin()
    assert isinstance(read(world)[-1], Resumed)
    world.suspend()
    assert isinstance(read(world)[-1], Suspended)


def test_a_folder_that_cannot_be_used_costs_the_streams_alone(tmp_path: Path) -> None:
    (tmp_path / "streams").write_text("a file")
    with OneRun(tmp_path) as world:
        world.begin()
        assert not world.streams.is_usable
        assert not world.streams.begin(RUN)
        assert world.streams.writing(world.streams.capability(RUN, world.epoch), {"step": "x"}) is None
