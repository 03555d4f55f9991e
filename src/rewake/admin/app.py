"""The admin app: every path bare and under /v2 to /v4, errors in the admin shape, compression only when asked for.

`build_admin` gives an ASGI app; the UI is given as extra routes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from rewake.access.coverage import covering
from rewake.access.gate import GATE_IN_SCOPE, MISSING, TOKEN_IN_SCOPE, Gate, role_missing, services_missing
from rewake.access.tokens import Role, Token
from rewake.admin.about import API_VERSION_MAX, API_VERSION_MIN, PUBLIC_VERSION, About
from rewake.admin.approval_links import ApprovalPages
from rewake.admin.approvals import Approvals
from rewake.admin.covered import covered_engine
from rewake.admin.deployments import Deployments
from rewake.admin.engine_port import EnginePort
from rewake.admin.invocations import REFUSALS, Invocations
from rewake.admin.openapi import admin_openapi
from rewake.admin.query import Queries
from rewake.admin.reading import reader_of
from rewake.admin.refusals import (
    Refused,
    Undecodable,
    engine_failed,
    manifest_refused,
    refused_response,
    undecodable_response,
)
from rewake.admin.requests import json_response
from rewake.admin.roles import SIGN_IN, is_by_service, role_needed
from rewake.admin.services import Services
from rewake.errors import ErrorCode, RewakeError
from rewake.http_server.origins import Door
from rewake.protocol.discovery import ManifestError

COMPRESSED_BYTES_MIN: Final = 1024

_VERSIONS: Final = range(API_VERSION_MIN, API_VERSION_MAX + 1)

Endpoint = Callable[[Request], Awaitable[Response]]

log = structlog.get_logger("rewake.admin")


def build_admin(
    engine: EnginePort,
    *,
    ingress_url: str,
    extra_routes: Sequence[BaseRoute] = (),
    door: Door | None = None,
    gate: Gate | None = None,
) -> ASGIApp:
    """The admin API of `engine`.

    ingress_url: for clients that want to call handlers.   door: from which pages and by which names.   gate: who may
    come in; None lets in everybody.
    """
    table = _table(covered_engine(engine, reader_of(engine)), ingress_url)
    routes: list[BaseRoute] = [_route(path, methods) for path, methods in table.items()]
    operations = [
        (path, method, (endpoint.__doc__ or "").partition(".")[0])
        for path, methods in table.items()
        for method, endpoint in methods.items()
    ]

    async def describe(request: Request) -> Response:
        return json_response(admin_openapi(operations, PUBLIC_VERSION))

    routes.append(_route("/openapi", {"GET": describe}))
    if any(isinstance(route, Mount) and route.path == "/ui" for route in extra_routes):
        routes += [_route(path, {"GET": _to_ui}) for path in ("/", "/ui")]
    app = Starlette(
        routes=[*routes, *extra_routes],
        middleware=[Middleware(GZipMiddleware, minimum_size=COMPRESSED_BYTES_MIN)],
        exception_handlers=_EXCEPTION_HANDLERS,
    )
    app.router.redirect_slashes = False
    return Guarded(Versioned(app), door or Door(), gate)


class Guarded:
    """Lets in what door and gate allow. Links to pages may be followed from anywhere: GET changes nothing."""

    def __init__(self, app: ASGIApp, door: Door, gate: Gate | None = None) -> None:
        self._app = app
        self._door = door
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            refusal = self._door.refusal(headers, is_navigation_safe=scope["method"] in {"GET", "HEAD"})
            if refusal is not None:
                refused = Refused(403, refusal.code, refusal.message, refusal.hint)
                await refused_response(refused)(scope, receive, send)
                return
            if self._gate is not None and (answer := _let_in(scope, headers, self._gate)) is not None:
                await answer(scope, receive, send)
                return
        token: Token | None = scope.get(TOKEN_IN_SCOPE)
        with covering(() if token is None else token.services):
            await self._app(scope, receive, send)


def _let_in(scope: Scope, headers: dict[str, str], gate: Gate) -> Response | None:
    """The refusal of a request, None when it is allowed. Pages send people to the sign-in."""
    method, path = scope["method"], scope["path"]
    token = gate.holder(headers) or gate.sign_ins.holder(headers.get("cookie", ""))
    scope[GATE_IN_SCOPE], scope[TOKEN_IN_SCOPE] = gate, token
    needed = role_needed(method, path)
    if needed is None or (token is not None and token.allows(needed)):
        if token is not None and token.services and needed is not None and not is_by_service(path, token.covers):
            return refused_response(Refused(403, *services_missing(token, path)))
        if token is not None and needed not in (None, Role.READ):
            log.info("admin_request", token=token.name, method=method, path=path)
        return None
    if (path.startswith("/ui") or path == "/") and "text/html" in headers.get("accept", ""):
        return RedirectResponse(f"{SIGN_IN}?{urlencode({'needs': needed, 'next': path})}", 303)
    if token is None:
        return refused_response(Refused(401, *MISSING), {"www-authenticate": 'Bearer realm="rewake"'})
    return refused_response(Refused(403, *role_missing(token, needed)))


class Versioned:
    """Takes the version prefix off the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            first, slash, rest = scope["path"][1:].partition("/")
            if first == "v1":
                await _unsupported_version()(scope, receive, send)
                return
            if first[:1] == "v" and len(first) < 5 and first[1:].isdecimal() and int(first[1:]) in _VERSIONS:
                scope = {**scope, "path": slash + rest, "admin_version": int(first[1:])}
        await self._app(scope, receive, send)


