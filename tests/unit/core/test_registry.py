"""The registry: revisions, effective settings, removal."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.core.play import Answer, Play, deployment, services

from rewake.core import commands, registry
from rewake.core.effects import ReplyStatus
from rewake.core.ids import DeploymentId
from rewake.core.model import HandlerOptions, OnMaxAttempts, RetryPolicy
from rewake.protocol.discovery import EndpointManifest, HandlerManifest, ProtocolMode, ServiceManifest, ServiceType

DEFAULTS = HandlerOptions()


def manifest(*services: ServiceManifest) -> EndpointManifest:
    return EndpointManifest(
        protocol_mode=ProtocolMode.BIDI_STREAM, min_protocol_version=5, max_protocol_version=7, services=services
    )


def service(*handlers: HandlerManifest, name: str = "shop", **fields: Any) -> ServiceManifest:
    return ServiceManifest(name=name, ty=ServiceType.VIRTUAL_OBJECT, handlers=handlers, **fields)


def test_handler_beats_service_beats_engine() -> None:
    schema = registry.schema_of(
        service(
            HandlerManifest(
                name="own",
                inactivity_timeout_ms=0,
                retry_policy_max_attempts=7,
                retry_policy_on_max_attempts="KILL",
                workflow_completion_retention_ms=5,
                enable_lazy_state=True,
            ),
            HandlerManifest(name="plain"),
            inactivity_timeout_ms=2,
            abort_timeout_ms=3,
            journal_retention_ms=4,
            idempotency_retention_ms=6,
            retry_policy_initial_interval_ms=8,
            retry_policy_max_interval_ms=9,
            retry_policy_exponentiation_factor=1.5,
        ),
        DeploymentId("dp1"),
        1,
        DEFAULTS,
    )
    inherited = HandlerOptions(
        inactivity_timeout_ms=2,
        abort_timeout_ms=3,
        journal_retention_ms=4,
        idempotency_retention_ms=6,
        retry=RetryPolicy(initial_interval_ms=8, exponentiation_factor=1.5, max_interval_ms=9),
    )
    assert schema.options == inherited
    assert schema.handlers["plain"].options == inherited
    own = schema.handlers["own"].options
    assert (own.inactivity_timeout_ms, own.workflow_retention_ms, own.enable_lazy_state) == (0, 5, True)
    assert (own.retry.max_attempts, own.retry.on_max_attempts) == (7, OnMaxAttempts.KILL)
    assert own.retry.initial_interval_ms == 8


@pytest.mark.parametrize(
    ("of_service", "of_handler", "is_public"),
    [(None, None, True), (True, None, False), (None, True, False), (False, True, False), (True, False, False)],
)
def test_a_private_service_has_no_public_handler(
    of_service: bool | None, of_handler: bool | None, is_public: bool
) -> None:
    found = registry.schema_of(
        service(HandlerManifest(name="h", ingress_private=of_handler), ingress_private=of_service),
        DeploymentId("dp1"),
        1,
        DEFAULTS,
    )
    assert found.handlers["h"].options.public is is_public


def test_a_revision_counts_up_unless_nothing_changed() -> None:
    shop = service(HandlerManifest(name="h"))
    known: dict[str, Any] = {}

    def register(item: ServiceManifest, deployment_id: str, **fields: Any) -> int:
        (schema,) = registry.schemas_of(manifest(item), DeploymentId(deployment_id), known, DEFAULTS, **fields)
        known[schema.name] = schema
        return schema.revision

    assert register(shop, "dp1") == 1
    assert register(shop, "dp1") == 1
    assert register(shop, "dp1", force_revision=True) == 2
    assert register(shop, "dp2") == 3
    told = service(HandlerManifest(name="h", metadata={"rewake.agents": "[]"}))
    assert register(told, "dp2") == 3  # says how it is shown, not how it runs
    assert known["shop"].handlers["h"].manifest["metadata"] == {"rewake.agents": "[]"}
    assert register(service(HandlerManifest(name="h", metadata={"team": "x"})), "dp2") == 4
    assert register(service(HandlerManifest(name="h"), HandlerManifest(name="i")), "dp2") == 5
    patient = service(HandlerManifest(name="h"), HandlerManifest(name="i"), inactivity_timeout_ms=1)
    assert register(patient, "dp2") == 6
    known["shop"] = msgspec.structs.replace(known["shop"], manifest={})
    assert register(patient, "dp2") == 7


def test_a_removed_deployment_takes_its_services_along(play: Play) -> None:
    play.register(deployment("dp2"))
    play.expect(Answer(ReplyStatus.DONE))
    play.remove_deployment("dp1")
    play.expect(Answer(ReplyStatus.DONE))
    assert set(play.state.services) == {"greeter", "cart", "signup"}
    play.remove_deployment("dp2")
    play.remove_deployment("dp2")
    play.expect(Answer(ReplyStatus.DONE), Answer(ReplyStatus.NOT_FOUND))
    assert play.state.services == {}
    assert (play.store.service_rows, play.store.deployment_rows) == ({}, {})


def test_services_of_a_removed_deployment_fall_back_to_what_is_given(play: Play) -> None:
    play.register(deployment("dp2"))
    play.skip()
    before = [item for item in services(play.options, "dp1") if item.name == "cart"]
    command = commands.RemoveDeployment(now_ms=play.now_ms, token=9, deployment_id=DeploymentId("dp2"), restored=before)
    play.submit(command)
    play.expect(Answer(ReplyStatus.DONE))
    assert list(play.state.services.values()) == before
    assert list(play.store.service_rows) == ["cart"]


def test_a_service_that_is_no_longer_served_is_gone(play: Play) -> None:
    kept = [item for item in services(play.options) if item.name == "cart"]
    play.submit(commands.RegisterDeployment(now_ms=play.now_ms, token=1, deployment=deployment(), services=kept))
    play.expect(Answer(ReplyStatus.DONE))
    assert set(play.state.services) == set(play.store.service_rows) == {"cart"}


def test_a_service_of_another_deployment_stays(play: Play) -> None:
    (cart,) = [item for item in services(play.options, "dp2") if item.name == "cart"]
    play.submit(commands.RegisterDeployment(now_ms=play.now_ms, token=1, deployment=deployment("dp2"), services=[cart]))
    play.skip()
    latest = {name: item.deployment_id for name, item in play.state.services.items()}
    assert latest == {"greeter": "dp1", "cart": "dp2", "signup": "dp1"}
    assert latest == {name: item.deployment_id for name, item in play.store.service_rows.items()}


def test_an_operator_replaces_a_schema(play: Play) -> None:
    changed = msgspec.structs.replace(play.state.services["greeter"], overrides={"public": False})
    play.submit(commands.UpdateService(now_ms=play.now_ms, token=1, service=changed))
    unknown = msgspec.structs.replace(changed, name="unknown")
    play.submit(commands.UpdateService(now_ms=play.now_ms, token=2, service=unknown))
    play.expect(Answer(ReplyStatus.DONE), Answer(ReplyStatus.NOT_FOUND))
    assert play.state.services["greeter"] == changed
    play.crash()
    assert play.state.services["greeter"] == changed
    assert "unknown" not in play.state.services


def test_an_operators_settings_are_those_of_the_service_and_a_handlers_own_win() -> None:
    plain, own, private = (
        HandlerManifest(name="plain", ingress_private=False),
        HandlerManifest(name="own", inactivity_timeout_ms=1),
        HandlerManifest(name="private", ingress_private=True),
    )
    schema = registry.schema_of(service(plain, own, private), DeploymentId("dp1"), 1, DEFAULTS)
    changed = registry.overridden(schema, {"inactivity_timeout_ms": 5, "abort_timeout_ms": None, "public": False})
    timeouts = {name: handler.options.inactivity_timeout_ms for name, handler in changed.handlers.items()}
    assert (changed.options.inactivity_timeout_ms, timeouts) == (5, {"plain": 5, "own": 1, "private": 5})
    assert changed.options.abort_timeout_ms == DEFAULTS.abort_timeout_ms
    assert not any(handler.options.public for handler in changed.handlers.values())
    public = registry.overridden(changed, {"public": True})
    assert {name: handler.options.public for name, handler in public.handlers.items()} == {
        "plain": True,
        "own": True,
        "private": False,
    }
    assert changed.overrides == {"inactivity_timeout_ms": 5, "public": False}
    again = registry.overridden(changed, {"abort_timeout_ms": 6})
    assert again.overrides == {"inactivity_timeout_ms": 5, "public": False, "abort_timeout_ms": 6}


def test_a_stored_service_follows_the_defaults_of_now() -> None:
    schema = registry.schema_of(
        service(HandlerManifest(name="h", inactivity_timeout_ms=1)), DeploymentId("dp1"), 3, DEFAULTS
    )
    schema = registry.overridden(schema, {"journal_retention_ms": 7})
    moved = registry.under_defaults(schema, HandlerOptions(abort_timeout_ms=9, inactivity_timeout_ms=8))
    assert (moved.revision, moved.overrides) == (3, {"journal_retention_ms": 7})
    options = moved.handlers["h"].options
    assert (options.abort_timeout_ms, options.inactivity_timeout_ms, options.journal_retention_ms) == (9, 1, 7)
