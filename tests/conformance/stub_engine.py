"""The least engine that can drive an SDK: runs attempts, acknowledges run proposals, keeps what was said.

Used by the transport tests and by bench/worker_attempts.py. It stores nothing and resumes nothing.
"""

from __future__ import annotations

import asyncio
import itertools

from rewake.deployments.base import AttemptFailure, AttemptHandle, AttemptStart, DeploymentClient, ReceivedMessage
from rewake.protocol.codec import encode_message
from rewake.protocol.framing import Oversized, encode_frame
from rewake.protocol.messages import (
    Completion,
    InputCommand,
    Message,
    MessageType,
    OutputCommand,
    ProposeRunCompletion,
    Start,
    Success,
)

_ids = itertools.count(1)


def frames(*messages: Message, version: int = 6) -> bytes:
    """The messages as wire frames."""
    return b"".join(encode_frame(_type_of(each), encode_message(each, version)) for each in messages)


def _type_of(message: Message) -> int:
    from rewake.protocol.codec import message_type

    return message_type(message)


def attempt_start(
    target: str,
    body: bytes = b"1",
    *,
    key: str | None = None,
    replay: tuple[Message, ...] = (),
    version: int = 6,
    loss_count: int = 0,
) -> AttemptStart:
    """An attempt of `service/handler` with `body`, and whatever was journaled before."""
    service, handler = target.split("/")
    number = next(_ids)
    start = Start(
        id=number.to_bytes(8, "big"),
        debug_id=f"inv_{number}",
        known_entries=1 + len(replay),
        state=(),
        partial_state=True,
        key=key or "",
        retry_count_since_last_stored_entry=0,
        duration_since_last_stored_entry=0,
        random_seed=number,
    )
    given = InputCommand(headers=(), value=body)
    return AttemptStart(
        service=service,
        handler=handler,
        key=key,
        invocation_id=f"inv_{number}",
        protocol_version=version,
        frames=frames(start, given, *replay, version=version),
        loss_count=loss_count,
    )


class StubAttempt:
    """AttemptSink of one attempt. `done` resolves at on_closed or on_failure; with acks_runs=False proposals wait.

    As the engine does, it ends the request at once where the deployment takes requests and gives responses.
    """

    def __init__(self, deployment: DeploymentClient, start: AttemptStart, *, acks_runs: bool = True) -> None:
        self.messages: list[Message | Oversized] = []
        self.failure: AttemptFailure | None = None
        self.is_closed = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.arrived = asyncio.Event()
        self._version = start.protocol_version
        self._acks_runs = acks_runs
        self.handle: AttemptHandle = deployment.start_attempt(start, self)
        if deployment.protocol_type == "request_response":
            self.handle.half_close()

    def on_messages(self, messages: list[ReceivedMessage]) -> None:
        assert not self.done.done()
        acks = []
        for message, _, _, _ in messages:
            self.messages.append(message)
            if isinstance(message, ProposeRunCompletion) and self._acks_runs:
                acks.append(Completion(MessageType.RUN_COMPLETION, message.completion_id, message.result))
        if acks:
            self.handle.send(frames(*acks, version=self._version))
        self.arrived.set()

    def on_failure(self, failure: AttemptFailure) -> None:
        assert not self.done.done()
        self.failure = failure
        self.done.set_result(None)

    def on_closed(self) -> None:
        assert not self.done.done()
        self.is_closed = True
        self.done.set_result(None)

    @property
    def output(self) -> bytes | None:
        """Content of the last successful Output."""
        for message in reversed(self.messages):
            if isinstance(message, OutputCommand) and isinstance(message.result, Success):
                return message.result.content
        return None

    async def seen(self, kind: type) -> None:
        """Wait until a message of this kind has arrived."""
        while not any(isinstance(each, kind) for each in self.messages):
            self.arrived.clear()
            await asyncio.wait_for(self.arrived.wait(), 10)
