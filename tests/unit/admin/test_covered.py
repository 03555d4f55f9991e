"""Operations by the holder of a token for some services: runs of others do not exist for them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rewake.access.coverage import covering
from rewake.admin.answering import _lock_of
from rewake.admin.covered import covered_engine
from rewake.core.effects import Reply, ReplyStatus
from rewake.operations import Operation

MINE, THEIRS = b"m" * 24, b"t" * 24


class Engine:
    """Does everything that it is asked to."""

    def __init__(self) -> None:
        self.services = {"A": "a", "B": "b"}
        self.done: list[Any] = []

    async def do(self, *given: Any, **_: Any) -> Any:
        self.done.append(given)
        return Reply(7, ReplyStatus.DONE)

    operate = restart_as_new = complete_awakeable = complete_promise = mutate_state = query = do

    def resolve(self, service: str, handler: str, key: str | None) -> Any:
        return service

    def now_ms(self) -> int:
        return 5


class Runs:
    """Knows the run of the covered service alone, as a CoveredReading does."""

    def invocation(self, invocation_id: bytes) -> object:
        return invocation_id if invocation_id == MINE else None


async def read(find: Any) -> Any:
    return find(Runs())


def limited_to_runs(engine: Any) -> Any:
    return covered_engine(engine, read)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.mark.parametrize("name", ["restart_as_new", "complete_awakeable", *Operation])
def test_only_runs_of_the_services_are_operated(engine: Engine, name: str) -> None:
    limited = limited_to_runs(engine)

    async def act(run: bytes) -> ReplyStatus:
        if name == "complete_awakeable":
            reply: Reply = await limited.complete_awakeable(run, 17, None)
        elif name == "restart_as_new":
            reply = await limited.restart_as_new(run, from_index=1)
        else:
            reply = await limited.operate(Operation(name), run)
        return reply.status

    with covering(("A",)):
        assert asyncio.run(act(THEIRS)) is ReplyStatus.NOT_FOUND
        assert engine.done == []
        assert asyncio.run(act(MINE)) is ReplyStatus.DONE
    assert asyncio.run(act(THEIRS)) is ReplyStatus.DONE


def test_only_the_services_are_known(engine: Engine) -> None:
    limited = limited_to_runs(engine)
    with covering(("A",)):
        assert list(limited.services) == ["A"]
        assert limited.resolve("A", "h", None) == "A"
        assert limited.resolve("B", "h", None) is None
        assert asyncio.run(limited.complete_promise("B", "k", "p", None)) is ReplyStatus.NOT_FOUND
        assert engine.done == []
    assert limited.services is engine.services
    assert limited.resolve("B", "h", None) == "B"


@pytest.mark.parametrize(("name", "given"), [("mutate_state", ("B", "k", {})), ("query", ("select 1",))])
def test_what_the_paths_keep_away_is_not_done_either(engine: Engine, name: str, given: tuple[Any, ...]) -> None:
    limited = limited_to_runs(engine)
    with covering(("A",)), pytest.raises(AssertionError):
        asyncio.run(getattr(limited, name)(*given))
    assert engine.done == []
    asyncio.run(getattr(limited, name)(*given))
    assert len(engine.done) == 1


def test_answers_of_the_pages_and_the_api_wait_for_each_other(engine: Engine) -> None:
    """Both have a wrapper of their own around one engine."""
    pages = limited_to_runs(engine)
    api = limited_to_runs(engine)
    other = limited_to_runs(Engine())
    assert _lock_of(pages) is _lock_of(api)
    assert _lock_of(pages) is not _lock_of(other)
    assert api.now_ms() == 5
