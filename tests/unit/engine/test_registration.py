"""From a discovery answer and the registry to the command that changes it, or to the reason why not."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from tests.simulation.memory_store import MemoryStore

from rewake.core.apply import apply
from rewake.core.commands import RegisterDeployment
from rewake.core.settings import Settings
from rewake.core.state import State
from rewake.deployments.base import DiscoveryResponse
from rewake.engine.registration import (
    META_CODES,
    Reached,
    deployment_at,
    plan_http,
    plan_move,
    plan_overwrite,
    plan_registration,
    restored_without,
    with_token,
)
from rewake.errors import ErrorCode, RewakeError
from rewake.protocol.discovery import ManifestError

NOW_MS = 1_000_000
SETTINGS = Settings()
URI = "http://127.0.0.1:9080/"
REACHED = Reached(uri=URI, kind="http", protocol_type="bidi", metadata={"team": "claims"})


def answer(*services: str, kind: str = "SERVICE", versions: tuple[int, int] = (5, 6)) -> DiscoveryResponse:
    manifest = {
        "protocolMode": "BIDI_STREAM",
        "minProtocolVersion": versions[0],
        "maxProtocolVersion": versions[1],
        "services": [{"name": name, "ty": kind, "handlers": [{"name": "go"}]} for name in services],
    }
    return DiscoveryResponse(body=json.dumps(manifest).encode(), manifest_version=5, server="sdk/1")


@pytest.fixture
def state() -> State:
    return State(MemoryStore())


def local(state: State, discovery: DiscoveryResponse) -> RegisterDeployment | str:
    return plan_registration(
        state, discovery, uri="worker:app", kind="worker", protocol_type="bidi", settings=SETTINGS, now_ms=NOW_MS
    )


def remote(state: State, discovery: DiscoveryResponse, uri: str = URI, **options: Any) -> RegisterDeployment:
    reached = msgspec.structs.replace(REACHED, uri=uri)
    options = {"known": None, "is_breaking_allowed": False, **options}
    return plan_http(state, discovery, reached, settings=SETTINGS, now_ms=NOW_MS, **options)


def register(state: State, command: RegisterDeployment | str) -> RegisterDeployment:
    assert isinstance(command, RegisterDeployment)
    apply(state, command)
    return command


def revisions(command: RegisterDeployment) -> dict[str, int]:
    return {service.name: service.revision for service in command.services}


def test_a_local_app_keeps_its_id_and_changes_with_its_manifest_alone(state: State) -> None:
    first = register(state, local(state, answer("A")))
    assert local(state, answer("A")) == first.deployment.id
    second = register(state, local(state, answer("A", "B")))
    assert second.deployment.id == first.deployment.id
    assert second.deployment.created_at_ms == NOW_MS
    assert revisions(second) == {"A": 1, "B": 1}, "A is what it was"
    with pytest.raises(ManifestError):
        local(state, DiscoveryResponse(body=b"{}", manifest_version=5, server=None))


def test_a_second_address_takes_over_what_both_serve(state: State) -> None:
    first = register(state, remote(state, answer("A", "B")))
    second = register(state, remote(state, answer("A"), "http://127.0.0.1:9081/"))
    assert second.deployment.id != first.deployment.id and revisions(second) == {"A": 2}
    assert second.deployment.metadata == {"team": "claims"}
    assert deployment_at(state, URI) == first.deployment
    assert deployment_at(state, "http://127.0.0.1:1/") is None
    (restored,) = restored_without(state, second.deployment.id, settings=SETTINGS)
    assert (restored.name, restored.revision, restored.deployment_id) == ("A", 1, first.deployment.id)
    assert [service.name for service in restored_without(state, first.deployment.id, settings=SETTINGS)] == []


def test_a_service_of_another_type_is_a_break(state: State) -> None:
    first = register(state, remote(state, answer("A")))
    with pytest.raises(RewakeError, match="registered as SERVICE and would become VIRTUAL_OBJECT") as caught:
        remote(state, answer("A", kind="VIRTUAL_OBJECT"))
    assert caught.value.code is ErrorCode.SERVICE_TYPE_CHANGED
    forced = remote(state, answer("A", kind="VIRTUAL_OBJECT"), known=first.deployment, is_breaking_allowed=True)
    assert forced.deployment.id == first.deployment.id and revisions(forced) == {"A": 2}


def test_an_overwrite_keeps_revisions_and_leaves_what_a_newer_one_serves(state: State) -> None:
    first = register(state, remote(state, answer("A", "B")))
    register(state, remote(state, answer("A"), "http://127.0.0.1:9081/"))
    change = plan_overwrite(
        state, answer("A", "B", "C"), REACHED, first.deployment, settings=SETTINGS, now_ms=NOW_MS + 1
    )
    assert revisions(change) == {"B": 1, "C": 1}, "A is the other one's by now"
    assert change.deployment.services == {"A": 1, "B": 1, "C": 1}
    assert change.deployment.created_at_ms == NOW_MS


def test_a_move_changes_the_address_alone(state: State) -> None:
    first = register(state, remote(state, answer("A")))
    elsewhere = msgspec.structs.replace(REACHED, uri="http://127.0.0.1:9099/", http_version="HTTP/1.1")
    change = plan_move(state, answer("B"), elsewhere, first.deployment, settings=SETTINGS, now_ms=NOW_MS)
    assert (change.deployment.uri, change.deployment.http_version) == ("http://127.0.0.1:9099/", "HTTP/1.1")
    assert (change.deployment.manifest, revisions(change)) == (first.deployment.manifest, {"A": 1})


@pytest.mark.parametrize(
    ("discovery", "code"),
    [
        (answer("A", versions=(8, 9)), ErrorCode.PROTOCOL_VERSION_UNSUPPORTED),
        (answer("restate"), ErrorCode.SERVICE_NAME_RESERVED),
        (answer("A", "A"), ErrorCode.DISCOVERY_INVALID),
        (DiscoveryResponse(body=b"not JSON", manifest_version=5, server=None), ErrorCode.DISCOVERY_INVALID),
    ],
)
def test_what_cannot_be_registered(state: State, discovery: DiscoveryResponse, code: ErrorCode) -> None:
    with pytest.raises(RewakeError, match="cannot be registered") as caught:
        remote(state, discovery)
    assert caught.value.code is code and code in META_CODES


def test_a_token_names_the_asker(state: State) -> None:
    planned = remote(state, answer("A"))
    assert (planned.token, with_token(planned, 7).token) == (0, 7)
    assert with_token(planned, 7).deployment == planned.deployment
