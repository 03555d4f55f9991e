"""What a run waits for: steps that are not done, its queue, and what a person can answer - awakeables and promises.

An awakeable that nobody has answered is known from what a suspended run awaits, and from ids that the run gave out in
its journal. Before a run suspends both may be missing: then its journal is quiet, and its last step (questions.py)
shows whether a person is asked. Used by the pages and the CLI, and to list runs that wait.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from rewake import formats
from rewake.core import ids
from rewake.core.model import Invocation, Status
from rewake.protocol import messages as m
from rewake.protocol.messages import FIRST_USER_SIGNAL, Future, MessageType
from rewake.runs.agents import trace_of
from rewake.runs.approvals import approvals_of, asker
from rewake.runs.questions import Question, question_of
from rewake.runs.reading import Reading
from rewake.runs.records import fetch
from rewake.runs.steps import Step, decoded, name_step, steps_of, version_of

_WAITS_MAX: Final = 50
QUIET_MS: Final = 1_000
_ANSWERED: Final = ("awakeable", "promise", "answer", "quiet")
_SEARCHED_ENTRIES: Final = 400
_SEARCHED_BYTES_MAX: Final = 200_000


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Something a run waits for. awakeable: id to answer it by, when a person can.   promise: service, key and name.

    kind: of the step, `queue`, `promise`, `awakeable`, `answer` (from a person, it seems: no id is known before the run
    suspends) or `quiet` (its journal shows nothing).   asked: what was sent out with the id.
    question: what it is about.   approval: id of the question that `ask()` put, which the awakeable answers.
    """

    kind: str
    title: str
    since_ms: int | None
    awakeable: str | None = None
    promise: tuple[str, str, str] | None = None
    run_id: str | None = None
    due_at_ms: int | None = None
    asked: str = ""
    question: Question | None = None
    approval: str | None = None


def waiting_for(reading: Reading, invocation: Invocation, steps: list[Step]) -> list[Waiting]:
    """Open steps that take time by themselves, awakeables that were given out, the queue of a key."""
    if invocation.status is Status.COMPLETED:
        return []
    found = [_queue_or_schedule(invocation)] if invocation.status in (Status.INBOXED, Status.SCHEDULED) else []
    for step in steps[-2_000:]:
        if step.is_done or step.kind not in ("call", "wait", "sleep"):
            continue
        payload = reading.payloads(invocation.id, [step.index]).get(step.index, b"")
        command = decoded(step.type, payload, version_of(invocation))
        name_step(step, command)
        promise = None
        if isinstance(command, m.GetPromiseCommand):
            promise = (invocation.target.service, invocation.target.key or "", command.key)
        found.append(
            Waiting(
                kind="promise" if promise else step.kind,
                title=formats.safe(step.title),
                promise=promise,
                since_ms=step.start_ms,
                run_id=None if step.child is None else ids.invocation_id_to_str(step.child),
                due_at_ms=command.wake_up_at_ms if isinstance(command, m.SleepCommand) else None,
            )
        )
    found += _as_approvals(reading, invocation, _awakeables(reading, invocation))
    is_quiet = not found and _is_quiet(invocation, steps, reading.now_ms)
    if is_quiet or any(item.kind in _ANSWERED for item in found):
        question = _question(reading, invocation)
        if is_quiet:
            found.append(_quiet(question, steps))
        found = [msgspec.structs.replace(item, question=question) if item.kind in _ANSWERED else item for item in found]
    return found[:_WAITS_MAX]


def approvals(reading: Reading, run_ids: list[str]) -> list[Waiting]:
    """What a person can answer of what some runs wait for; what several wait for is there once."""
    found: dict[Any, Waiting] = {}
    for run_id in run_ids:
        invocation = reading.invocation(ids.invocation_id_from_str(run_id))
        if invocation is not None:
            steps = steps_of(reading.entries(invocation.id))
            for item in waiting_for(reading, invocation, steps):
                if item.awakeable or item.promise:
                    found.setdefault(item.awakeable or item.promise, item)
    return list(found.values())


def answerable(reading: Reading, invocation_id: bytes) -> bool:
    """Whether a person can answer what a run waits for: an awakeable or a promise."""
    invocation = reading.invocation(invocation_id)
    if invocation is None or invocation.status not in (Status.INVOKED, Status.SUSPENDED):
        return False
    if invocation.awaiting is not None and awaits_person(invocation.awaiting):
        return True
    steps = steps_of(reading.entries(invocation_id))
    if any(step.type is MessageType.GET_PROMISE and not step.is_done for step in steps):
        return True
    if invocation.status is not Status.INVOKED:
        return False
    is_quiet = _is_quiet(invocation, steps, reading.now_ms)
    return bool(_awakeables(reading, invocation)) or (is_quiet and _question(reading, invocation).is_for_a_person)


