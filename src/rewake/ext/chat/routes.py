"""The routes that front ends expect, as an ASGI app: beside the engine, or mounted in a program's own app.

    POST {prefix}                      `useChat`: a message, or answers to approvals; the answer streams
    GET  {prefix}/{chat}/stream        `useChat` resumes: the running turn from its beginning, or 204
    GET  {prefix}/{chat}               the conversation: {"messages": [...], "status": "waiting", "turn": "msg_1",
                                       "queued": [{"id": "msg_2", "text": "..."}]}
    POST {prefix}/{chat}/messages      add a message, even during a turn: {"id": "msg_2", "text": "..."}; 202 at once
    POST {prefix}/{chat}/stop          stop the running turn
    POST {prefix}/{chat}/approvals/ID  {"approved": true, "reason": "..."}
    POST {prefix}/ag-ui                AG-UI: a run
    GET  {prefix}/{chat}/events        plain JSON events of the running turn

Requests must have JSON bodies with the JSON content type, so no page of another site can send one unasked.
"""

from __future__ import annotations

import asyncio
import json
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rewake.ext.chat.following import TURNS_SEARCHED, Following, Record, awakeables_of, settled, turn_of, waiting_parts
from rewake.ext.chat.formats import ag_ui, ai_sdk, plain
from rewake.ext.chat.inbox import ID_MAX, OPEN, inbox_name
from rewake.ext.chat.ingress import EngineUnavailable, IngressClient, Refused
from rewake.ext.chat.session import has_message
from rewake.ext.kernel.between import ANSWER
from rewake.ext.kernel.deltas import mended
from rewake.ext.kernel.keeping import KEPT_ID

Authorize = Callable[[Request, str], Awaitable[str | None]]
"""Raises starlette's HTTPException unless the caller may use the chat of this id. Gives the caller's name, if known."""

BODY_BYTES_MAX: Final = 4 * 1024 * 1024
_QUIET_S: Final = 15.0


