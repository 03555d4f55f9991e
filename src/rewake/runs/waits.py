"""The things a run waits for: open steps, its queue, and what a person can answer, awakeables and promises.

Open awakeables are found in two places: a suspended run lists what it awaits, and its journal may contain their ids.
Before a run suspends both may be missing. Then its journal is quiet, and its last step (questions.py) shows whether a
person is asked. Used by the pages and the CLI, and to list runs that wait.
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
from rewake.runs.approvals import Approval, approvals_of, asker
from rewake.runs.facts import OPEN_STATUSES, STATUSES
from rewake.runs.filters import RunFilter
from rewake.runs.kept import kept_of
from rewake.runs.questions import Question, question_of
from rewake.runs.reading import Reading
from rewake.runs.records import fetch
from rewake.runs.steps import Step, decoded, name_step, steps_of, version_of

_WAITS_MAX: Final = 50
QUIET_MS: Final = 1_000
_ANSWERED: Final = ("awakeable", "promise", "answer", "quiet")
_SEARCHED_ENTRIES: Final = 400
_SEARCHED_BYTES_MAX: Final = 200_000


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a run waits for. awakeable: id to answer with, if a person can.   promise: service, key and name.

    kind: the step's, `queue`, `promise`, `awakeable`, `answer` (probably from a person: the id is not known until the
    run suspends) or `quiet` (the journal shows no reason).   asked: the text sent out with the id.
    question: its subject.   approval: id of the question of `ask()` that the awakeable answers.
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


def waiting_for(reading: Reading, invocation: Invocation, steps: list[Step]) -> list[Wait]:
    """Open steps, open awakeables, and the queue of a key."""
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
            Wait(
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


def questions_left(reading: Reading, invocation: Invocation) -> list[Wait]:
    """The questions that an ended run has left, and that wait between turns."""
    service, key = invocation.target.service, invocation.target.key
    if invocation.is_open or key is None:
        return []
    run_id = ids.invocation_id_to_str(invocation.id)
    found = kept_of(reading, service, key)
    return [wait_of(each) for each in found if each.run_id == run_id and each.state == "waiting"]


def awaited_in(reading: Reading) -> Iterator[str]:
    """Ids of awakeables that open runs wait for, from the newest runs, as many as a page lists."""
    for run in reading.find(RunFilter(status=OPEN_STATUSES), dict.fromkeys(STATUSES, 0)).runs:
        invocation = reading.invocation(ids.invocation_id_from_str(run.id))
        if invocation is not None:
            waits = waiting_for(reading, invocation, steps_of(reading.entries(invocation.id)))
            yield from (each.awakeable for each in waits if each.awakeable is not None)


def approvals(reading: Reading, run_ids: list[str]) -> list[Wait]:
    """The waits of some runs that a person can answer, without duplicates."""
    found: dict[Any, Wait] = {}
    for run_id in run_ids:
        invocation = reading.invocation(ids.invocation_id_from_str(run_id))
        if invocation is not None:
            steps = steps_of(reading.entries(invocation.id))
            for item in waiting_for(reading, invocation, steps):
                if item.awakeable or item.promise:
                    found.setdefault(item.awakeable or item.promise, item)
    return list(found.values())


def answerable(reading: Reading, invocation_id: bytes) -> bool:
    """Whether a run waits for something that a person can answer: an awakeable or a promise."""
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


def is_asking(reading: Reading, invocation_id: bytes) -> bool:
    """Whether a question of `ask()` is open. A paused run reads the answer after it is resumed."""
    invocation = reading.invocation(invocation_id)
    if invocation is None or not (invocation.status is Status.PAUSED or answerable(reading, invocation_id)):
        return False
    return any(each.state == "waiting" for each in approvals_of(reading, invocation))


def awaits_person(awaiting: Future) -> bool:
    """Whether a suspended run waits for an awakeable."""
    return any(signal >= FIRST_USER_SIGNAL for signal in _signals(awaiting))


def _is_quiet(invocation: Invocation, steps: list[Step], now_ms: int) -> bool:
    """Whether an attempt runs and its journal has had no open step for a while: it waits for a signal, or computes.

    Until the run suspends, only its handler knows which.
    """
    if invocation.status is not Status.INVOKED or (invocation.next_retry_at_ms or 0) > now_ms:
        return False
    if not steps or any(not step.is_done or step.type is MessageType.OUTPUT for step in steps):
        return False
    last_ms = max(invocation.last_start_at_ms or 0, *(step.end_ms or 0 for step in steps))
    return now_ms - last_ms >= QUIET_MS


def _quiet(question: Question, steps: list[Step]) -> Wait:
    kind, title = "quiet", "Something its journal does not show: an answer from outside, or code outside of steps"
    if question.is_for_a_person:
        kind, title = "answer", "An answer from outside, it seems"
    return Wait(kind=kind, title=title, since_ms=max(step.end_ms or 0 for step in steps))


def _question(reading: Reading, invocation: Invocation) -> Question:
    record = fetch(reading, invocation, depth_max=0)
    return question_of(record, trace_of(record, reading.directory))


def _queue_or_schedule(invocation: Invocation) -> Wait:
    if invocation.status is Status.SCHEDULED:
        return Wait(
            kind="sleep",
            title="Its time to start",
            since_ms=invocation.created_at_ms,
            due_at_ms=invocation.start_at_ms,
        )
    key = formats.shortened(formats.safe(invocation.target.key or ""), 80)
    return Wait(
        kind="queue", title=f"Runs before it on {invocation.target.service}/{key}", since_ms=invocation.inboxed_at_ms
    )


def _awakeables(reading: Reading, invocation: Invocation) -> list[Wait]:
    """Open awakeables: those a suspended run lists, and those whose ids are in its journal."""
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
        Wait(
            kind="awakeable",
            title="An answer from outside",
            since_ms=invocation.modified_at_ms,
            awakeable=ids.awakeable_id_format(invocation.id, index),
            asked=asked.get(index, ""),
        )
        for index in sorted(indexes - reading.signals(invocation.id))
    ]


def _as_approvals(reading: Reading, invocation: Invocation, found: list[Wait]) -> list[Wait]:
    """Merge awakeables of one question into one wait."""
    if not found:
        return []
    asked = {slot: each for each in approvals_of(reading, invocation) for slot in each.slots}
    plain = [item for item in found if item.awakeable not in asked]
    return plain + [wait_of(each) for each in {each.id: each for each in asked.values()}.values()]


def wait_of(approval: Approval) -> Wait:
    """A question as something that is waited for."""
    return Wait(
        kind="awakeable",
        title=asker(approval.asked),
        since_ms=approval.asked.asked_at_ms,
        awakeable=approval.slots[0] if approval.keeper is None else None,
        due_at_ms=approval.asked.deadline_at_ms,
        asked=approval.asked.arguments,
        approval=approval.id,
    )


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
    """A future and all futures inside it."""
    nodes = [future]
    while nodes:
        node = nodes.pop()
        yield node
        nodes += node.nested