def awaits_person(awaiting: Future) -> bool:
    """Whether an awakeable is among what a suspended run waits for."""
    return any(signal >= FIRST_USER_SIGNAL for signal in _signals(awaiting))


def _is_quiet(invocation: Invocation, steps: list[Step], now_ms: int) -> bool:
    """Whether an attempt is there and its journal has had nothing open for a while: it waits for a signal, or computes.

    Until a run suspends, only its handler knows which.
    """
    if invocation.status is not Status.INVOKED or (invocation.next_retry_at_ms or 0) > now_ms:
        return False
    if not steps or any(not step.is_done or step.type is MessageType.OUTPUT for step in steps):
        return False
    last_ms = max(invocation.last_start_at_ms or 0, *(step.end_ms or 0 for step in steps))
    return now_ms - last_ms >= QUIET_MS


def _quiet(question: Question, steps: list[Step]) -> Waiting:
    kind, title = "quiet", "Something its journal does not show: an answer from outside, or code outside of steps"
    if question.is_for_a_person:
        kind, title = "answer", "An answer from outside, it seems"
    return Waiting(kind=kind, title=title, since_ms=max(step.end_ms or 0 for step in steps))


def _question(reading: Reading, invocation: Invocation) -> Question:
    record = fetch(reading, invocation, depth_max=0)
    return question_of(record, trace_of(record, reading.directory))


def _queue_or_schedule(invocation: Invocation) -> Waiting:
    if invocation.status is Status.SCHEDULED:
        return Waiting(
            kind="sleep",
            title="Its time to start",
            since_ms=invocation.created_at_ms,
            due_at_ms=invocation.start_at_ms,
        )
    key = formats.safe(formats.shortened(invocation.target.key or "", 80))
    return Waiting(
        kind="queue", title=f"Runs before it on {invocation.target.service}/{key}", since_ms=invocation.inboxed_at_ms
    )


def _awakeables(reading: Reading, invocation: Invocation) -> list[Waiting]:
    """Awakeables nobody has answered: those a suspended run names, and ids that the run gave out in its journal."""
    indexes: set[int] = set()
    if invocation.awaiting is not None:
        indexes |= {item for item in _signals(invocation.awaiting) if item >= FIRST_USER_SIGNAL}
    asked: dict[int, str] = {}
    prefix = ids.awakeable_id_format(invocation.id, 0)[: len("sign_1") + 32]
    after = max(reading.entry_count(invocation.id) - _SEARCHED_ENTRIES, -1)
    pattern = re.compile(re.escape(prefix.encode()) + rb"[A-Za-z0-9_-]+")
    for type_, payload in reading.mentions(invocation.id, prefix, after, _SEARCHED_BYTES_MAX):
        for text in pattern.findall(payload):
            try:
                owner, signal = ids.awakeable_id_parse(text.decode())
            except ids.InvalidId:
                continue
            if owner == invocation.id and signal >= FIRST_USER_SIGNAL:
                indexes.add(signal)
                asked.setdefault(signal, _mention(type_, payload, version_of(invocation)))
    return [
        Waiting(
            kind="awakeable",
            title="An answer from outside",
            since_ms=invocation.modified_at_ms,
            awakeable=ids.awakeable_id_format(invocation.id, index),
            asked=asked.get(index, ""),
        )
        for index in sorted(indexes - reading.signals(invocation.id))
    ]


def _as_approvals(reading: Reading, invocation: Invocation, found: list[Waiting]) -> list[Waiting]:
    """Awakeables of one question are one thing that is waited for."""
    if not found:
        return []
    asked = {slot: each for each in approvals_of(reading, invocation) for slot in each.slots}
    plain = [item for item in found if item.awakeable not in asked]
    return plain + [
        Waiting(
            kind="awakeable",
            title=asker(each.asked),
            since_ms=each.asked.asked_at_ms,
            awakeable=each.slots[0],
            due_at_ms=each.asked.deadline_at_ms,
            asked=each.asked.arguments,
            approval=each.id,
        )
        for each in {each.id: each for each in asked.values()}.values()
    ]


def _mention(type_: int, payload: bytes, version: int) -> str:
    """The text sent out with an awakeable's id: usually the question."""
    match decoded(type_, payload, version):
        case m.SetStateCommand(value=value):
            return formats.shown(value, 2_000).text
        case m.Completion(result=m.Success(content)):
            return formats.shown(content, 2_000).text
        case m.CallCommand(parameter=value) | m.OneWayCallCommand(parameter=value):
            return formats.shown(value, 2_000).text
    return ""


def _signals(future: Future) -> list[int]:
    return [signal for node in futures_in(future) for signal in node.signals]


def futures_in(future: Future) -> Iterator[Future]:
    """A future and all those inside it."""
    nodes = [future]
    while nodes:
        node = nodes.pop()
        yield node
        nodes += node.nested
