"""An engine that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rewake.core.effects import Reply, ReplyStatus
from rewake.core.ids import DeploymentId, InvocationId
from rewake.core.model import HandlerOptions, ServiceSchema, Target
from rewake.core.registry import schema_of
from rewake.core.writes import EntryRow
from rewake.errors import RewakeError
from rewake.protocol.discovery import (
    HandlerKind,
    HandlerManifest,
    InputRules,
    OutputRules,
    ServiceManifest,
    ServiceType,
)
from rewake.protocol.messages import Failure, Success
from rewake.streams.files import Bounds
from rewake.streams.hub import Streams
from rewake.streams.offers import Offers

NOW_MS = 1_795_353_290_978
INVOCATION_ID = bytes(range(24))

JSON_INPUT = InputRules(content_type="application/json")
JSON_OUTPUT = OutputRules("application/json")

GREETER = ServiceManifest(
    name="Greeter",
    ty=ServiceType.SERVICE,
    handlers=(
        HandlerManifest(name="greet", input=JSON_INPUT, output=JSON_OUTPUT),
        HandlerManifest(name="empty", output=OutputRules("text/plain", set_content_type_if_empty=True)),
        HandlerManifest(name="must", input=InputRules(required=True, content_type="text/plain")),
    ),
)
COUNTER = ServiceManifest(
    name="Counter", ty=ServiceType.VIRTUAL_OBJECT, handlers=(HandlerManifest(name="add", kind=HandlerKind.EXCLUSIVE),)
)
FLOW = ServiceManifest(
    name="Flow",
    ty=ServiceType.WORKFLOW,
    handlers=(HandlerManifest(name="run", kind=HandlerKind.WORKFLOW),),
)


class NoStreams(Streams):
    """Streams of an engine that keeps none."""

    def __init__(self) -> None:
        super().__init__(
            Path(),
            NoRuns(),
            is_live=lambda run, epoch: False,
            now_ms=lambda: NOW_MS,
            bounds=Bounds(total_bytes=0),
        )


class NoRuns:
    """A store without runs."""

    def invocation(self, invocation_id: InvocationId) -> None:
        return None

    def journal(self, invocation_id: InvocationId) -> list[EntryRow]:
        return []


class FakeEngine:
    """`answer` is returned or raised by everything; `asked` has the arguments of each call."""

    def __init__(self) -> None:
        self.path = Path("no directory")
        self.streams: Streams = NoStreams()
        self.stream_offers = Offers(lambda deployment_id: None)
        self.services: dict[str, ServiceSchema] = {}
        self.problem: RewakeError | None = None
        self.asked: list[dict[str, Any]] = []
        self.full: dict[str, str] = {}
        self.answer: Reply | BaseException = completed(Success(b'"hi"'))
        for manifest in (GREETER, COUNTER, FLOW):
            self.register(manifest)

    def register(self, manifest: ServiceManifest, revision: int = 1) -> None:
        self.services[manifest.name] = schema_of(manifest, DeploymentId("dp_1"), revision, HandlerOptions())

    def now_ms(self) -> int:
        return NOW_MS

    def full_for(self, service: str) -> str | None:
        return self.full.get(service)

    def resolve(self, service: str, handler: str, key: str | None) -> Target | None:
        schema = self.services.get(service)
        if schema is None or handler not in schema.handlers:
            return None
        return Target(service, handler, key if schema.is_keyed else None, schema.type, schema.handlers[handler].kind)

    def target_of(self, invocation_id: bytes) -> Target | None:
        return None

    async def invoke(self, target: Target, body: bytes, **facts: Any) -> Reply:
        return self._answer(target=target, body=body, **facts)

    async def attach(self, invocation_id: bytes) -> Reply:
        return self._answer(attach=invocation_id)

    async def output(self, invocation_id: bytes) -> Reply:
        return self._answer(output=invocation_id)

    async def cancel(self, invocation_id: bytes) -> ReplyStatus:
        return self._answer(cancel=invocation_id).status

    async def complete_awakeable(self, invocation_id: bytes, signal: int, result: Success | Failure) -> Reply:
        return self._answer(awakeable=invocation_id, signal=signal, result=result)

    def _answer(self, **asked: Any) -> Reply:
        self.asked.append(asked)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def completed(result: Success | Failure, expires_at_ms: int | None = None) -> Reply:
    return Reply(0, ReplyStatus.COMPLETED, InvocationId(INVOCATION_ID), result, expires_at_ms)
