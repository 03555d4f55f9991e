"""Channels that are fed at once: the SDK's own class, without its task."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType
from typing import Any

import pytest
from restate.server_types import ReceiveChannel

from rewake.deployments.asgi import DISCONNECT, END_OF_REQUEST, WAKE_UP, Receiving
from rewake.deployments.channels import fed_at_once, feed_channels_at_once
from rewake.deployments.waking import Waker

PART = {"type": "http.request", "body": b"part", "more_body": True}


def of_ours() -> tuple[Receiving, Any]:
    """An attempt of ours with one event that came before its channel, and that."""
    loop = asyncio.get_running_loop()
    source = Receiving(loop, Waker(loop))
    source.put(PART)
    return source, fed_at_once(ReceiveChannel)(source.receive)


def test_events_of_ours_are_there_at_once_without_a_task() -> None:
    async def main() -> None:
        source, channel = of_ours()
        assert len(asyncio.all_tasks()) == 1
        await channel.enqueue_restate_event({"type": "restate.run_completed", "data": None})
        source.wake()
        source.put(END_OF_REQUEST)
        types = [(await channel())["type"] for _ in range(2)]
        assert types == ["http.request", "restate.run_completed"]
        assert [await channel(), await channel()] == [WAKE_UP, END_OF_REQUEST]
        await channel.block_until_http_input_closed()

    asyncio.run(main())


def test_a_task_that_waits_gets_the_next_event() -> None:
    async def main() -> None:
        source, channel = of_ours()
        source.channel = channel
        assert await channel() == PART
        waiting = asyncio.create_task(channel())
        await asyncio.sleep(0)
        assert source.sleepers == 1
        source.put(PART)
        assert await waiting == PART
        assert source.sleepers == 0

    asyncio.run(main())


def test_a_disconnect_is_the_last_event_for_all_who_ask() -> None:
    async def main() -> None:
        source, channel = of_ours()
        source.put(DISCONNECT)
        source.put(PART)
        assert [await channel() for _ in range(3)] == [PART, DISCONNECT, DISCONNECT]
        await channel.block_until_http_input_closed()

    asyncio.run(main())


def test_a_closed_channel_hears_nothing() -> None:
    async def main() -> None:
        source, channel = of_ours()
        await channel.close()
        source.put(PART)
        assert [await channel(), await channel()] == [PART, DISCONNECT]
        assert await source.receive() == PART

    asyncio.run(main())


def test_events_of_others_come_by_the_sdks_own_task() -> None:
    async def main() -> None:
        events = iter([PART, END_OF_REQUEST])

        async def receive() -> Any:
            return next(events, None) or await asyncio.Event().wait()

        channel = fed_at_once(ReceiveChannel)(receive)
        assert len(asyncio.all_tasks()) == 2
        assert [await channel(), await channel()] == [PART, END_OF_REQUEST]
        await channel.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


class Younger(ReceiveChannel):
    """A class of a later SDK."""

    def pause(self) -> None: ...


@pytest.mark.parametrize(("channel", "is_ours"), [(ReceiveChannel, True), (Younger, False), (None, False)])
def test_only_the_class_that_is_known_is_replaced(channel: Any, is_ours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    sdk: Any = ModuleType("restate.server")
    sdk.ReceiveChannel = channel
    monkeypatch.setitem(sys.modules, "restate.server", sdk)
    feed_channels_at_once()
    assert (sdk.ReceiveChannel is not channel) == is_ours
    replaced = sdk.ReceiveChannel
    feed_channels_at_once()
    assert sdk.ReceiveChannel is replaced
    monkeypatch.delitem(sys.modules, "restate.server")
    feed_channels_at_once()
