"""Callers that wait for the engine: for the reply to a command (by its token), or for an invocation's result.

Kept in memory only. A caller that is cut off can attach again with its idempotency key or invocation id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from itertools import count

from rewake.core.effects import Completed, Reply, ReplyStatus
from rewake.core.ids import InvocationId

OnAccepted = Callable[[InvocationId], object]


class Waiters:
    """Futures of callers. All methods run on the event-loop thread."""

    def __init__(self) -> None:
        self._tokens = count(1)
        self._asking: dict[int, tuple[asyncio.Future[Reply], OnAccepted | None]] = {}
        self._adopted: dict[int, InvocationId] = {}
        self._waiting: dict[InvocationId, dict[asyncio.Future[Reply], None]] = {}
        self._awaited: dict[asyncio.Future[Reply], InvocationId] = {}

    def ask(self, on_accepted: OnAccepted | None = None) -> tuple[int, asyncio.Future[Reply]]:
        """A new token and the future of its answer."""
        token = next(self._tokens)
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._asking[token] = (future, on_accepted)
        return token, future

    async def answer(self, future: asyncio.Future[Reply]) -> Reply:
        """Wait for the answer. If the caller is cancelled, its entries are removed."""
        try:
            return await future
        except asyncio.CancelledError:
            self._forget(future)
            raise

    def adopt(self, invocation_id: InvocationId, future: asyncio.Future[Reply]) -> int:
        """A new token for a future that is already being awaited."""
        token = next(self._tokens)
        self._asking[token] = (future, None)
        self._adopted[token] = invocation_id
        return token

    def on_reply(self, reply: Reply) -> None:
        """Answer the caller. One that wants the result goes on waiting for the invocation."""
        future, on_accepted = self._asking.pop(reply.token, (None, None))
        self._adopted.pop(reply.token, None)
        if future is None or future.done():
            return
        if on_accepted is not None and reply.invocation_id is not None:
            on_accepted(reply.invocation_id)
        if reply.wait and reply.invocation_id is not None:
            self._wait(reply.invocation_id, future)
        else:
            future.set_result(reply)

    def on_completed(self, completed: Completed) -> None:
        for future in self._waiting.pop(completed.invocation_id, ()):
            del self._awaited[future]
            if not future.done():
                future.set_result(Reply(0, ReplyStatus.COMPLETED, completed.invocation_id, completed.result))

    def is_asking(self, token: int) -> bool:
        return token in self._asking

    def fail_token(self, token: int, error: BaseException) -> None:
        """Answer a caller with an error; one that had been waiting for a result goes on waiting for it."""
        future, _ = self._asking.pop(token, (None, None))
        if future is None or future.done():
            return
        if token in self._adopted:
            self._wait(self._adopted.pop(token), future)
        else:
            future.set_exception(error)

    def fail_asking(self, error: BaseException, keep: Container[int] = ()) -> None:
        """Fail all callers that wait for a reply; those that wait for a stored invocation are kept.

        keep: tokens of commands that will still be answered.
        """
        for token in [each for each in self._asking if each not in keep]:
            self.fail_token(token, error)

    def fail_all(self, error: BaseException) -> None:
        self.fail_asking(error)
        for future in self.take_waiting():
            if not future.done():
                future.set_exception(error)

    def take_waiting(self) -> dict[asyncio.Future[Reply], InvocationId]:
        """Remove and return the callers that wait for invocations, so that they can attach again after a rebuild."""
        awaited, self._awaited = self._awaited, {}
        self._waiting.clear()
        return awaited

    @property
    def waiting_count(self) -> int:
        return len(self._awaited)

    def _wait(self, invocation_id: InvocationId, future: asyncio.Future[Reply]) -> None:
        self._waiting.setdefault(invocation_id, {})[future] = None
        self._awaited[future] = invocation_id

    def _forget(self, future: asyncio.Future[Reply]) -> None:
        invocation_id = self._awaited.pop(future, None)
        if invocation_id is not None:
            futures = self._waiting[invocation_id]
            del futures[future]
            if not futures:
                del self._waiting[invocation_id]