class _Problem(Exception):
    """An answer that is an error: {"code": 400, "message": "..."}."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Routes:
    """The endpoints of one chat."""

    def __init__(self, ingress: IngressClient, authorize: Authorize | None, allowed_origins: Iterable[str]) -> None:
        self._ingress, self._authorize = ingress, authorize
        self._allowed_origins = frozenset(origin.lower().rstrip("/") for origin in allowed_origins)

    def routes(self, prefix: str) -> list[Route]:
        """All of them, below a path such as `/api/chat`."""
        return [
            Route(path, self._guarded(endpoint), methods=[method])
            for method, path, endpoint in (
                ("POST", prefix, self.post),
                ("POST", f"{prefix}/ag-ui", self.ag_ui),
                ("GET", f"{prefix}/{{chat:path}}/stream", self.resume),
                ("GET", f"{prefix}/{{chat:path}}/events", self.plain),
                ("POST", f"{prefix}/{{chat:path}}/messages", self.message),
                ("POST", f"{prefix}/{{chat:path}}/stop", self.stop),
                ("POST", f"{prefix}/{{chat:path}}/approvals/{{approval}}", self.approve),
                ("GET", f"{prefix}/{{chat:path}}", self.get),  # ids may have slashes, so the shortest path is the last
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
        if not _is_id(chat) or chat in (".", ".."):  # which clients take out of a path
            raise _Problem(400, f"The id of a chat is a text of 1 to {ID_MAX} characters without control characters.")
        return chat, None if self._authorize is None else await self._authorize(request, chat)

    # The AI SDK

    async def post(self, request: Request) -> Response:
        """A message, or answers to approvals."""
        body = await _body(request)
        chat, who = await self._allowed(request, body.get("id"))
        last = _last_message(body)
        if last.get("role") == "user":
            following = await self._say(chat, last.get("id"), _text_of(last.get("parts")))
        elif body.get("trigger") == "regenerate-message":
            raise _Problem(400, "An answer that was given is not given anew: send another message.")
        else:
            following = await self._answer(chat, ai_sdk.answers_of(last), who)
        return self._ui_stream(following)

    async def resume(self, request: Request) -> Response:
        """The running turn, from its beginning."""
        chat, _ = await self._allowed(request, request.path_params["chat"])
        record = await self._last(chat)
        if record is None or record["status"] not in OPEN:
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
        """A run: a new message, answers to interrupts, or, with neither, the rest of the open turn."""
        body = await _body(request)
        chat, who = await self._allowed(request, body.get("threadId"))
        view = await self._ingress.call(chat, "view", {})
        turns: list[Record] = view["turns"]
        last = _last_message(body)
        if resume := body.get("resume"):
            following = await self._answer(chat, ag_ui.answers_of(resume), who)
        elif last.get("role") == "user":
            following = await self._say(chat, last.get("id"), _text_of(last.get("content")))
        elif turns and turns[-1]["status"] in OPEN:
            following = Following(self._ingress, chat, turns[-1])
        else:
            raise _Problem(400, "There is neither a message nor an answer, and no turn under way.")
        turn = following.record["id"]
        before = [message for record in turns if record["id"] != turn for message in ag_ui.messages_of(record)]
        is_new = all(record["id"] != turn for record in turns)
        run_id, known = str(body.get("runId") or ""), following.known_steps
        run = ag_ui.AgUiRun(chat, run_id, before, is_new=is_new, known=known)

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
        last = await settled(self._ingress, chat, turns[-1]) if turns else {"status": "ended", "id": None}
        messages = [message for turn in turns for message in as_messages(turn)]
        queued = await self._queued(chat, turns)
        return JSONResponse({"messages": messages, "status": last["status"], "turn": last["id"], "queued": queued})

    async def _queued(self, chat: str, turns: list[Record]) -> list[dict[str, Any]]:
        """Messages that no turn has, in order."""
        waiting = await self._inbox(chat, "waiting", {})
        fresh = [each for each in waiting if not any(has_message(turn, each["id"]) for turn in turns)]
        return [{"id": each["id"], "text": each["text"]} for each in fresh]

    async def message(self, request: Request) -> Response:
        """Add a message, even during a turn. The turn that reads it answers it."""
        chat, _ = await self._allowed(request, request.path_params["chat"])
        body = await _body(request)
        await self._say(chat, body.get("id"), _text_of(body.get("text")))
        return JSONResponse({"accepted": True}, status_code=202)

    async def plain(self, request: Request) -> Response:
        """Events of the running turn, from its beginning."""
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
        """Stop the running turn."""
        chat, _ = await self._allowed(request, request.path_params["chat"])
        return JSONResponse({"stopped": await self._ingress.call(chat, "stop", {})})

    async def approve(self, request: Request) -> Response:
        """Answer one approval; 409 when it is not open."""
        chat, who = await self._allowed(request, request.path_params["chat"])
        body = await _body(request)
        if not isinstance(body.get("approved"), bool):
            raise _Problem(400, '{"approved": true or false, "reason": "..."} is wanted.')
        approval = request.path_params["approval"]
        if approval.startswith(KEPT_ID):  # the object says what becomes of it, also when it is decided
            part = _open_parts(await self._last(chat)).get(approval, {"approval": {}})
            answer = _answer_of(part, who, body.get("reason"), is_approved=body["approved"])
            await self._give(chat, approval, answer)
        else:
            await self._answer(chat, {approval: (body["approved"], body.get("reason"))}, who)
        return JSONResponse({"answered": True})

    async def _say(self, chat: str, message: Any, text: str) -> Following:
        if not _is_id(message) or not text.strip():
            raise _Problem(400, f"A message needs a text, and an id of 1 to {ID_MAX} characters.")
        turns: list[Record] = (await self._ingress.call(chat, "view", {"turns": TURNS_SEARCHED}))["turns"]
        record = turn_of(turns, message)
        if record is None:
            body: Record = {"id": message, "text": text}
            sent = await self._inbox(chat, "post", body | await self._ended(chat, turns))
            record = body | {"invocation": sent["invocation"], "status": "running", "steps": []}
        return Following(self._ingress, chat, record, message=message)

    async def _ended(self, chat: str, turns: list[Record]) -> Record:
        """The last turn's invocation, if it only looks open: no further message has to wait for it."""
        last = turns[-1] if turns else None
        if last is None or last["status"] not in OPEN:
            return {}
        is_over = (await settled(self._ingress, chat, last))["status"] not in OPEN
        return {"ended": last["invocation"]} if is_over else {}

    async def _inbox(self, chat: str, handler: str, body: Any) -> Any:
        return await self._ingress.call(chat, handler, body, service=inbox_name(self._ingress.service))

    async def _answer(self, chat: str, answers: dict[str, tuple[bool, str | None]], who: str | None) -> Following:
        """Give answers to open approvals. Answered ones are skipped, unless all are answered."""
        record = await self._last(chat)
        parts = _open_parts(record)
        found = {name: answer for name, answer in answers.items() if name in parts}
        if record is None or not answers:
            raise _Problem(400, "There is neither a message nor an answer.")
        if not found and record["status"] == "waiting":
            raise _Problem(409, "This question is not open: it was answered already, or nobody answered in time.")
        given = set()
        for name, (is_approved, reason) in found.items():
            awakeable = awakeables_of(parts[name])[0]
            await self._give(chat, awakeable, _answer_of(parts[name], who, reason, is_approved=is_approved))
            given.add(awakeable)
        return Following(self._ingress, chat, record, is_rest=True, answered=frozenset(given))

    async def _give(self, chat: str, id: str, answer: dict[str, Any]) -> None:
        """Answer one question: of the turn's invocation, or one that the chat keeps between turns."""
        if not id.startswith(KEPT_ID):
            await self._ingress.resolve(id, answer)
            return
        said = await self._ingress.call(chat, ANSWER, {"id": id, **answer})
        if "refused" in said:
            raise _Problem(409, f"{said['refused']}  {said['message']}")

    async def _last(self, chat: str) -> Record | None:
        view = await self._ingress.call(chat, "view", {"turns": 1})
        turns: list[Record] = view["turns"]
        return turns[-1] if turns else None


def _open_parts(record: Record | None) -> dict[str, dict[str, Any]]:
    """The unanswered questions of a turn, by their ids."""
    return {} if record is None else {part["approval"]["id"]: part for _, part in waiting_parts(record)}


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


def _is_id(given: Any) -> bool:
    """Whether this can name a chat or a message."""
    is_one = isinstance(given, str) and 0 < len(given) <= ID_MAX
    return is_one and not any(unicodedata.category(each) in ("Cc", "Cs") for each in given)


def _last_message(body: dict[str, Any]) -> dict[str, Any]:
    """The message that counts; {} without any."""
    messages = body.get("messages") or [{}]
    last = messages[-1] if isinstance(messages, list) else None
    if not isinstance(last, dict):
        raise _Problem(400, "messages is a list of messages, and each of them an object.")
    return last


def _text_of(content: Any) -> str:
    """The text of a message: a text, or parts that have some."""
    if isinstance(content, str):
        return mended(content)
    parts = content if isinstance(content, list) else []
    texts = [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return mended("\n".join(texts))


async def with_signs_of_life(lines: AsyncIterator[bytes], quiet_s: float = _QUIET_S) -> AsyncIterator[bytes]:
    """The lines, and a comment after each silence of this length, so that no proxy ends the response."""
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
