"""Which role each route of the admin port needs; a route that nobody thought of takes an administrator."""

from __future__ import annotations

import pytest

from rewake.access.tokens import Role
from rewake.admin.app import _table
from rewake.admin.roles import is_by_service, role_needed


@pytest.mark.parametrize(
    ("request_line", "needed"),
    [
        ("GET /health", None),
        ("GET /v3/health", None),
        ("GET /ui/static/abc/ui.css", None),
        ("POST /ui/sign-in", None),
        ("GET /services", Role.READ),
        ("GET /metrics", Role.READ),
        ("GET /ui/runs/inv_1", Role.READ),
        ("POST /query", Role.READ),
        ("PATCH /invocations/inv_1/cancel", Role.OPERATE),
        ("PATCH /v4/invocations/inv_1/kill", Role.OPERATE),
        ("DELETE /invocations/inv_1", Role.OPERATE),
        ("POST /internal/invocations_batch_operations/purge", Role.OPERATE),
        ("POST /approvals/sign_1x/approve", Role.OPERATE),
        ("POST /services/Desk/state", Role.OPERATE),
        ("POST /ui/actions", Role.OPERATE),
        ("POST /ui/runs/inv_1/fork", Role.OPERATE),
        ("POST /ui/sessions/Desk/state", Role.OPERATE),
        ("POST /ui/services/Desk/message", Role.CALL),
        ("POST /deployments", Role.ADMIN),
        ("DELETE /deployments/dp_1", Role.ADMIN),
        ("PATCH /services/Desk", Role.ADMIN),
        ("POST /ui/deployments/dp_1/remove", Role.ADMIN),
        ("POST /unheard-of", Role.ADMIN),
        ("POST /health", None),
        ("POST /healthy", Role.ADMIN),
        ("POST //invocations/x", Role.ADMIN),
    ],
)
def test_roles(request_line: str, needed: Role | None) -> None:
    method, path = request_line.split()
    assert role_needed(method, path) is needed


def test_nothing_of_the_admin_api_changes_anything_for_a_reader() -> None:
    changing = {
        (method, path)
        for path, methods in _table(object(), "").items()  # type: ignore[arg-type]
        for method in methods
        if method != "GET" and path != "/query" and not path.startswith("/approve/")  # a signed link is its own token
    }
    assert changing
    assert {role_needed(method, path) for method, path in changing} == {Role.OPERATE, Role.ADMIN}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v4/services",
        "/services/A",
        "/v3/services/A/handlers/h",
        "/services/A/state",
        "/invocations/inv_1/cancel",
        "/invocations/inv_1/stream",
        "/internal/invocations_batch_operations/kill",
        "/approvals",
        "/approvals/sign_1/approve",
        "/version",
        "/ui",
        "/ui/",
        "/ui/runs/inv_1/agents",
        "/ui/services",
        "/ui/services/A/h",
        "/ui/sessions",
        "/ui/sessions/A/state",
        "/ui/approvals",
        "/ui/confirm",
        "/ui/actions",
    ],
)
def test_a_token_for_some_services_may_use_what_is_by_service(path: str) -> None:
    assert is_by_service(path, {"A"}.__contains__)
    assert is_by_service(path, set().__contains__) is not ("/A" in path)


@pytest.mark.parametrize(
    "path",
    [
        "/query",
        "/v4/query",
        "/deployments",
        "/deployments/dp_1",
        "/metrics",
        "/cluster-health",
        "/subscriptions",
        "/ui/deployments",
        "/ui/patterns",
        "/services/AB",
        "/ui/services/B/A",
        "/ui/sessions/B",
        "/versions",
        "/unheard-of",
        "//services/A",
    ],
)
def test_the_whole_engine_and_other_services_are_for_other_tokens(path: str) -> None:
    assert not is_by_service(path, {"A"}.__contains__)
