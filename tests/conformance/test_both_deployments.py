"""The life of deployments reached by URL, on both engines: registered, replaced, changed, removed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from fleet_app import KEYRING, RETRY_AFTER_S
from node_tour import free_port
from raw_http import Answer
from subject import Subject, outcome

from rewake.ext.sealed import Values, is_sealed

UNKNOWN_DEPLOYMENT = "dp_13TZAEkf5hl3qZ4TAREdByW"


@pytest.fixture
def name(fleet: Subject) -> str:
    """Of a service nobody else registers."""
    return fleet.unique("Fleet")


def address(fleet: Subject, variant: str, name: str) -> str:
    return f"{fleet.service.uri}/{variant}/{name}"


def register(fleet: Subject, variant: str, name: str, **options: Any) -> Answer:
    return fleet.register(address(fleet, variant, name), **options)


def said(fleet: Subject, name: str) -> Any:
    return outcome(fleet.call(f"{name}/hello"))


def revision(fleet: Subject, name: str) -> int | None:
    answer = fleet.admin("GET", f"/services/{name}")
    return int(answer.json["revision"]) if answer.status == 200 else None


def test_a_new_deployment(fleet: Subject, name: str) -> None:
    answer = register(fleet, "one", name)
    told = answer.json
    assert answer.status == 201
    assert answer.headers["location"] == f"deployments/{told['id']}"
    assert set(told) == {"id", "services", "min_protocol_version", "max_protocol_version", "sdk_version"}
    assert (told["min_protocol_version"], told["max_protocol_version"]) == (5, 7)
    (service,) = told["services"]
    assert (service["name"], service["ty"], service["revision"], service["deployment_id"]) == (
        name,
        "Service",
        1,
        told["id"],
    )
    assert sorted(handler["name"] for handler in service["handlers"]) == ["held", "hello", "signal", "waits"]
    assert said(fleet, name) == ["one", None]


def test_a_deployment_is_listed_and_shown(fleet: Subject, name: str) -> None:
    told = register(fleet, "one", name, metadata={"team": "claims"}, additional_headers={"X-Team": "claims"}).json
    shown = fleet.admin("GET", f"/deployments/{told['id']}").json
    (service,) = shown.pop("services")
    assert service["name"] == name
    created_at = shown.pop("created_at")
    assert shown == {
        "id": told["id"],
        "uri": address(fleet, "one", name) + fleet.differs("trailing-slash", rewake="/", restate=""),
        "protocol_type": "BidiStream",
        "http_version": "HTTP/2.0",
        "additional_headers": {"x-team": "claims"},
        "metadata": {"team": "claims"},
        "min_protocol_version": 5,
        "max_protocol_version": 7,
        "sdk_version": told["sdk_version"],
    }
    listed = {each["id"]: each for each in fleet.admin("GET", "/deployments").json["deployments"]}
    assert listed[told["id"]] == {**shown, "created_at": created_at, "services": [{"name": name, "revision": 1}]}
    assert fleet.admin("GET", f"/services/{name}").json["deployment_id"] == told["id"]
    assert said(fleet, name) == ["one", "claims"]


def test_the_same_address_again_is_unchanged(fleet: Subject, name: str) -> None:
    first = register(fleet, "one", name)
    again = register(fleet, "one", name, metadata={"team": "others"})
    assert (again.status, again.json["id"]) == (200, first.json["id"])
    assert revision(fleet, name) == 1
    assert "metadata" not in fleet.admin("GET", f"/deployments/{first.json['id']}").json


def test_force_keeps_the_id_and_makes_a_new_revision(fleet: Subject, name: str) -> None:
    first = register(fleet, "one", name)
    forced = register(fleet, "one", name, force=True)
    assert (forced.status, forced.json["id"]) == (200, first.json["id"])
    assert [service["revision"] for service in forced.json["services"]] == [2]
    assert revision(fleet, name) == 2


def test_version_2_of_the_api_forces_unless_told_not_to(fleet: Subject, name: str) -> None:
    first = register(fleet, "one", name).json["id"]
    body = {"uri": address(fleet, "one", name)}
    assert fleet.admin("POST", "/v2/deployments", body).status == 201
    assert revision(fleet, name) == 2
    refused = fleet.admin("POST", "/v2/deployments", {**body, "force": False})
    assert refused.status == 409
    assert refused.json["message"].endswith(f"deployment {first} already exists")
    assert fleet.admin("POST", "/v3/deployments", body).status == 200
    assert revision(fleet, name) == 2


def test_a_dry_run_stores_nothing(fleet: Subject, name: str) -> None:
    tried = register(fleet, "one", name, dry_run=True)
    assert tried.status == 201
    assert [service["revision"] for service in tried.json["services"]] == [1]
    assert revision(fleet, name) is None
    assert fleet.admin("GET", f"/deployments/{tried.json['id']}").status == 404
    register(fleet, "one", name)
    assert register(fleet, "one", name, dry_run=True).status == 200
    assert register(fleet, "one", name, dry_run=True, force=True).status == 200
    assert register(fleet, "two", name, dry_run=True).status == 201
    assert revision(fleet, name) == 1
    assert said(fleet, name) == ["one", None]


def test_what_runs_stays_and_what_is_new_goes_to_the_newest(fleet: Subject, name: str) -> None:
    first = register(fleet, "one", name).json["id"]
    running = fleet.send(f"{name}/held")
    assert fleet.reaches(running, "suspended")["pinned_deployment_id"] == first
    second = register(fleet, "two", name)
    assert (second.status, second.json["services"][0]["revision"]) == (201, 2)
    assert second.json["id"] != first
    assert said(fleet, name) == ["two", None]
    newer = fleet.send(f"{name}/held")
    assert fleet.reaches(newer, "suspended")["pinned_deployment_id"] == second.json["id"]
    for each in (running, newer):
        outcome(fleet.call(f"{name}/signal", each))
    assert fleet.result(running) == "one one"
    assert fleet.result(newer) == "two two"
    assert fleet.admin("GET", f"/deployments/{first}").json["services"][0]["revision"] == 1


def test_what_has_only_waited_so_far(fleet: Subject, name: str) -> None:
    register(fleet, "one", name)
    waiting = fleet.send(f"{name}/waits")
    fleet.reaches(waiting, "suspended")
    register(fleet, "two", name)
    outcome(fleet.call(f"{name}/signal", waiting))
    assert fleet.result(waiting) == fleet.differs("pinned-by-a-wait", rewake="one", restate="two")


def test_a_handler_may_go(fleet: Subject, name: str) -> None:
    register(fleet, "one", name)
    running = fleet.send(f"{name}/held")
    fleet.reaches(running, "suspended")
    assert register(fleet, "smaller", name).status == 201
    gone = fleet.call(f"{name}/held")
    assert (gone.status, gone.json["message"]) == (
        404,
        f"the service '{name}' exists, but the handler 'held' was not found, "
        "check that the handler exists in the latest registered service version.",
    )
    assert fleet.operate(running, "cancel").status == 202
    assert fleet.result(running) == "409 cancelled"


def test_another_type_of_service_is_a_breaking_change(fleet: Subject, name: str) -> None:
    register(fleet, "one", name)
    refused = register(fleet, "object", name)
    assert (refused.status, refused.json["restate_code"]) == (409, "META0006")
    assert refused.json["message"].startswith("[META0006] ")
    assert said(fleet, name) == ["one", None]
    assert register(fleet, "object", name, breaking=True).status == 201
    assert outcome(fleet.call(f"{name}/key/hello")) == ["object", "key"]
    assert revision(fleet, name) == 2


def test_an_address_has_one_spelling(fleet: Subject, name: str) -> None:
    """Of a path with and without a slash at its end; `fleet` itself has none."""
    first = register(fleet, "one", name)
    again = fleet.register(address(fleet, "one", name) + "/")
    assert again.status == fleet.differs("trailing-slash", rewake=200, restate=201)
    assert (again.json["id"] == first.json["id"]) is fleet.differs("trailing-slash", rewake=True, restate=False)
    assert fleet.register(fleet.service.uri).status == fleet.register(fleet.service.uri + "/").status == 200


# What cannot be registered


@pytest.mark.parametrize("reserved", ["restateful", "RESTATE", "openapi", "OpenApi"])
def test_reserved_names(fleet: Subject, reserved: str) -> None:
    refused = register(fleet, "one", reserved)
    assert (refused.status, refused.json["restate_code"]) == (400, "META0005")
    assert revision(fleet, reserved) is None


@pytest.mark.parametrize("uri", ["localhost:9080", "/just/a/path", "", "http://"])
def test_an_address_that_is_none(fleet: Subject, uri: str) -> None:
    assert fleet.register(uri).status in (400, 422)


def test_nobody_at_the_address(fleet: Subject) -> None:
    refused = fleet.register(f"http://127.0.0.1:{free_port()}")
    assert (refused.status, refused.json["restate_code"]) == (500, "META0003")


def test_no_endpoint_at_the_address(fleet: Subject) -> None:
    refused = fleet.register(f"http://127.0.0.1:{fleet.ingress_port}", use_http_11=True)
    assert (refused.status, refused.json["restate_code"]) == (500, "META0003")


def test_a_header_that_is_none(fleet: Subject, name: str) -> None:
    assert register(fleet, "one", name, additional_headers={"a b": "c"}).status == 422
    assert revision(fleet, name) is None


# Changes


def test_the_address_of_a_deployment_is_changed(fleet: Subject, name: str) -> None:
    """The services keep their definitions."""
    first = register(fleet, "one", name).json["id"]
    running = fleet.send(f"{name}/held")
    fleet.reaches(running, "suspended")
    moved = fleet.admin("PATCH", f"/deployments/{first}", {"uri": address(fleet, "smaller", name)})
    assert (moved.status, moved.json["id"]) == (200, first)
    assert said(fleet, name) == ["smaller", None]
    assert len(fleet.admin("GET", f"/services/{name}").json["handlers"]) == 4
    assert fleet.operate(running, "kill").status == 200


def test_definitions_are_overwritten_where_they_are(fleet: Subject, name: str) -> None:
    """No revision rises, and what another deployment serves by now stays there."""
    first = register(fleet, "one", name).json["id"]
    change = {"uri": address(fleet, "smaller", name), "overwrite": True}
    assert fleet.admin("PATCH", f"/deployments/{first}", change).status == 200
    shown = fleet.admin("GET", f"/services/{name}").json
    assert (len(shown["handlers"]), shown["revision"]) == (1, 1)
    register(fleet, "two", name)
    assert revision(fleet, name) == 2
    change["uri"] = address(fleet, "one", name)
    changed = fleet.admin("PATCH", f"/deployments/{first}", change).json["services"]
    assert [(service["revision"], len(service["handlers"])) for service in changed] == [(1, 4)]
    assert revision(fleet, name) == 2
    assert said(fleet, name) == ["two", None]


def test_overwriting_at_the_same_address(fleet: Subject, name: str) -> None:
    first = register(fleet, "one", name).json["id"]
    fleet.admin("PATCH", f"/deployments/{first}", {"uri": address(fleet, "smaller", name)})
    fleet.admin("PATCH", f"/deployments/{first}", {"overwrite": True})
    handlers = fleet.admin("GET", f"/services/{name}").json["handlers"]
    assert len(handlers) == fleet.differs("overwrite-alone", rewake=1, restate=4)


def test_headers_of_a_deployment_are_changed_as_a_whole(fleet: Subject, name: str) -> None:
    first = register(fleet, "one", name, additional_headers={"x-team": "claims", "x-b": "c"}).json["id"]
    changed = fleet.admin("PATCH", f"/deployments/{first}", {"additional_headers": {"x-team": "others"}})
    assert changed.json["additional_headers"] == {"x-team": "others"}
    assert said(fleet, name) == ["one", "others"]
    same = fleet.admin("PATCH", f"/deployments/{first}", {})
    assert (same.status, same.json["additional_headers"]) == (200, {"x-team": "others"})


def test_a_change_that_cannot_be_made_changes_nothing(fleet: Subject, name: str) -> None:
    first = register(fleet, "one", name).json["id"]
    before = fleet.admin("GET", f"/deployments/{first}").json
    refused = fleet.admin("PATCH", f"/deployments/{first}", {"uri": f"http://127.0.0.1:{free_port()}"})
    assert (refused.status, refused.json["restate_code"]) == (500, "META0003")
    dry = fleet.admin("PATCH", f"/deployments/{first}", {"uri": address(fleet, "two", name), "dry_run": True})
    assert dry.status == 200
    after = fleet.admin("GET", f"/deployments/{first}").json
    assert after["uri"] == before["uri"]
    assert said(fleet, name) == ["one", None]
    assert fleet.admin("PATCH", f"/deployments/{UNKNOWN_DEPLOYMENT}", {}).status == 404


# Removal


def test_removal_of_the_latest_brings_the_one_before_back(fleet: Subject, name: str) -> None:
    register(fleet, "one", name)
    register(fleet, "smaller", name)
    third = register(fleet, "two", name).json["id"]
    assert fleet.admin("DELETE", f"/deployments/{third}?force=true").status == 202
    assert said(fleet, name) == ["smaller", None]
    assert revision(fleet, name) == 2
    assert len(fleet.admin("GET", f"/services/{name}").json["handlers"]) == 1


def test_a_removed_deployment_takes_its_services_along(fleet: Subject, name: str) -> None:
    first = register(fleet, "one", name).json["id"]
    removed = fleet.admin("DELETE", f"/deployments/{first}?force=true")
    assert (removed.status, removed.body) == (202, b"")
    assert fleet.admin("GET", f"/deployments/{first}").status == 404
    assert fleet.admin("DELETE", f"/deployments/{first}?force=true").status == 404
    assert revision(fleet, name) is None
    gone = fleet.call(f"{name}/hello")
    assert (gone.status, gone.json["message"]) == (
        404,
        f"service '{name}' not found, make sure to register the service before calling it.",
    )


def test_a_removed_deployment_is_waited_for(fleet: Subject, name: str) -> None:
    """By what had not begun, until the service is registered again."""
    first = register(fleet, "one", name).json["id"]
    waiting = fleet.send(f"{name}/hello", delay="300ms")
    assert fleet.admin("DELETE", f"/deployments/{first}?force=true").status == 202
    fleet.failing(waiting, "RT0011")
    register(fleet, "two", name)
    assert fleet.operate(waiting, "resume").status in (200, 409)
    assert fleet.result(waiting) == ["two", None]


def test_what_is_pinned_moves_to_another_deployment(fleet: Subject, name: str) -> None:
    first = register(fleet, "one", name).json["id"]
    running = fleet.send(f"{name}/held")
    fleet.reaches(running, "suspended")
    second = register(fleet, "two", name).json["id"]
    assert fleet.operate(running, "resume", deployment=second).status == 200
    outcome(fleet.call(f"{name}/signal", running))
    assert fleet.result(running) == "one two"
    assert (fleet.invocation(running) or {})["pinned_deployment_id"] == second
    assert fleet.admin("DELETE", f"/deployments/{first}?force=true").status == 202


@pytest.mark.parametrize(("deployment", "expected"), [("latest", "two two"), ("keep", "one one")])
def test_a_restart_chooses_its_deployment(fleet: Subject, name: str, deployment: str, expected: str) -> None:
    register(fleet, "one", name)
    first = fleet.send(f"{name}/held")
    fleet.reaches(first, "suspended")
    outcome(fleet.call(f"{name}/signal", first))
    assert fleet.result(first) == "one one"
    register(fleet, "two", name)
    new_id = fleet.operate(first, "restart-as-new", deployment=deployment).json["new_invocation_id"]
    fleet.reaches(new_id, "suspended")
    outcome(fleet.call(f"{name}/signal", new_id))
    assert fleet.result(new_id) == expected


# Deployments that answer what they should not: an attempt fails, the invocation goes on trying


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("status401", "RT0012"),
        ("status404", "RT0012"),
        ("status413", "RT0019"),
        ("status415", "RT0015"),
        ("status429", "RT0023"),
        ("status500", "RT0012"),
        ("status502", "RT0010"),
        ("status503", "RT0023"),
        ("status504", "RT0010"),
        ("another_type", "RT0012"),
        ("nothing", "RT0007"),
        ("unknown_type", "RT0012"),
        ("not_from_an_sdk", "RT0012"),
        ("bad_payload", "RT0012"),
        ("oversize", "RT0003"),
        ("cut_off", "RT0007"),
    ],
)
def test_an_attempt_fails_with_the_code_of_its_fault(fleet: Subject, name: str, fault: str, code: str) -> None:
    deployment = register(fleet, "broken", name).json["id"]
    invocation_id = fleet.send(f"{name}/{fault}")
    row = fleet.failing(invocation_id, code)
    assert row["status"] in ("backing-off", "running")
    assert fleet.journal(invocation_id) == ["Input"]
    if fault == "status429":  # the policy says 20 ms
        row = fleet.reaches(invocation_id, "backing-off")
        wait = datetime.fromisoformat(row["next_retry_at"]) - datetime.fromisoformat(row["modified_at"])
        assert wait.total_seconds() > RETRY_AFTER_S - 60
    assert fleet.operate(invocation_id, "kill").status == 200
    assert fleet.admin("DELETE", f"/deployments/{deployment}?force=true").status == 202


@pytest.mark.parametrize("engine_kind", ["rewake"])  # it ends the public server
def test_an_end_without_an_output_is_a_failed_attempt(fleet: Subject, name: str) -> None:
    register(fleet, "broken", name)
    invocation_id = fleet.send(f"{name}/no_output")
    fleet.failing(invocation_id, "RT0012")
    assert fleet.operate(invocation_id, "kill").status == 200


def test_an_app_that_encrypts_its_values(fleet: Subject, name: str) -> None:
    """Neither engine sees them, and both hand them back as they were."""
    assert register(fleet, "sealed", name).status == 201
    values = Values(KEYRING)
    for count in (1, 2):
        answer = fleet.call(
            f"{name}/ada/hello", values.seal(b'"Lovelace"'), headers={"content-type": "application/json"}
        )
        assert (answer.status, is_sealed(answer.body)) == (200, True), answer.body
        assert values.open(answer.body).decode() == f'"hello Lovelace of {["Lovelace"] * count}"'
    (state,) = fleet.state(name, "ada").values()
    assert values.open(state) == b'["Lovelace", "Lovelace"]'
    rows = fleet.query(
        f"select raw from sys_journal where id in (select id from sys_invocation where target_service_name = '{name}')"
    )
    journal = b"".join(bytes.fromhex(row["raw"]) for row in rows)
    assert b"say" in journal
    assert b"Lovelace" not in journal
