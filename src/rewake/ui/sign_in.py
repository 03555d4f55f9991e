"""Signing in: a person shows a token once, and the pages get a cookie that other sites cannot send.

Only where the port asks for tokens; without it these pages lead to the runs.
"""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from rewake.access.gate import GATE_IN_SCOPE, TOKEN_IN_SCOPE, Gate
from rewake.access.sign_ins import COOKIE, SIGN_IN_S
from rewake.access.tokens import Token
from rewake.ui.forms import own_path
from rewake.ui.web import Web, see

START = "/ui/"


class SignInPage(msgspec.Struct):
    """The page. holder, role: of the token that is signed in.   needs: the missing role.   next: the page to go to."""

    holder: str = ""
    role: str = ""
    needs: str = ""
    next: str = START
    is_wrong: bool = False


class SignIn:
    """The pages to sign in and out."""

    def __init__(self, web: Web) -> None:
        self._web = web

    async def show(self, request: Request) -> Response:
        if _gate(request) is None:
            return see(START)
        query = request.query_params
        page = _page(request, query.get("needs", "")[:20], query.get("next", START))
        return self._web.page(request, "sign_in.html", page, now_ms=0, notice="")

    async def begin(self, request: Request) -> Response:
        """Take the token of the form. A wrong one gets the page again."""
        fields, gate = await self._web.form(request), _gate(request)
        if gate is None:
            return see(START)
        secret, wanted = fields.get("secret", "").strip(), fields.get("next", START)
        token = gate.holder({"authorization": f"Bearer {secret}"})
        if token is None:
            page = msgspec.structs.replace(_page(request, fields.get("needs", "")[:20], wanted), is_wrong=True)
            return self._web.page(request, "sign_in.html", page, now_ms=0, status=401, notice="")
        gate.sign_ins.end(request.headers.get("cookie", ""))
        response = see(own_path(wanted))
        response.set_cookie(
            COOKIE,
            gate.sign_ins.begin(token),
            max_age=int(SIGN_IN_S),
            httponly=True,
            samesite="strict",
            secure=_is_tls(request),
            path="/",
        )
        return response

    async def end(self, request: Request) -> Response:
        await self._web.form(request)
        gate = _gate(request)
        if gate is not None:
            gate.sign_ins.end(request.headers.get("cookie", ""))
        response = see("/ui/sign-in" if gate is not None else START)
        response.delete_cookie(COOKIE, path="/")
        return response


def _is_tls(request: Request) -> bool:
    """Whether the browser uses TLS, to us or to a proxy in front. A client that lies here harms only itself."""
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "").startswith("https")


def _gate(request: Request) -> Gate | None:
    gate: Gate | None = request.scope.get(GATE_IN_SCOPE)
    return gate


def _page(request: Request, needs: str, wanted: str) -> SignInPage:
    token: Token | None = request.scope.get(TOKEN_IN_SCOPE)
    if token is None:
        return SignInPage(needs=needs, next=own_path(wanted))
    return SignInPage(token.name, token.role, needs, own_path(wanted))
