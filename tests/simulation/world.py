"""A random world: services of rising rank, and for each handler a random program.

Handlers call only services of a higher rank, so no history can deadlock by itself and all must finish once faults
stop. A program is a tuple of Ops; sdk_model.py knows how each is run. Everything follows from the Random it is given.
"""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from rewake.core.ids import DeploymentId
from rewake.core.model import (
    Deployment,
    HandlerOptions,
    HandlerSchema,
    OnMaxAttempts,
    RetryPolicy,
    ServiceSchema,
    Target,
)
from rewake.core.settings import Settings
from rewake.protocol.discovery import HandlerKind, ServiceType

KEYS = ("a", "b")
IDEMPOTENCY_KEYS = ("k1", "k2")
STATE_NAMES = (b"x", b"y", b"z")
PROMISE_NAMES = ("p", "q")
SIGNAL_NAME = "news"
HOUR_MS = 3_600_000

EXCLUSIVE, SHARED, PLAIN, RUN = HandlerKind.EXCLUSIVE, HandlerKind.SHARED, HandlerKind.PLAIN, HandlerKind.WORKFLOW

SERVICES: tuple[tuple[str, ServiceType, tuple[tuple[str, HandlerKind], ...]], ...] = (
    ("Front", ServiceType.SERVICE, (("h0", PLAIN), ("h1", PLAIN))),
    ("Object", ServiceType.VIRTUAL_OBJECT, (("e0", EXCLUSIVE), ("e1", EXCLUSIVE), ("s0", SHARED))),
    ("Flow", ServiceType.WORKFLOW, (("run", RUN), ("look", SHARED), ("finish", SHARED))),
    ("Account", ServiceType.VIRTUAL_OBJECT, (("e0", EXCLUSIVE), ("s0", SHARED))),
    ("Leaf", ServiceType.SERVICE, (("h0", PLAIN),)),
)
FLOW_RANK = 2

EVERYWHERE = ("run", "run", "run", "runs", "sleep", "awakeable", "race", "signal", "resolve_other", "fail")
CALLING = ("call", "call", "send", "gather", "attach", "attach_flow", "attach_key", "tell_child")
KEYED = ("get", "get", "keys")
WRITING = ("set", "set", "set", "clear", "clear_all")
FLOW = ("promise_get", "promise_peek", "promise_complete")


class Op(msgspec.Struct, frozen=True):
    """One thing a handler does. number: a random constant it may use as it likes."""

    kind: str
    number: int
    target: Target | None = None
    idempotency_key: str | None = None


class Program(msgspec.Struct, frozen=True):
    """What a handler does, and what it does when it is cancelled (None: it fails)."""

    ops: tuple[Op, ...]
    compensation: tuple[Op, ...] | None


class World(msgspec.Struct):
    """Programs by (service, handler), targets that can be called, and the registry's rows."""

    programs: dict[tuple[str, str], Program]
    settings: Settings
    deployment: Deployment
    services: list[ServiceSchema]

    def target(self, rng: Random, rank_min: int = 0) -> Target:
        """A random target of at least this rank."""
        name, type_, handlers = SERVICES[rng.randrange(rank_min, len(SERVICES))]
        handler, kind = handlers[rng.randrange(len(handlers))]
        return Target(name, handler, None if type_ is ServiceType.SERVICE else rng.choice(KEYS), type_, kind)


def make_world(rng: Random) -> World:
    world = World({}, _settings(rng), make_deployment("dp1", rng.choice((5, 6, 7, 7))), [])
    options = {name: _options(rng) for name, _, _ in SERVICES}
    world.services = services_of(options, "dp1", 1)
    for rank, (name, _, handlers) in enumerate(SERVICES):
        for handler, kind in handlers:
            world.programs[name, handler] = _program(rng, world, rank, handler, kind)
    return world


def make_deployment(deployment_id: str, version_max: int) -> Deployment:
    return Deployment(
        id=DeploymentId(deployment_id),
        kind="worker",
        uri="worker:" + deployment_id,
        protocol_type="BIDI_STREAM",
        min_protocol_version=5,
        max_protocol_version=version_max,
        sdk_version="test",
        created_at_ms=0,
        manifest=b"{}",
        services={},
    )


def services_of(options: dict[str, HandlerOptions], deployment_id: str, revision: int) -> list[ServiceSchema]:
    nothing: dict[str, Any] = {}
    return [
        ServiceSchema(
            name=name,
            type=type_,
            revision=revision,
            deployment_id=DeploymentId(deployment_id),
            handlers={handler: HandlerSchema(handler, kind, options[name], nothing) for handler, kind in handlers},
            options=options[name],
            manifest=nothing,
        )
        for name, type_, handlers in SERVICES
    ]


def _settings(rng: Random) -> Settings:
    version_max, eager_bytes_max = rng.choice((6, 7, 7)), rng.choice((1000, 1000, 6))
    return Settings(
        protocol_version_max=version_max,
        eager_state_bytes_max=eager_bytes_max,
        idle_instances_max={(6, 1000): 2, (7, 1000): 100}.get((version_max, eager_bytes_max), 0),
        idle_state_bytes_max=eager_bytes_max,
    )


def _options(rng: Random) -> HandlerOptions:
    retry = RetryPolicy(
        initial_interval_ms=50,
        max_interval_ms=1000,
        max_attempts=rng.choice((None, None, 1, 3)),
        on_max_attempts=rng.choice((OnMaxAttempts.PAUSE, OnMaxAttempts.PAUSE, OnMaxAttempts.KILL)),
    )
    return HandlerOptions(
        journal_retention_ms=rng.choice((0, HOUR_MS, HOUR_MS, HOUR_MS)),
        idempotency_retention_ms=rng.choice((0, 500, HOUR_MS, HOUR_MS)),
        workflow_retention_ms=rng.choice((0, 500, HOUR_MS, HOUR_MS)),
        enable_lazy_state=rng.random() < 0.2,
        retry=retry,
    )


def _program(rng: Random, world: World, rank: int, handler: str, kind: HandlerKind) -> Program:
    if handler == "finish":
        return Program((Op("finish_promises", 0),), None)
    compensation = _ops(rng, world, rank, kind, rng.randrange(1, 3)) if rng.random() < 0.4 else None
    return Program(_ops(rng, world, rank, kind, rng.randrange(1, 5)), compensation)


def _ops(rng: Random, world: World, rank: int, kind: HandlerKind, count: int) -> tuple[Op, ...]:
    kinds: tuple[str, ...] = EVERYWHERE
    if rank < len(SERVICES) - 1:
        kinds += CALLING
    if kind is not PLAIN:
        kinds += KEYED * (2 if rank != FLOW_RANK else 1)
    if kind in (EXCLUSIVE, RUN):
        kinds += WRITING
    if rank == FLOW_RANK:
        kinds += FLOW * 3
    return tuple(_op(rng, world, rank, rng.choice(kinds)) for _ in range(count))


def _op(rng: Random, world: World, rank: int, kind: str) -> Op:
    if kind not in CALLING:
        return Op(kind, rng.randrange(1 << 16))
    key = rng.choice(IDEMPOTENCY_KEYS) if rng.random() < 0.3 else None
    return Op(kind, rng.randrange(1 << 16), world.target(rng, rank + 1), key)
