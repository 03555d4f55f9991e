"""Channels: the queues in which the SDK's tasks of an attempt find events. Here events enter them directly.

The SDK starts a task for each attempt that moves events from `receive` to the queue: two turns of the loop and a future
for each event. Here a Receiving of ours puts its events into the queue itself. Everything else is the SDK's own class.
That class is used unchanged if `receive` is not ours (middleware), or if a later SDK has changed it. Source:
`ReceiveChannel` of restate/server_types.py, restate-sdk 1.3.0. Called where apps are run.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final

from rewake.deployments.asgi import Event, Receiving

_MARK: Final = "_rewake_channels"
_METHODS: Final = {"notify_shutdown", "block_until_http_input_closed", "enqueue_restate_event", "close"}
_ATTRIBUTES: Final = {"_queue", "_http_input_closed", "_disconnected", "_task"}


def feed_channels_at_once() -> None:
    """Let the SDK of this process use these channels. Does nothing if no SDK is loaded, or when called again."""
    sdk: Any = sys.modules.get("restate.server")
    if sdk is None or hasattr(sdk, _MARK):
        return
    setattr(sdk, _MARK, True)
    if _is_known(getattr(sdk, "ReceiveChannel", None)):
        sdk.ReceiveChannel = fed_at_once(sdk.ReceiveChannel)


def _is_known(channel: Any) -> bool:
    """Whether this class has the `__init__` and the `close` that are replaced here."""
    if not isinstance(channel, type):
        return False
    methods = {name for name in vars(channel) if not name.startswith("_")}
    names = set(channel.__init__.__code__.co_names)  # type: ignore[misc]  # of this class itself
    return methods == _METHODS and names >= _ATTRIBUTES


def fed_at_once(channel: Any) -> Any:
    """The SDK's channel class, without the task for our own attempts."""

    class Channel(channel):  # type: ignore[misc]  # known only at run time
        def __init__(self, receive: Any) -> None:
            source = getattr(receive, "__self__", None)
            self._source = source if isinstance(source, Receiving) else None
            if self._source is None:
                super().__init__(receive)
                return
            self._queue: asyncio.Queue[Event] = asyncio.Queue()
            self._http_input_closed = asyncio.Event()
            self._disconnected = asyncio.Event()
            self._source.give_to(self._take)

        def _take(self, event: Event) -> None:
            """Handle an event as the SDK's task does."""
            if self._disconnected.is_set():
                return
            if event["type"] == "http.disconnect":
                self._http_input_closed.set()
                self._disconnected.set()
            elif not event["more_body"]:
                self._http_input_closed.set()
            self._queue.put_nowait(event)

        async def close(self) -> None:
            """Stop taking events."""
            if self._source is None:
                await super().close()
                return
            self._http_input_closed.set()
            self._disconnected.set()
            self._source.give_to(None)

    return Channel