def _table(engine: EnginePort, ingress_url: str) -> dict[str, dict[str, Endpoint]]:
    """Path -> method -> endpoint."""
    about, queries = About(engine, ingress_url), Queries(engine)
    services, deployments, invocations = Services(engine, ingress_url), Deployments(engine), Invocations(engine)
    approvals, approval_pages = Approvals(engine), ApprovalPages(engine)
    return {
        "/health": {"GET": about.health},
        "/version": {"GET": about.version},
        "/cluster-health": {"GET": about.cluster_health},
        "/services": {"GET": services.list},
        "/services/{service}": {"GET": services.get, "PATCH": services.patch},
        "/services/{service}/handlers": {"GET": services.handlers},
        "/services/{service}/handlers/{handler}": {"GET": services.handler},
        "/services/{service}/openapi": {"GET": services.openapi},
        "/services/{service}/state": {"POST": services.modify_state},
        "/services/{service}/promises": {"POST": services.complete_promise},
        "/deployments": {"GET": deployments.list, "POST": deployments.register},
        "/deployments/{deployment}": {
            "GET": deployments.get,
            "PATCH": deployments.update,
            "PUT": deployments.replace,
            "DELETE": deployments.delete,
        },
        **{f"/invocations/{{invocation_id}}/{name}": {"PATCH": invocations.operation(name)} for name in REFUSALS},
        "/invocations/{invocation_id}/stream": {"GET": invocations.stream},
        "/invocations/{invocation_id}": {"DELETE": invocations.delete},
        "/internal/invocations_batch_operations/{operation}": {"POST": invocations.batch},
        "/approvals": {"GET": approvals.list},
        "/approvals/{approval}": {"GET": approvals.get},
        "/approvals/{approval}/approve": {"POST": approvals.approve},
        "/approvals/{approval}/deny": {"POST": approvals.deny},
        "/approvals/{approval}/link": {"POST": approvals.link},
        "/approve/{link}": {"GET": approval_pages.show, "POST": approval_pages.answer},
        "/query": {"POST": queries.run},
        "/limits/rules": {"PUT": about.no_flow_control},
        "/limits/rules/bulk-delete": {"POST": about.no_flow_control},
        "/vqueues/{vqueue}/{operation}": {"POST": about.no_flow_control},
        "/subscriptions": {"GET": about.subscriptions, "POST": about.no_kafka},
        "/subscriptions/{subscription}": {"GET": about.subscription, "DELETE": about.subscription},
        "/kafka-clusters": {"GET": about.kafka_clusters, "POST": about.no_kafka},
        "/kafka-clusters/{name}": {"GET": about.kafka_cluster, "DELETE": about.kafka_cluster},
    }


def _route(path: str, methods: dict[str, Endpoint]) -> Route:
    """One route for all methods of a path, so that a wrong method learns all the right ones."""

    async def dispatch(request: Request) -> Response:
        return await methods["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, dispatch, methods=list(methods))


async def _to_ui(request: Request) -> Response:
    return RedirectResponse("/ui/", 308)


def _unsupported_version() -> Response:
    text = (
        "Unsupported Admin API version V1."
        f" This server supports versions between V{API_VERSION_MIN} and V{API_VERSION_MAX}."
    )
    return Response(text, 400, media_type="text/plain")


# Errors


async def _on_http_error(request: Request, error: Any) -> Response:
    """Unknown path and wrong method: empty, as from the public server."""
    assert isinstance(error, HTTPException)
    return Response(status_code=error.status_code, headers=dict(error.headers or {}))


async def _on_refused(request: Request, error: Any) -> Response:
    return refused_response(error)


async def _on_undecodable(request: Request, error: Any) -> Response:
    return undecodable_response(error)


async def _on_manifest_error(request: Request, error: Any) -> Response:
    return manifest_refused(error)


async def _on_rewake_error(request: Request, error: Any) -> Response:
    response = engine_failed(error)
    if response.status_code == 503:
        log.warning("request_failed", path=request.url.path, code=error.code.value, error=error.message)
    return response


async def _on_caller_gone(request: Request, error: Any) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _on_bug(request: Request, error: Any) -> Response:
    message = f"The request failed inside the engine: {error!r}."
    return engine_failed(RewakeError(ErrorCode.ENGINE_BUG, message, "Please report this with the log."))


_EXCEPTION_HANDLERS: Final[dict[Any, Callable[[Request, Any], Awaitable[Response]]]] = {
    HTTPException: _on_http_error,
    Refused: _on_refused,
    Undecodable: _on_undecodable,
    ManifestError: _on_manifest_error,
    RewakeError: _on_rewake_error,
    ClientDisconnect: _on_caller_gone,
    Exception: _on_bug,
}
