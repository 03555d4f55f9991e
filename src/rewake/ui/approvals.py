"""Approvals: the inbox, one question with its exact arguments, and the answers to them.

Every form carries the token of web.py, and with each question the digest of the arguments that the page showed. So
nobody approves arguments that have changed since.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from rewake import formats
from rewake.admin.answering import OUTCOMES, answer
from rewake.errors import RewakeError
from rewake.runs.approvals import Approval, asker
from rewake.runs.filters import RunFilter
from rewake.runs.inbox import approval_of, inbox
from rewake.runs.reading import Read, Reading
from rewake.ui.forms import own_path
from rewake.ui.port import UiEngine
from rewake.ui.web import Problem, Web, see

ANSWERS_MAX: Final = 200
WHO_COOKIE: Final = "rewake_who"
"""The name somebody answered under last, so that it need not be typed again. Their own browser has it alone."""

_WHO_CHARS_MAX: Final = 100
_WHO_COOKIE_S: Final = 90 * 86_400


class Item(msgspec.Struct, frozen=True):
    """A question in the list. title: who asks for what.   key: its id and the digest of the shown arguments."""

    approval: Approval
    title: str
    key: str


class InboxPage(msgspec.Struct, kw_only=True):
    """The questions that wait, in one page of runs. who, service, agent: the filter.   encrypted: see Inbox."""

    items: list[Item]
    who: str
    service: str
    agent: str
    services: list[str]
    next_cursor: str | None
    cursor: str
    encrypted: list[tuple[str, str]]


class ApprovalPage(msgspec.Struct, kw_only=True):
    """One question, waiting or decided."""

    item: Item


class Approvals:
    """Endpoints under /ui/approvals."""

    def __init__(self, engine: UiEngine, web: Web, read: Read) -> None:
        self._engine = engine
        self._web = web
        self._read = read

    async def show(self, request: Request) -> Response:
        """The inbox."""
        given = request.query_params
        who, service, agent, cursor = (given.get(name, "").strip() for name in ("who", "service", "agent", "cursor"))

        def find(reading: Reading) -> InboxPage:
            found = inbox(reading, RunFilter(service=service, agent=agent, cursor=cursor), who=who)
            return InboxPage(
                items=[item_of(each) for each in found.approvals],
                who=who,
                service=service,
                agent=agent,
                services=[each.name for each in reading.services()],
                next_cursor=found.next_cursor,
                cursor=cursor,
                encrypted=found.encrypted,
            )

        return self._page(request, "approvals.html", await self._read(find))

    async def show_one(self, request: Request) -> Response:
        """One question."""
        name = request.path_params["approval"]
        try:
            found = await self._read(lambda reading: approval_of(reading, name))
        except RewakeError as error:
            raise _problem(error) from None
        return self._page(request, "approval.html", ApprovalPage(item=item_of(found)))

    async def answer(self, request: Request) -> Response:
        """Approve or deny the ticked questions, or the one whose button was pressed. Each is answered by itself."""
        fields = await self._web.form(request)
        outcome, keys = _chosen(fields)
        who = formats.shortened(fields.get("who", "").strip(), _WHO_CHARS_MAX)
        answered: list[Approval] = []
        refused: list[RewakeError] = []
        for key in keys:
            name, _, digest = key.partition(" ")
            try:
                found = await answer(
                    self._engine,
                    self._read,
                    name,
                    approved=OUTCOMES[outcome],
                    who=who,
                    why=fields.get("why", ""),
                    digest=digest,
                )
            except RewakeError as error:
                refused.append(error)
            else:
                answered.append(found)
        if not answered:
            raise _problem(refused[0])
        response = see(own_path(fields.get("back") or "/ui/approvals"), _told(outcome, answered, refused))
        if who:
            response.set_cookie(WHO_COOKIE, _cookie(who), max_age=_WHO_COOKIE_S, httponly=True, samesite="strict")
        return response

    def _page(self, request: Request, template: str, page: Any) -> Response:
        return self._web.page(
            request,
            template,
            page,
            now_ms=self._engine.now_ms(),
            notice=request.query_params.get("notice", ""),
            me=_from_cookie(request.cookies.get(WHO_COOKIE, "")),
        )


def item_of(approval: Approval) -> Item:
    """A question as the list shows it."""
    return Item(approval, asker(approval.asked), f"{approval.id} {approval.asked.digest}")


def _chosen(fields: Any) -> tuple[str, list[str]]:
    """The action, and the questions with their digests."""
    outcome, _, one = fields.get("only", "").partition(" ")
    keys = [one] if one else list(dict.fromkeys(fields.getlist("item")))
    outcome = outcome or fields.get("outcome", "")
    if outcome not in OUTCOMES:
        raise Problem(400, "The form has neither approve nor deny.")
    if not keys:
        raise Problem(400, "No approval is selected.", "Select some first, or use the buttons beside one.")
    if len(keys) > ANSWERS_MAX:
        raise Problem(400, f"More than {ANSWERS_MAX} approvals are selected.", "Do it in parts.")
    return outcome, keys


def _told(outcome: str, answered: list[Approval], refused: list[RewakeError]) -> str:
    word = "approved" if outcome == "approve" else "denied"
    told = f"{len(answered)} {word}."
    if any(each.keeper is not None and not each.given for each in answered):
        told += " An object that is busy takes the answer after its turn."
    elif len(answered) == 1 and outcome == "approve":
        told += answered[0].more_needed
    if refused:
        told += f" {len(refused)} not: {refused[0].code.value} {refused[0].message}"
    return told


def _problem(error: RewakeError) -> Problem:
    if "http_status" not in error.facts:
        raise error
    return Problem(error.facts["http_status"], f"{error.code.value}  {error.message}", error.hint)


def _cookie(who: str) -> str:
    return who.encode().hex()


def _from_cookie(text: str) -> str:
    try:
        return bytes.fromhex(text).decode()[:_WHO_CHARS_MAX]
    except ValueError:
        return ""
