"""Many invocations while connections break: all finish, and no finished step runs again.

An attempt carries its number to the handler in a header, and every step that really runs leaves it in the marks; so a
step run by an attempt that began after the step was settled shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

from http_apps import ATTEMPT_HEADER, STEP_COUNT
from stage import Stage

from rewake.core.model import HandlerOptions, RetryPolicy
from rewake.deployments.base import (
    AttemptFailure,
    AttemptHandle,
    AttemptSink,
    AttemptStart,
    DeploymentClient,
    DiscoveryResponse,
    ReceivedMessage,
)
from rewake.engine import Engine
from rewake.errors import RewakeError
from rewake.protocol.messages import ProposeRunCompletion, Success

PERSISTENT = HandlerOptions(
    retry=RetryPolicy(initial_interval_ms=5, exponentiation_factor=1.0, max_interval_ms=5, max_attempts=None)
)


class Recorder:
    """A deployment in between: numbers the attempts, and notes when they began and each step's result arrived.

    failed_count: attempts that came to nothing.
    """

    def __init__(self, client: DeploymentClient) -> None:
        self.client = client
        self.protocol_type = client.protocol_type
        self.started_ns: list[int] = []
        self.settled_ns: dict[str, int] = {}
        self.failed_count = 0

    async def discover(self) -> DiscoveryResponse:
        return await self.client.discover()

    def start_attempt(self, start: AttemptStart, sink: AttemptSink) -> AttemptHandle:
        number = len(self.started_ns)
        self.started_ns.append(time.monotonic_ns())
        start.headers = (*start.headers, (ATTEMPT_HEADER, str(number)))
        return self.client.start_attempt(start, _RecordedAttempt(self, start.invocation_id, sink))

    async def close(self) -> None:
        await self.client.close()


class _RecordedAttempt:
    def __init__(self, recorder: Recorder, invocation_id: str, sink: AttemptSink) -> None:
        self._recorder = recorder
        self._invocation_id = invocation_id
        self._sink = sink
        self.on_closed = sink.on_closed

    def on_messages(self, messages: list[ReceivedMessage]) -> None:
        for message, *_ in messages:
            if isinstance(message, ProposeRunCompletion) and isinstance(message.result, Success):
                step = f"{self._invocation_id} {message.completion_id}"
                self._recorder.settled_ns.setdefault(step, time.monotonic_ns())
        self._sink.on_messages(messages)

    def on_failure(self, failure: AttemptFailure) -> None:
        self._recorder.failed_count += 1
        self._sink.on_failure(failure)


async def many_under_fire(
    stage: Stage,
    engine: Engine,
    deployment_id: str,
    count: int,
    service: str = "Chain",
    all_sent: Callable[[], Awaitable[None]] | None = None,
) -> Recorder:
    """`count` invocations at once: all finish, and no attempt that began after a step was settled runs that step.

    Attempts of before may: the SDK notices the loss of its connection only when it next uses it.
    all_sent: called when every one has been sent.
    """
    recorder = Recorder(engine.clients[deployment_id])
    engine.clients[deployment_id] = recorder
    sent = await asyncio.gather(*(engine.send(service, "steps", number) for number in range(count)))
    if all_sent is not None:
        await all_sent()
    results = await asyncio.gather(*(engine.result(each) for each in sent))
    assert results == [number + STEP_COUNT for number in range(count)]
    ran = set()
    late = []
    for line in stage.marks:
        of_service, step, attempt = line.split()
        number, index = step.split("/")
        if of_service != service:
            continue
        ran.add(step)
        settled_ns = recorder.settled_ns.get(f"{sent[int(number)]} {int(index) + 1}")
        if settled_ns is not None and recorder.started_ns[int(attempt)] > settled_ns:
            late.append(line)
    assert len(ran) == count * STEP_COUNT
    assert not late
    return recorder


async def register_patiently(engine: Engine, uri: str, **options: Any) -> str:
    """Register through a proxy that may cut that too; the deployment id."""
    while True:
        with contextlib.suppress(RewakeError):
            return (await engine.register_http(uri, **options)).deployment.id
