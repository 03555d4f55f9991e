"""The HTTP routes of the scripted model server: the providers' routes, and the control routes under `/_`.

Provider routes parse, ask the script and render. Through control routes a test in another process or language counts,
holds and releases calls; client.py is the Python client for them. Started by server.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import asdict
from types import ModuleType
from typing import Any, cast

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .apis import Api, JsonObject, chat, gemini, responses
from .request import ModelRequest
from .rules import Failure
from .script import Exchange, NoRuleMatches, Script

WAIT_DEFAULT_S = 30.0
HANG_UP_GRACE_S = 0.05
_AZURE_PREFIXES = ("/openai", "/openai/deployments/{deployment}")  # Azure's client puts them before a path
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def make_app(script: Script) -> Starlette:
    """The ASGI app over a script."""

    async def openai_responses(request: Request) -> Response:
        return await _openai(request, script, responses)

    async def openai_chat(request: Request) -> Response:
        return await _openai(request, script, chat)

    async def gemini_content(request: Request) -> Response:
        return await _gemini(request, script)

    provider_routes = [
        Route(f"{prefix}{path}", handler, methods=["POST"])
        for prefix in ("/v1", "", *_AZURE_PREFIXES)
        for path, handler in (("/responses", openai_responses), ("/chat/completions", openai_chat))
    ]
    gemini_route = Route("/{version}/models/{call}", gemini_content, methods=["POST"])
    routes = [*_control_routes(script), *provider_routes, gemini_route]
    return Starlette(routes=routes, exception_handlers={ClientDisconnect: _nobody_listens})


async def _nobody_listens(_: Request, __: Exception) -> Response:
    """The client was killed while it sent its request. The call does not count, and nobody reads this response."""
    return Response(status_code=499)


async def _openai(http: Request, script: Script, module: ModuleType) -> Response:
    api = _api(module)
    try:
        body = await _json_body(http)
    except ValueError as problem:
        return JSONResponse(api.error(400, str(problem)), 400)
    request = api.parse(body, str(body.get("model", "")), bool(body.get("stream")))
    return await _answer(http, script, api, request)


async def _gemini(http: Request, script: Script) -> Response:
    api = _api(gemini)
    model, _, method = str(http.path_params["call"]).partition(":")
    if method not in ("generateContent", "streamGenerateContent"):
        return JSONResponse(api.error(404, f"The scripted model server does not know the method {method!r}."), 404)
    try:
        body = await _json_body(http)
    except ValueError as problem:
        return JSONResponse(api.error(400, str(problem)), 400)
    return await _answer(http, script, api, api.parse(body, model, method == "streamGenerateContent"))


async def _answer(http: Request, script: Script, api: Api, request: ModelRequest) -> Response:
    try:
        exchange = script.take(request)
    except NoRuleMatches as problem:
        return JSONResponse(api.error(400, str(problem)), 400)
    if not await _client_waits(http, script, exchange):
        script.finish(exchange, "abandoned")
        return JSONResponse(api.error(503, "The scripted model server stops."), 503)
    answer = exchange.answer
    assert answer is not None, "a chosen rule has an answer"
    if isinstance(answer, Failure):
        script.finish(exchange, "failed")
        headers = {} if answer.retry_after_s is None else {"retry-after": f"{answer.retry_after_s:g}"}
        return JSONResponse(api.error(answer.status, answer.message), answer.status, headers)
    script.finish(exchange, "answered")
    if request.is_stream:
        events = _paced(script, exchange, api.stream(request, answer, script.ids))
        return StreamingResponse(events, media_type="text/event-stream")
    return JSONResponse(api.respond(request, answer, script.ids))


async def _paced(script: Script, exchange: Exchange, events: Iterator[str]) -> AsyncIterator[str]:
    """The events of a streamed answer, at the rule's pace."""
    for number, event in enumerate(events):
        if not await script.pass_event(exchange, number):
            return
        yield event


