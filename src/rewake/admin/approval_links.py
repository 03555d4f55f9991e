"""The page behind a signed link: one question with its exact arguments, and two buttons.

Looking at it changes nothing, so that a mail scanner that follows links approves nothing; only its form does. It needs
no token of the admin port: the link is the right to answer this one question.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from rewake.admin.engine_port import EnginePort
from rewake.admin.reading import reader_of
from rewake.admin.requests import body_within
from rewake.engine.approval_links import Link
from rewake.errors import ErrorCode, RewakeError

if TYPE_CHECKING:
    from rewake.runs.approvals import Approval

HERE: Final = Path(__file__).parent
FORM_BYTES_MAX: Final = 64 * 1024


class ApprovalPages:
    """Endpoints under /approve."""

    def __init__(self, engine: EnginePort) -> None:
        self._engine = engine
        self._read = reader_of(engine)

    async def show(self, request: Request) -> Response:
        """The page of a signed link: the question and its exact arguments. Changes nothing."""
        from rewake.agents.approvals import Given
        from rewake.runs.approvals import checked
        from rewake.runs.inbox import approval_of

        approval: Approval | None = None
        try:
            link = self._link(request)
            approval = await self._read(lambda reading: approval_of(reading, link.id))
            given = Given(approved=True, who=link.who or "somebody", digest=link.digest)
            checked(approval, given, self._engine.now_ms())
        except RewakeError as error:
            return _refusal(error, approval)
        return _page(200, approval=approval, who=link.who, is_open=True)

    async def answer(self, request: Request) -> Response:
        """Answer through the page of a signed link: `outcome` is approve or deny, for the arguments of the link."""
        from rewake.admin.answering import answer
        from rewake.runs.inbox import approval_of

        approval: Approval | None = None
        try:
            link, fields = self._link(request), await _form(request)
            approval = await self._read(lambda reading: approval_of(reading, link.id))
            approved = _outcome(fields)
            who, why = link.who or fields.get("who", "")[:100], fields.get("why", "")[:2_000]
            approval = await answer(
                self._engine, self._read, link.id, approved=approved, who=who, why=why, digest=link.digest
            )
        except RewakeError as error:
            return _refusal(error, approval)
        says = f"Approved.{approval.more_needed}" if approved else "Denied."
        return _page(200, approval=approval, says=f"{says} You can close this page.")

    def _link(self, request: Request) -> Link:
        links = self._engine.approval_links
        if links is None:
            raise RewakeError(
                ErrorCode.APPROVAL_LINK_INVALID, "This engine makes no links, so none is known.", http_status=404
            )
        return links.read(request.path_params["link"], self._engine.now_ms())


async def _form(request: Request) -> dict[str, str]:
    body = await body_within(request, FORM_BYTES_MAX)
    if body is None:
        raise RewakeError(ErrorCode.REQUEST_INVALID, "The form is too large.", http_status=413)
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def _outcome(fields: dict[str, str]) -> bool:
    from rewake.admin.answering import OUTCOMES

    found = OUTCOMES.get(fields.get("outcome", ""))
    if found is None:
        message = "The form says neither approve nor deny; nothing was changed."
        raise RewakeError(ErrorCode.REQUEST_INVALID, message, "Use the buttons of the page.", http_status=400)
    return found


def _refusal(error: RewakeError, approval: Approval | None) -> Response:
    if "http_status" not in error.facts:
        raise error
    says = f"{error.code.value}  {error.message}"
    return _page(error.facts["http_status"], approval=approval, says=says, hint=error.hint)


def _page(status: int, **facts: Any) -> Response:
    from rewake.runs.approvals import asker

    template, style, headers = _made()
    approval = facts.get("approval")
    given = {"approval": None, "says": "", "hint": "", "who": "", "is_open": False} | facts
    title = "Approval" if approval is None else asker(approval.asked)
    return Response(template.render(title=title, style=style, **given), status, headers, media_type="text/html")


@cache
def _made() -> tuple[Any, str, dict[str, str]]:
    """The template, its style, and headers that allow nothing but that style. The address is a secret: no referrer."""
    import jinja2

    from rewake import formats

    style = (HERE / "approve.css").read_text()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(moment=formats.moment, safe_text=formats.safe)
    headers = {
        "content-security-policy": (
            f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; frame-ancestors 'none'; "
            "base-uri 'none'"
        ),
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "x-robots-tag": "noindex",
    }
    return environment.from_string((HERE / "approve.html").read_text()), style, headers
