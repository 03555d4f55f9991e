"""Ingress: one object that answers every request of callers, over any transport.

`handle` raises only when it is cancelled: mistakes of callers and failures of the engine become answers. If a caller
leaves, only the waiting is cancelled; the invocation goes on.
"""

from __future__ import annotations

import sys
from typing import Final, Protocol

import msgspec
import structlog

from rewake.access.gate import service_missing
from rewake.access.tokens import Token
from rewake.errors import ErrorCode, RewakeError
from rewake.ingress import calls, results, streaming
from rewake.ingress.message import JSON, Request, Response
from rewake.ingress.paths import (
    AwakeableRoute,
    BodyRoute,
    CallRoute,
    HealthRoute,
    ResultRoute,
    Route,
    StreamRoute,
    parse_path,
)
from rewake.ingress.refusals import Refused, engine_failed, method_not_allowed, overloaded

BODY_BYTES_MAX: Final = 32 * 1024 * 1024
"""The public server's limit; transports refuse longer bodies (http-api.md 1.4)."""

_MAKING_ROOM: Final = ("/restate/a/", "/restate/awakeables/")
"""Paths of answers that open calls may wait for: the limit on concurrent requests does not apply to them."""

log = structlog.get_logger("rewake.ingress")


class IngressEngine(calls.CallsEngine, results.ResultsEngine, streaming.StreamingEngine, Protocol):
    """The engine's methods that the ingress uses."""

    @property
    def problem(self) -> RewakeError | None: ...


class Ingress:
    """Answers requests on an engine.

    concurrency_max: requests at once, waiting callers included; further ones are answered with 429. None: no limit.
    held_bytes_max: bytes of their bodies that have arrived; above it the same answer.
    """

    def __init__(
        self, engine: IngressEngine, *, concurrency_max: int | None = None, held_bytes_max: int | None = None
    ) -> None:
        self._services = engine
        self._calls = calls.Calls(engine)
        self._results = results.Results(engine, self._calls)
        self.streaming = streaming.Streaming(engine)
        self._concurrency_max = concurrency_max
        self._held_bytes_max = sys.maxsize if held_bytes_max is None else held_bytes_max
        self._in_flight = 0
        self._held_bytes = 0

    async def handle(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(200)
        self._in_flight += 1
        try:
            response = await self._answer(request)
        except Refused as refused:
            response = refused.response()
        except RewakeError as error:
            log.warning("request_failed", path=request.path, code=error.code.value, error=error.message)
            response = engine_failed(error)
        except Exception as error:
            log.exception("request_failed", path=request.path)
            response = engine_failed(_bug(error))
        finally:
            self._in_flight -= 1
        return response

    def hold(self, count: int) -> None:
        """Count bytes of a body that arrived or (negative) were released; above the limit also raise Refused."""
        self._held_bytes += count
        if count > 0 and self._held_bytes > self._held_bytes_max:
            raise overloaded("open-mib-max")

    async def _answer(self, request: Request) -> Response:
        is_full = self._concurrency_max is not None and self._in_flight > self._concurrency_max
        if is_full and not request.path.startswith(_MAKING_ROOM):
            raise overloaded("open-calls-max")
        route = parse_path(request.path, self._services.services)
        if request.token is not None and request.token.services:
            check_services(request.token, route)
        match route:
            case CallRoute():
                return await self._calls.handle(route, request)
            case ResultRoute():
                return await self._results.by_path(route, request)
            case StreamRoute():
                return await self.streaming.by_path(route, request)
            case BodyRoute():
                return await self._results.by_body(route, request)
            case AwakeableRoute():
                return await self._results.complete_awakeable(route, request)
            case HealthRoute():
                return self._health(request)

    def _health(self, request: Request) -> Response:
        if request.method != "GET":
            raise method_not_allowed()
        if (problem := self._services.problem) is not None:
            return engine_failed(problem)
        names = [name for name in self._services.services if request.token is None or request.token.covers(name)]
        return Response(200, JSON, msgspec.json.encode({"services": names}))


def check_services(token: Token, route: Route) -> None:
    """Raises Refused if the token does not cover the services of the route.

    An invocation's id cannot be guessed, so whoever has it may use its paths. A path that names an invocation by its
    target can be guessed, so the token must cover that service.
    """
    if isinstance(route, CallRoute):
        if not token.covers(route.service.name):
            raise Refused(403, *service_missing(token, route.service.name))
    elif isinstance(route, BodyRoute) or (
        isinstance(route, ResultRoute | StreamRoute) and route.invocation_id is not None
    ):
        message = f"The token {token.name!r} is for {', '.join(token.services)}; results by target could be anybody's."
        raise Refused(403, ErrorCode.ROLE_MISSING, message, "Ask by the invocation's id.")


def _bug(error: Exception) -> RewakeError:
    message = f"The request failed inside the engine: {error!r}."
    return RewakeError(ErrorCode.ENGINE_BUG, message, "Please report this with the log.")