async def _client_waits(http: Request, script: Script, exchange: Exchange) -> bool:
    """Wait at the gate; False if the client hangs up first, or the server stops."""
    passed = asyncio.ensure_future(script.pass_gate(exchange))
    left = asyncio.ensure_future(_disconnected(http))
    try:
        await asyncio.sleep(0)
        if not passed.done():
            await asyncio.wait((passed, left), return_when=asyncio.FIRST_COMPLETED)
            # If a test kills a client and then releases the call, the call must count as abandoned. The kernel may
            # report the hang-up a moment after the release.
            await asyncio.wait((left,), timeout=HANG_UP_GRACE_S)
        return not left.done() and passed.result()
    finally:
        passed.cancel()
        left.cancel()
        await asyncio.gather(passed, left, return_exceptions=True)


async def _disconnected(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


async def _json_body(http: Request) -> JsonObject:
    try:
        body = await http.json()
    except ValueError as problem:
        raise ValueError(f"The body is not JSON: {problem}") from problem
    if not isinstance(body, dict):
        raise ValueError("The body is not a JSON object.")
    return body


def _api(module: ModuleType) -> Api:
    # A module with these four functions is a Api; mypy checks modules against protocols only by name.
    return cast(Api, module)


def _control_routes(script: Script) -> list[Route]:
    async def requests(http: Request) -> Response:
        wanted = http.query_params.get("rule")
        found = [exchange for exchange in script.exchanges() if wanted is None or exchange.rule == wanted]
        return JSONResponse([exchange_json(exchange) for exchange in found])

    async def counts(_: Request) -> Response:
        return JSONResponse({name: asdict(count) for name, count in script.counts().items()})

    async def hold(http: Request) -> Response:
        script.hold(http.path_params["rule"])
        return JSONResponse({"held": True})

    async def release(http: Request) -> Response:
        script.release(http.path_params["rule"])
        return JSONResponse({"held": False})

    async def reset(_: Request) -> Response:
        script.reset()
        return JSONResponse({})

    async def wait(http: Request) -> Response:
        return await _wait(http, script)

    async def health(_: Request) -> Response:
        return JSONResponse({"rules": [rule.name for rule in script.rules]})

    return [
        Route("/_health", health),
        Route("/_requests", requests),
        Route("/_counts", counts),
        Route("/_wait/{rule}", _guarded(wait)),
        Route("/_hold/{rule}", _guarded(hold), methods=["POST"]),
        Route("/_release/{rule}", _guarded(release), methods=["POST"]),
        Route("/_reset", reset, methods=["POST"]),
    ]


async def _wait(http: Request, script: Script) -> Response:
    """Answer once the rule has so many calls held (default 1), asked or answered; 408 after `timeout_s`."""
    rule = http.path_params["rule"]
    gate = script.gate(rule)
    wanted = {key: int(http.query_params[key]) for key in ("held", "asked", "answered") if key in http.query_params}
    held = wanted.pop("held", 0 if wanted else 1)

    def is_there() -> bool:
        count = asdict(script.count(rule))
        return gate.reached >= held and all(count[key] >= number for key, number in wanted.items())

    timeout_s = float(http.query_params.get("timeout_s", WAIT_DEFAULT_S))
    status = 200
    try:
        await asyncio.wait_for(script.wait_until(is_there), timeout_s)
    except TimeoutError:
        status = 408
    return JSONResponse({"held": gate.reached, "waiting": gate.waiting} | asdict(script.count(rule)), status)


def _guarded(handler: Handler) -> Handler:
    async def guarded(http: Request) -> Response:
        try:
            return await handler(http)
        except ValueError as problem:
            return JSONResponse({"error": str(problem)}, 404)

    return guarded


def exchange_json(exchange: Exchange) -> JsonObject:
    """A record in the form of the control API."""
    request = exchange.request
    return {
        "number": exchange.number,
        "rule": exchange.rule,
        "outcome": exchange.outcome,
        "at_ms": exchange.at_ms,
        "api": request.api,
        "model": request.model,
        "system": request.system,
        "last_user_text": request.last_user_text,
        "tools": list(request.tools),
        "tool_results": [asdict(result) for result in request.tool_results],
        "messages": [asdict(message) for message in request.messages],
        "body": request.body,
    }
