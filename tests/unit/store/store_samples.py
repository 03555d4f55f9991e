"""Sample rows for the store's tests: one invocation with every field set, one plain one, and helpers to submit."""

from __future__ import annotations

from rewake.core.ids import DeploymentId, EntryIndex, InvocationId
from rewake.core.model import (
    AttemptError,
    Deployment,
    HandlerOptions,
    HandlerSchema,
    Invocation,
    InvokedBy,
    ServiceSchema,
    Status,
    Target,
)
from rewake.core.writes import Batch, EntryRow
from rewake.protocol.discovery import HandlerKind, ServiceType
from rewake.protocol.messages import Combinator, Future
from rewake.store.store import Store

NOW_MS = 1_795_353_633_731
GREET = Target("Greeter", "greet", None, ServiceType.SERVICE, HandlerKind.PLAIN)
ADD = Target("Counter", "add", "k7", ServiceType.VIRTUAL_OBJECT, HandlerKind.EXCLUSIVE)
GET = Target("Counter", "get", "k7", ServiceType.VIRTUAL_OBJECT, HandlerKind.SHARED)
RUN = Target("Signup", "run", "w1", ServiceType.WORKFLOW, HandlerKind.WORKFLOW)


def invocation_id(number: int) -> InvocationId:
    return InvocationId(b"\x11" * 8 + number.to_bytes(16, "big"))


def invocation(
    number: int = 1, target: Target = GREET, status: Status = Status.INVOKED, **fields: object
) -> Invocation:
    """A plain invocation. `fields` replace any of its attributes."""
    item = Invocation(
        id=invocation_id(number),
        target=target,
        status=status,
        created_at_ms=NOW_MS,
        modified_at_ms=NOW_MS,
    )
    for name, value in fields.items():
        setattr(item, name, value)
    return item


def full_invocation(number: int = 1) -> Invocation:
    """An invocation with a value in every column that its status allows at all."""
    return invocation(
        number,
        RUN,
        Status.SUSPENDED,
        invoked_by=InvokedBy.SERVICE,
        invoked_by_id=invocation_id(900),
        invoked_by_target="Greeter/greet",
        restarted_from=invocation_id(901),
        idempotency_key="",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        completion_retention_ms=86_400_000,
        journal_retention_ms=3_600_000,
        random_seed=2**64 - 1,
        inbox_sequence=12,
        inboxed_at_ms=NOW_MS + 1,
        scheduled_at_ms=NOW_MS + 2,
        start_at_ms=NOW_MS + 3,
        running_at_ms=NOW_MS + 4,
        completed_at_ms=NOW_MS + 5,
        purge_at_ms=NOW_MS + 6,
        journal_purge_at_ms=NOW_MS + 7,
        pinned_deployment_id="dp_1abc",
        pinned_version=6,
        awaiting=Future((1, 2), (17,), ("go",), (Future((3,), combinator=Combinator.ALL_COMPLETED),)),
        retry_count=3,
        command_retry_count=2,
        loss_count=5,
        kill_count=1,
        last_start_at_ms=NOW_MS + 8,
        next_retry_at_ms=NOW_MS + 9,
        last_deployment_id="dp_1def",
        last_error=AttemptError(500, "broken", "RT0007", "Traceback ...", 1, "charge", "Run"),
        awaiting_from=4,
    )


def entry(
    invocation_number: int, index: int, type_id: int = 0x0411, payload: bytes = b"p", **fields: object
) -> EntryRow:
    row = EntryRow(invocation_id(invocation_number), EntryIndex(index), type_id, payload, NOW_MS + index, "")
    for name, value in fields.items():
        setattr(row, name, value)
    return row


def deployment(id_: str = "dp_1abc", created_at_ms: int = NOW_MS) -> Deployment:
    return Deployment(
        id=DeploymentId(id_),
        kind="worker",
        uri="worker:app",
        protocol_type="BIDI_STREAM",
        min_protocol_version=5,
        max_protocol_version=7,
        sdk_version="restate-sdk-python/1.3.0",
        created_at_ms=created_at_ms,
        manifest=b'{"services":[]}\xff',
        services={"Greeter": 1, "Counter": 2},
        metadata={"team": "claims"},
    )


def service(name: str = "Counter", type_: ServiceType = ServiceType.VIRTUAL_OBJECT) -> ServiceSchema:
    options = HandlerOptions(public=False)
    handler = HandlerSchema("add", HandlerKind.EXCLUSIVE, options, {"input": {"required": True}})
    return ServiceSchema(
        name, type_, 2, DeploymentId("dp_1abc"), {"add": handler}, options, {"documentation": "adds"}, {"x": [1]}
    )


def submit(store: Store, batch: Batch) -> None:
    """Write a batch and insist that it was stored."""
    outcomes: list[BaseException | None] = []
    store.submit(batch, outcomes.append)
    assert outcomes == [None], outcomes
