"""The routes that front ends expect, as an ASGI app: beside the engine, or mounted in a program's own.

    POST {prefix}                      `useChat`: a message, or answers to approvals; the answer streams
    GET  {prefix}/{chat}/stream        `useChat` resumes: the turn under way from its beginning, or 204
    GET  {prefix}/{chat}               the conversation: {"messages": [...], "status": "waiting", "turn": "msg_1"}
    POST {prefix}/{chat}/stop          stop the turn under way
    POST {prefix}/{chat}/approvals/ID  {"approved": true, "reason": "..."}
    POST {prefix}/ag-ui                AG-UI: a run
    GET  {prefix}/{chat}/events        plain JSON events of the turn under way

Requests have JSON bodies with their content type, so that no page of another site can send one unasked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rewake.ext.chat.following import Following, Record, awakeables_of, find, waiting_parts
from rewake.ext.chat.formats import ag_ui, ai_sdk, plain
from rewake.ext.chat.ingress import EngineUnavailable, Ingress, Refused

Authorize = Callable[[Request, str], Awaitable[str | None]]
"""Raises starlette's HTTPException unless the caller may use the chat of this id. Gives the caller's name, if known."""

BODY_BYTES_MAX: Final = 4 * 1024 * 1024
CHAT_ID_MAX: Final = 200
_QUIET_S: Final = 15.0
_OPEN: Final = ("running", "waiting")


class _Problem(Exception):
    """An answer that is an error: {"code": 400, "message": "..."}."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Routes:
    """The endpoints of one chat."""

    def __init__(self, ingress: Ingress, authorize: Authorize | None, allowed_origins: Iterable[str]) -> None:
        self._ingress, self._authorize = ingress, authorize
        self._allowed_origins = frozenset(origin.lower().rstrip("/") for origin in allowed_origins)

    def routes(self, prefix: str) -> list[Route]:
        """All of them, below a path such as `/api/chat`."""
        return [
            Route(path, self._guarded(endpoint), methods=[method])
            for method, path, endpoint in (
                ("POST", prefix, self.post),
                ("POST", f"{prefix}/ag-ui", self.ag_ui),
                ("GET", f"{prefix}/{{chat}}", self.get),
                ("GET", f"{prefix}/{{chat}}/stream", self.resume),
                ("GET", f"{prefix}/{{chat}}/events", self.plain),
                ("POST", f"{prefix}/{{chat}}/stop", self.stop),
                ("POST", f"{prefix}/{{chat}}/approvals/{{approval}}", self.approve),
            )
        ]

    def _guarded(self, endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            try:
                self._check_origin(request)
                return await endpoint(request)
            except _Problem as problem:
                return _problem(problem.status, str(problem))
            except Refused as refused:
                return _problem(refused.status, str(refused))
            except EngineUnavailable as problem:
                return _problem(503, str(problem))

        return guarded

    def _check_origin(self, request: Request) -> None:
        origin = request.headers.get("origin")
        if origin is not None:
            is_own = urlsplit(origin).netloc == request.headers.get("host", "")
            is_foreign = not is_own and origin.lower() not in self._allowed_origins
        else:
            is_foreign = request.headers.get("sec-fetch-site") == "cross-site"
        if is_foreign:
            raise _Problem(403, "A page of another site sent the request. allowed_origins of the chat lets it in.")

    async def _allowed(self, request: Request, chat: Any) -> tuple[str, str | None]:
        """The id of the chat, and the caller's name. Raises for a chat that the caller may not use."""
        if not isinstance(chat, str) or not 0 < len(chat) <= CHAT_ID_MAX:
            raise _Problem(400, f"The id of a chat is a text of 1 to {CHAT_ID_MAX} characters.")
        return chat, None if self._authorize is None else await self._authorize(request, chat)

    # The AI SDK

    async def post(self, request: Request) -> Response:
        """A message, or answers to approvals."""
        body = await _body(request)
        chat, who = await self._allowed(request, body.get("id"))
        last = (body.get("messages") or [{}])[-1]
        if not isinstance(last, dict):
            raise _Problem(400, "messages holds no message.")
        if last.get("role") == "user":
            following = await self._say(chat, last.get("id"), _text_of(last.get("parts")))
        elif body.get("trigger") == "regenerate-message":
            raise _Problem(400, "An answer that was given is not given anew: send another message.")
        else:
            following = await self._answer(chat, ai_sdk.answers_of(last), who)
        return self._ui_stream(following)

    async def resume(self, request: Request) -> Response:
        """The turn under way, from its beginning."""
        chat, _ = await self._allowed(request, request.path_params["chat"])
        record = await self._last(chat)
        if record is None or record["status"] not in _OPEN:
            return Response(status_code=204)
        return self._ui_stream(Following(self._ingress, chat, record))

    def _ui_stream(self, following: Following) -> Response:
        stream = ai_sdk.UiMessageStream()

        async def lines() -> AsyncIterator[bytes]:
            async for event in following.events():
                said = b"".join(plain.sse(chunk) for chunk in stream.chunks(event))
                if said:
                    yield said
            yield plain.sse(ai_sdk.LAST)

        return _stream(lines(), ai_sdk.HEADERS)

    # AG-UI

    async def ag_ui(self, request: Request) -> Response:
        """A run: a new message, answers to interrupts, or with neither the rest of the turn under way."""
        body = await _body(request)
        chat, who = await self._allowed(request, body.get("threadId"))
        view = await self._ingress.call(chat, "view", {})
        turns: list[Record] = view["turns"]
        last = (body.get("messages") or [{}])[-1]
        if resume := body.get("resume"):
            following = await self._answer(chat, ag_ui.answers_of(resume), who)
        elif last.get("role") == "user":
            following = await self._say(chat, last.get("id"), _text_of(last.get("content")))
        elif turns and turns[-1]["status"] in _OPEN:
            following = Following(self._ingress, chat, turns[-1])
        else:
            raise _Problem(400, "There is neither a message nor an answer, and no turn under way.")
        turn = following.record["id"]
        before = [message for record in turns if record["id"] != turn for message in ag_ui.messages_of(record)]
        is_new = all(record["id"] != turn for record in turns)
        run = ag_ui.AgUiRun(chat, str(body.get("runId") or ""), before, is_new=is_new)

        async def lines() -> AsyncIterator[bytes]:
            async for event in following.events():
                said = b"".join(plain.sse(each) for each in run.events(event, following.record))
                if said:
                    yield said

        return _stream(lines(), {})

    # For all

    async def get(self, request: Request) -> Response:
        """The conversation, in the AI SDK's form, or with ?format=ag-ui or plain in that."""
        chat, _ = await self._allowed(request, request.path_params["chat"])
        view = await self._ingress.call(chat, "view", {})
        turns: list[Record] = view["turns"]
        formats: dict[str, Callable[[Record], list[Any]]] = {
            "ai-sdk": ai_sdk.ui_messages,
            "ag-ui": ag_ui.messages_of,
            "plain": lambda turn: [turn],
        }
        as_messages = formats.get(request.query_params.get("format", "ai-sdk"))
        if as_messages is None:
            raise _Problem(400, f"format is one of {', '.join(formats)}.")
        last = turns[-1] if turns else {"status": "ended", "id": None}
        messages = [message for turn in turns for message in as_messages(turn)]
        return JSONResponse({"messages": messages, "status": last["status"], "turn": last["id"]})

    async def plain(self, request: Request) -> Response:
        """Events of the turn under way, from its beginning."""
        chat, _ = await self._allowed(request, request.path_params["chat"])
        record = await self._last(chat)
        if record is None:
            return Response(status_code=204)
        following = Following(self._ingress, chat, record)

        async def lines() -> AsyncIterator[bytes]:
            async for event in following.events():
                yield plain.sse(plain.as_json(event))

        return _stream(lines(), {})

    async def stop(self, request: Request) -> Response:
        """Stop the turn under way."""
        chat, _ = await self._allowed(request, request.path_params["chat"])
        return JSONResponse({"stopped": await self._ingress.call(chat, "stop", {})})

    async def approve(self, request: Request) -> Response:
        """Answer one approval. 409 when it is not open, or no longer."""
        chat, who = await self._allowed(request, request.path_params["chat"])
        body = await _body(request)
        if not isinstance(body.get("approved"), bool):
            raise _Problem(400, '{"approved": true or false, "reason": "..."} is wanted.')
        await self._answer(chat, {request.path_params["approval"]: (body["approved"], body.get("reason"))}, who)
        return JSONResponse({"answered": True})

    async def _say(self, chat: str, message: Any, text: str) -> Following:
        if not isinstance(message, str) or not message or not text.strip():
            raise _Problem(400, "A message needs an id and a text.")
        record = await find(self._ingress, chat, message)
        if record is None:
            body = {"id": message, "text": text}
            invocation = await self._ingress.send(chat, "turn", body, f"{chat}/{message}")
            record = body | {"invocation": invocation, "status": "running", "steps": []}
        return Following(self._ingress, chat, record)

    async def _answer(self, chat: str, answers: dict[str, tuple[bool, str | None]], who: str | None) -> Following:
        """Give answers to open approvals. Those that were answered already are passed over, unless all were."""
        record = await self._last(chat)
        parts = {} if record is None else {part["approval"]["id"]: part for _, part in waiting_parts(record)}
        found = {name: answer for name, answer in answers.items() if name in parts}
        if record is None or not answers:
            raise _Problem(400, "There is neither a message nor an answer.")
        if not found and record["status"] == "waiting":
            raise _Problem(409, "This question is not open: it was answered already, or nobody answered in time.")
        given = set()
        for name, (is_approved, reason) in found.items():
            awakeable = awakeables_of(parts[name])[0]
            await self._ingress.resolve(awakeable, _answer_of(parts[name], who, reason, is_approved=is_approved))
            given.add(awakeable)
        return Following(self._ingress, chat, record, is_rest=True, answered=frozenset(given))

    async def _last(self, chat: str) -> Record | None:
        view = await self._ingress.call(chat, "view", {"turns": 1})
        turns: list[Record] = view["turns"]
        return turns[-1] if turns else None


def _answer_of(part: dict[str, Any], who: str | None, reason: str | None, *, is_approved: bool) -> dict[str, Any]:
    """As kernel/approvals.py reads it: bound to the arguments that the person saw."""
    found = {"who": who, "why": reason, "digest": part["approval"].get("digest")}
    return {"approved": is_approved, **{name: value for name, value in found.items() if value is not None}}


async def _body(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise _Problem(415, "Send the content type application/json.")
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > BODY_BYTES_MAX:
            raise _Problem(413, f"The request is longer than {BODY_BYTES_MAX} bytes.")
    try:
        body = json.loads(data)
    except ValueError as problem:
        raise _Problem(400, f"The request is no JSON: {problem}") from problem
    if not isinstance(body, dict):
        raise _Problem(400, "The request is no JSON object.")
    return body


def _text_of(content: Any) -> str:
    """The text of a message: a text, or parts that have some."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str))


async def with_signs_of_life(lines: AsyncIterator[bytes], quiet_s: float = _QUIET_S) -> AsyncIterator[bytes]:
    """The lines, and a comment where nothing comes for so long, so that no proxy takes the response for dead."""
    coming: asyncio.Future[bytes] = asyncio.ensure_future(anext(lines))
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=quiet_s)
            if not done:
                yield b":\n\n"
                continue
            try:
                yield coming.result()
            except StopAsyncIteration:
                return
            coming = asyncio.ensure_future(anext(lines))
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


def _stream(lines: AsyncIterator[bytes], headers: dict[str, str]) -> Response:
    headers = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no", **headers}
    return StreamingResponse(with_signs_of_life(lines), media_type="text/event-stream", headers=headers)


def _problem(status: int, message: str) -> Response:
    return JSONResponse({"code": status, "message": message}, status_code=status)
