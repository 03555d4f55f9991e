"""A million stored runs, written straight into a database by the engine's own store, for ui_pages.py to read.

Among them failed, suspended and paused ones, one run of 10,000 entries, one of several agents and a session of 1,000
turns. Everything follows from a run's number, so the pages' checks know what must be there. Made once and kept in
`.bench/`; nothing in it is ever due, so an engine that runs on it changes nothing.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from bench.npm import SCRATCH
from rewake.core import ids
from rewake.core.ids import CompletionId, EntryIndex, InvocationId
from rewake.core.model import (
    AttemptError,
    Deployment,
    HandlerOptions,
    Invocation,
    Status,
    Target,
)
from rewake.core.registry import schemas_of
from rewake.core.writes import Batch, EntryRow
from rewake.protocol.codec import encode_message
from rewake.protocol.discovery import HandlerKind, ServiceType, parse_manifest
from rewake.protocol.messages import (
    FIRST_USER_SIGNAL,
    Completion,
    Failure,
    Future,
    InputCommand,
    Message,
    MessageType,
    OutputCommand,
    RunCommand,
    Success,
)
from rewake.store import schema
from rewake.store.store import Store

GENERATION = 2
"""Counted up when the stored runs change, so that a kept database is made anew."""

RUN_COUNT = 1_000_000
LONG_ENTRIES = 10_000
SESSION_TURNS = 1_000
SESSION_KEY = "session of many turns"
KEY_COUNT = 2_003
RUNS_PER_BATCH = 2_000
BEGIN_MS = 1_780_000_000_000
APART_MS = 2_500
FAR_MS = 4_000_000_000_000
RARE_TEXT = "needle in a haystack"
DEPLOYMENT = ids.deployment_id_to_str(bytes(16))
MANIFEST: dict[str, Any] = {
    "protocolMode": "BIDI_STREAM",
    "minProtocolVersion": 5,
    "maxProtocolVersion": 7,
    "services": [
        {"name": "SupportRouter", "ty": "SERVICE", "handlers": [{"name": "ask"}]},
        {"name": "Invoices", "ty": "SERVICE", "handlers": [{"name": "make"}]},
        {"name": "ClaimDesk", "ty": "VIRTUAL_OBJECT", "handlers": [{"name": "message", "ty": "EXCLUSIVE"}]},
    ],
}
ASK = Target("SupportRouter", "ask", None, ServiceType.SERVICE, HandlerKind.PLAIN)
MAKE = Target("Invoices", "make", None, ServiceType.SERVICE, HandlerKind.PLAIN)
SPECIALISTS = ("billing", "technical")


@dataclass(frozen=True, slots=True)
class Stored:
    """Where the runs are, and how many there are of each kind."""

    path: Path
    run_count: int
    made_seconds: float | None

    @property
    def long_number(self) -> int:
        return self.run_count - 10

    @property
    def agents_number(self) -> int:
        return self.run_count - 20

    @property
    def rare_number(self) -> int:
        return self.run_count - 1_000

    @property
    def failed_count(self) -> int:
        return sum(1 for _ in range(3, self.run_count, 100))

    @property
    def suspended_count(self) -> int:
        return sum(1 for _ in range(4, self.run_count, 500))

    @property
    def open_count(self) -> int:
        return self.suspended_count + sum(1 for _ in range(5, self.run_count, 5_000))


def stored(run_count: int = RUN_COUNT, scratch: Path = SCRATCH) -> Stored:
    """The database, made now unless it is there from an earlier run of the bench."""
    path = scratch / f"ui-{run_count}-{GENERATION}-{schema.VERSION}"
    if path.exists():
        return Stored(path, run_count, None)
    for old in scratch.glob(f"ui-{run_count}-*"):
        shutil.rmtree(old)
    partial_path = scratch / f"ui-{run_count}-partial"
    started = time.perf_counter()
    made = Stored(partial_path, run_count, 0.0)
    _fill(made)
    partial_path.rename(path)
    return Stored(path, run_count, time.perf_counter() - started)


def run_id(number: int) -> str:
    """The public id of a run."""
    return ids.invocation_id_to_str(_id_of(number, _target_of(number)))


def created_at_ms(number: int) -> int:
    """When a run was created."""
    return BEGIN_MS + number * APART_MS


def _fill(made: Stored) -> None:
    store = Store.open(made.path, now_ms=BEGIN_MS)
    try:
        store.submit(_first_batch(made), _raise_error)
        for start in range(0, made.run_count, RUNS_PER_BATCH):
            batch = Batch()
            for number in range(start, min(start + RUNS_PER_BATCH, made.run_count)):
                _add_run(batch, number, made)
            store.submit(batch, _raise_error)
    finally:
        store.close()


def _raise_error(error: BaseException | None) -> None:
    if error is not None:
        raise error


def _first_batch(made: Stored) -> Batch:
    """The deployment and its services, and the state of the keys."""
    body = json.dumps(MANIFEST).encode()
    manifest = parse_manifest(body)
    deployment = Deployment(
        id=DEPLOYMENT,
        kind="http",
        uri="http://127.0.0.1:9/",
        protocol_type="BIDI_STREAM",
        min_protocol_version=5,
        max_protocol_version=7,
        sdk_version="",
        created_at_ms=BEGIN_MS,
        manifest=body,
        services={service.name: 1 for service in manifest.services},
    )
    said = [
        {"role": role, "content": f"{role} says line {turn} of a long conversation about a claim"}
        for turn in range(made.run_count * SESSION_TURNS // RUN_COUNT)
        for role in ("user", "assistant")
    ]
    state = {("ClaimDesk", f"customer-{number}", b"agent"): b'"Car specialist"' for number in range(KEY_COUNT)}
    state[("ClaimDesk", SESSION_KEY, b"items")] = json.dumps(said).encode()
    state[("ClaimDesk", SESSION_KEY, b"agent")] = b'"Medical specialist"'
    return Batch(
        deployments={DEPLOYMENT: deployment},
        services={item.name: item for item in schemas_of(manifest, DEPLOYMENT, {}, HandlerOptions())},
        state=dict(state),
    )


def _target_of(number: int) -> Target:
    if number % 1_000 == 7:
        return Target("ClaimDesk", "message", SESSION_KEY, ServiceType.VIRTUAL_OBJECT, HandlerKind.EXCLUSIVE)
    if number % 10 < 3:
        key = f"customer-{number % KEY_COUNT}"
        return Target("ClaimDesk", "message", key, ServiceType.VIRTUAL_OBJECT, HandlerKind.EXCLUSIVE)
    return MAKE if number % 10 == 3 else ASK


def _id_of(number: int, target: Target) -> InvocationId:
    ulid = ids.ulid_bytes(created_at_ms(number), number.to_bytes(ids.ULID_RANDOM_SIZE, "big"))
    return ids.new_invocation_id(target.key, target.service, ulid)


def _add_run(batch: Batch, number: int, made: Stored) -> None:
    target, at_ms = _target_of(number), created_at_ms(number)
    invocation = Invocation(
        id=_id_of(number, target),
        target=target,
        status=Status.COMPLETED,
        created_at_ms=at_ms,
        modified_at_ms=at_ms,
        inbox_sequence=number + 1,
        running_at_ms=at_ms,
        pinned_deployment_id=DEPLOYMENT,
        pinned_version=6,
        last_deployment_id=DEPLOYMENT,
        last_start_at_ms=at_ms,
    )
    text = f"Question {number} about an order" if number != made.rare_number else RARE_TEXT
    asked = InputCommand((), json.dumps(text).encode())
    messages: Iterator[Message]
    if number == made.long_number:
        messages = _steps("Call model", (_chat_completion(turn) for turn in range(LONG_ENTRIES // 2 - 1)))
    elif number == made.agents_number:
        messages = _steps("call LLM", (_handoff(turn) for turn in range(20)))
    else:
        messages = _decision(number % len(SPECIALISTS))
    entries = [asked, *messages]
    if target is ASK and number % 500 == 4:
        invocation.status = Status.SUSPENDED
        invocation.awaiting, invocation.awaiting_from = Future(signals=(FIRST_USER_SIGNAL,)), EntryIndex(len(entries))
    elif target is ASK and number % 5_000 == 5:
        invocation.status = Status.PAUSED
        invocation.retry_count = 70
        invocation.last_error = AttemptError(500, "The model does not answer", "RT0007")
    else:
        outcome = Failure(422, f"Invoice {number} has no address") if number % 100 == 3 else Success(b'"Done."')
        entries.append(OutputCommand(outcome))
        invocation.completed_at_ms = at_ms + len(entries) + number % 700
        invocation.purge_at_ms = invocation.journal_purge_at_ms = FAR_MS
        invocation.result = outcome
    invocation.modified_at_ms = invocation.completed_at_ms or at_ms + len(entries)
    batch.inserts.append(invocation)
    batch.entries += map(partial(_entry, invocation.id, at_ms), range(len(entries)), entries)


_encoded = lru_cache(maxsize=32)(encode_message)
"""All runs but a few have the same entries after the first."""


def _entry(invocation_id: bytes, at_ms: int, index: int, message: Message) -> EntryRow:
    row = EntryRow(InvocationId(invocation_id), EntryIndex(index), 0, b"", at_ms + index)
    match message:
        case RunCommand():
            row.type_id, row.name, row.completion_id = (
                MessageType.RUN,
                message.name,
                CompletionId(message.completion_id),
            )
        case Completion():
            row.type_id, row.completion_id = message.type, CompletionId(message.completion_id)
        case InputCommand():
            row.type_id = MessageType.INPUT
        case _:
            row.type_id = MessageType.OUTPUT
    row.payload = encode_message(message) if index == 0 else _encoded(message)
    return row


def _steps(name: str, results: Iterator[bytes]) -> Iterator[Message]:
    for number, result in enumerate(results, start=1):
        yield RunCommand(number, name)
        yield Completion(MessageType.RUN_COMPLETION, number, Success(result))


_DECISIONS = [
    list(_steps("Pick specialist", iter([json.dumps({"specialist": name, "answer": None}).encode()])))
    for name in SPECIALISTS
]


def _decision(choice: int) -> Iterator[Message]:
    return iter(_DECISIONS[choice])


def _chat_completion(turn: int) -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": f"The answer to part {turn} of the question."}
    if turn % 3 == 0:
        function = {"name": "look_up_order", "arguments": json.dumps({"order": turn})}
        message["tool_calls"] = [{"id": f"call_{turn}", "type": "function", "function": function}]
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100 + turn, "completion_tokens": 20, "total_tokens": 120 + turn}
    return json.dumps({"id": f"c{turn}", "model": "gpt-5-mini", "choices": [choice], "usage": usage}).encode()


def _handoff(turn: int) -> bytes:
    call = {
        "type": "function_call",
        "call_id": f"call_{turn}",
        "name": f"transfer_to_{SPECIALISTS[turn % len(SPECIALISTS)]}_specialist",
        "arguments": json.dumps({"reason": f"part {turn} is theirs"}),
    }
    usage = {"input_tokens": 100 + turn, "output_tokens": 20}
    return json.dumps({"response_id": f"r{turn}", "output": [call], "usage": usage}).encode()
