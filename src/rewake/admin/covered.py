"""The engine as the holder of a token for some services may operate it: what is of other services does not exist.

Without such a token every operation goes straight through. New operations of the roles below `admin` belong here, too.
app.py keeps the paths of other services, and those of the whole engine, from these
tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from rewake.access.coverage import covered_services, covers
from rewake.core.effects import Reply, ReplyStatus
from rewake.core.model import ServiceSchema, Target
from rewake.engine.calling import Calling
from rewake.operations import Operation
from rewake.protocol.messages import Failure, SignalResult, Success
from rewake.sql.query import QueryResult

if TYPE_CHECKING:
    from rewake.runs.reading import Read

_Engine = TypeVar("_Engine", bound=Calling)
_NOT_FOUND = Reply(0, ReplyStatus.NOT_FOUND)


async def covers_run(read: Read, invocation_id: bytes) -> bool:
    """Whether a run is of a covered service. An unknown one is not, unless all services are covered."""
    if not covered_services():
        return True
    return await read(lambda reading: reading.invocation(invocation_id)) is not None


def covered_engine(engine: _Engine, read: Read) -> _Engine:
    """The engine behind the check. read: reads what the request covers (runs/covered.py)."""
    return cast("_Engine", _CoveredEngine(engine, read))  # what is not checked here, it passes on


class _CoveredEngine:
    """Checks the operations of roles below `admin`; everything else is the engine's own."""

    def __init__(self, engine: Any, read: Read) -> None:
        self._engine = engine
        self._read = read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _CoveredEngine) and self._engine is other._engine

    def __hash__(self) -> int:
        """Of the engine: answers of pages and API share one lock (answering.py)."""
        return hash(self._engine)

    @property
    def services(self) -> Mapping[str, ServiceSchema]:
        services: Mapping[str, ServiceSchema] = self._engine.services
        return {name: each for name, each in services.items() if covers(name)} if covered_services() else services

    def resolve(self, service: str, handler: str, key: str | None) -> Target | None:
        found: Target | None = self._engine.resolve(service, handler, key) if covers(service) else None
        return found

    async def operate(self, operation: Operation, invocation_id: bytes, *, deployment: str | None = None) -> Reply:
        if not await covers_run(self._read, invocation_id):
            return _NOT_FOUND
        reply: Reply = await self._engine.operate(operation, invocation_id, deployment=deployment)
        return reply

    async def restart_as_new(self, invocation_id: bytes, **how: Any) -> Reply:
        if not await covers_run(self._read, invocation_id):
            return _NOT_FOUND
        reply: Reply = await self._engine.restart_as_new(invocation_id, **how)
        return reply

    async def complete_awakeable(self, invocation_id: bytes, signal: int, result: SignalResult) -> Reply:
        if not await covers_run(self._read, invocation_id):
            return _NOT_FOUND
        reply: Reply = await self._engine.complete_awakeable(invocation_id, signal, result)
        return reply

    async def complete_promise(self, service: str, key: str, name: str, result: Success | Failure) -> ReplyStatus:
        if not covers(service):
            return ReplyStatus.NOT_FOUND
        status: ReplyStatus = await self._engine.complete_promise(service, key, name, result)
        return status

    async def mutate_state(
        self, service: str, key: str, new_state: dict[bytes, bytes], expected_version: str | None = None
    ) -> None:
        assert covers(service), "app.py keeps paths of other services from these tokens"
        await self._engine.mutate_state(service, key, new_state, expected_version)

    async def query(self, sql: str) -> QueryResult:
        assert not covered_services(), "app.py keeps SQL from these tokens"
        found: QueryResult = await self._engine.query(sql)
        return found
