"""A worker after a burst: its garbage goes once it is quiet, and never while it has something to do."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import Any

import pytest

from rewake.deployments import mux, worker_main
from rewake.deployments.waking import handler_begins
from rewake.deployments.worker_main import ChildLink, ChildStream

ATTEMPTS = 3


@pytest.fixture
def collections(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each collection."""
    collected: list[int] = []
    monkeypatch.setattr(worker_main, "COLLECT_AFTER_ATTEMPTS", ATTEMPTS)
    monkeypatch.setattr(worker_main, "COLLECT_WHEN_QUIET_S", 0.0)
    monkeypatch.setattr(gc, "collect", lambda: collected.append(len(collected)))
    return collected


async def no_app(scope: dict[str, Any], receive: Any, send: Any) -> None: ...


def link_with(count: int) -> tuple[ChildLink, list[ChildStream]]:
    """The child's end with so many attempts under way."""
    link = ChildLink(asyncio.get_running_loop(), no_app)
    return link, [begin(link, number) for number in range(count)]


def begin(link: ChildLink, number: int) -> ChildStream:
    stream = link._streams[number] = ChildStream(link, number, b"")
    return stream


async def turns() -> None:
    """Let timers of no delay fire."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_garbage_goes_after_a_burst(collections: list[int]) -> None:
    async def main() -> None:
        link, streams = link_with(ATTEMPTS)
        for stream in streams:
            assert not collections
            link.forget(stream)
            await turns()
        assert len(collections) == 1
        link.forget(begin(link, ATTEMPTS))
        await turns()
        assert len(collections) == 1

    asyncio.run(main())


def test_nothing_is_collected_while_an_attempt_runs(collections: list[int]) -> None:
    async def main() -> None:
        link, (last, *others) = link_with(ATTEMPTS + 1)
        for stream in others:
            link.forget(stream)
        await turns()
        assert not collections
        link.forget(last)
        next_one = begin(link, 100)
        await turns()
        assert not collections
        link.forget(next_one)
        await turns()
        assert len(collections) == 1

    asyncio.run(main())


def test_an_attempt_leaves_nothing_to_the_garbage_collector() -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        channel = SimpleNamespace(receive=receive)
        handler_begins(SimpleNamespace(receive=channel))
        await channel.receive()

    async def main() -> None:
        link = ChildLink(asyncio.get_running_loop(), app)
        gc.collect()
        gc.disable()
        try:
            for number in range(1, 10):
                link.frame_received(mux.OPEN, number, mux.encode_open(b"/", [], b"start"))
                await turns()
            assert not link._streams
            assert gc.collect() == 0
        finally:
            gc.enable()

    asyncio.run(main())
