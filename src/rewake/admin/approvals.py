"""The routes under /approvals of the admin API: the open questions, one question, and answers to it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from rewake.admin.engine_port import EnginePort
from rewake.admin.reading import reader_of
from rewake.admin.refusals import Refused
from rewake.admin.requests import Duration, duration_ms, json_response, read_json
from rewake.engine.approval_links import LASTS_MS, Link
from rewake.errors import ErrorCode, RewakeError

_Found = TypeVar("_Found")
NO_LINKS: Final = "Give an embedded engine approval_links: ApprovalLinks(path, lambda: URL of the admin port)."
_FILTERS: Final = ("service", "agent", "cursor")


class AnswerBody(msgspec.Struct):
    """Body of an answer, which may be absent. who, why: kept with it.   digest: of the arguments it is for."""

    who: str = ""
    why: str = ""
    digest: str = ""


class LinkBody(msgspec.Struct):
    """Body of a link, which may be absent. who: whom it is for, else anybody.   lasts: a duration, else 30 days."""

    who: str = ""
    lasts: Duration | None = None


class Approvals:
    """Endpoints under /approvals."""

    def __init__(self, engine: EnginePort) -> None:
        self._engine = engine
        self._read = reader_of(engine)

    async def list(self, request: Request) -> Response:
        """The open questions, newest runs first; `service`, `agent` and `who` filter, `cursor` continues a list.

        `encrypted`: objects with questions between turns that no key of this server opens.
        """
        from rewake.runs.approvals import approval_json
        from rewake.runs.filters import RunFilter
        from rewake.runs.inbox import inbox

        given = request.query_params
        service, agent, cursor = (given.get(name, "") for name in _FILTERS)
        wanted = RunFilter(service=service, agent=agent, cursor=cursor)
        found = await self._read(lambda reading: inbox(reading, wanted, who=given.get("who", "")))
        told: dict[str, Any] = {"approvals": [approval_json(each) for each in found.approvals]}
        told |= {"encrypted": ["/".join(each) for each in found.encrypted]} if found.encrypted else {}
        return json_response(told if found.next_cursor is None else told | {"next_cursor": found.next_cursor})

    async def get(self, request: Request) -> Response:
        """One question: its exact arguments, their digest, its answers and its state."""
        from rewake.runs.approvals import approval_json
        from rewake.runs.inbox import approval_of

        found = await _refusing(self._read(lambda reading: approval_of(reading, request.path_params["approval"])))
        return json_response(approval_json(found))

    async def approve(self, request: Request) -> Response:
        """Approve, for the arguments of `digest` or the current ones; `who` and `why` are kept."""
        return await self._answer(request, approved=True)

    async def deny(self, request: Request) -> Response:
        """Deny; the agent's model reads `why`."""
        return await self._answer(request, approved=False)

    async def link(self, request: Request) -> Response:
        """Make a signed link to the page of one question, for `who` or anybody. `lasts`: how long it is valid."""
        from rewake.runs.inbox import approval_of

        body = await read_json(request, LinkBody) if request.headers.get("content-length", "0") != "0" else LinkBody()
        links = self._engine.approval_links
        if links is None:
            raise Refused(501, ErrorCode.OPERATION_UNSUPPORTED, "This engine makes no links.", NO_LINKS)
        found = await _refusing(self._read(lambda reading: approval_of(reading, request.path_params["approval"])))
        lasts_ms = duration_ms("lasts", body.lasts)
        until_ms = found.asked.deadline_at_ms if lasts_ms is None else None
        until_ms = until_ms or self._engine.now_ms() + (LASTS_MS if lasts_ms is None else lasts_ms)
        url = links.link(Link(found.id, found.asked.digest, body.who.strip(), until_ms))
        return json_response({"url": url, "expires_at_ms": until_ms})

    async def _answer(self, request: Request, *, approved: bool) -> Response:
        from rewake.admin.answering import answer
        from rewake.runs.approvals import approval_json

        body = (
            await read_json(request, AnswerBody) if request.headers.get("content-length", "0") != "0" else AnswerBody()
        )
        name = request.path_params["approval"]
        answering = answer(
            self._engine, self._read, name, approved=approved, who=body.who, why=body.why, digest=body.digest
        )
        return json_response(approval_json(await _refusing(answering)))


async def _refusing(asked: Awaitable[_Found]) -> _Found:
    """The answer. A refusal is raised with the HTTP status of the answer."""
    try:
        return await asked
    except RewakeError as error:
        if "http_status" not in error.facts:
            raise
        raise Refused(error.facts["http_status"], error.code, error.message, error.hint) from None
