"""The web side of the pages: templates, the JSON twin, security headers, and forms that only our own pages can send.

A page is a function from a request to data; here the data becomes HTML, or JSON for `?format=json` and for clients that
ask for it. Nothing is loaded from elsewhere and nothing inline is allowed, so hostile text that slipped through the
escaping would still not run.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

import jinja2
import msgspec
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from rewake import formats
from rewake.access.gate import TOKEN_IN_SCOPE
from rewake.access.tokens import Token
from rewake.admin.requests import body_within
from rewake.agents import prices
from rewake.ui.abilities import Abilities
from rewake.ui.operations import OFFERED

FORM_BYTES_MAX: Final = 4 * 1024 * 1024
HERE: Final = Path(__file__).parent
STATIC: Final = HERE / "static"

HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "vary": "accept",
}


class Problem(Exception):
    """An error page, in place of the requested page. hint: what to do about it."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint


class Web:
    """Renders pages and guards forms."""

    def __init__(self, abilities: Abilities) -> None:
        self.abilities = abilities
        self._secret = secrets.token_bytes(32)
        version = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(STATIC.iterdir()))).hexdigest()[:12]
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            abilities=abilities,
            asset=lambda name: f"/ui/static/{version}/{name}",
            csrf=self._token(),
            operations=OFFERED,
            has_price_list=prices.has_list,
            run_url=run_url,
            session_url=session_url,
            service_url=service_url,
            with_query=with_query,
        )
        self._templates.filters.update(
            ago=formats.ago,
            duration=formats.duration,
            iso=formats.iso,
            json=formats.compact,
            line=formats.line,
            moment=formats.moment,
            money=_money,
            number=formats.number,
            plural=_plural,
            pretty=formats.pretty,
            safe_text=formats.safe,
            shortened=formats.shortened,
            size=formats.size,
        )

    def page(
        self, request: Request, template: str, data: Any, *, now_ms: int, status: int = 200, **more: Any
    ) -> Response:
        """The page as HTML or JSON. more: what only HTML needs."""
        if wants_json(request):
            return Response(msgspec.json.encode(data), status, HEADERS, media_type="application/json")
        html = self._templates.get_template(template).render(
            page=data,
            now_ms=now_ms,
            path=request.url.path,
            query=request.url.query,
            signed_in=_signed_in(request),
            **more,
        )
        body = html.encode("utf-8", "replace")
        tag = f'W/"{hashlib.sha256(body).hexdigest()[:24]}"'
        if request.headers.get("if-none-match") == tag and status == 200:
            return Response(status_code=304, headers={**HEADERS, "etag": tag})
        return Response(body, status, {**HEADERS, "etag": tag, "cache-control": "no-cache"}, media_type="text/html")

    async def form(self, request: Request) -> ImmutableMultiDict[str, str]:
        """The fields of a form that one of our pages sent. Raises Problem for any other."""
        _check_origin(request)
        body = await body_within(request, FORM_BYTES_MAX)
        if body is None:
            raise Problem(413, "The form is too large.", f"At most {formats.size(FORM_BYTES_MAX)} can be sent.")
        fields = ImmutableMultiDict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        if not hmac.compare_digest(fields.get("token", "").encode(), self._token().encode()):
            raise Problem(403, "The form is out of date.", "Go back, reload the page and try again.")
        return fields

    def _token(self) -> str:
        return hmac.new(self._secret, b"form", hashlib.sha256).hexdigest()


def _signed_in(request: Request) -> str:
    """The name of the request's token, empty where no token is required."""
    token: Token | None = request.scope.get(TOKEN_IN_SCOPE)
    return "" if token is None else token.name


def wants_json(request: Request) -> bool:
    """`?format=json`, or a client that accepts JSON and not HTML."""
    accept = request.headers.get("accept", "")
    return request.query_params.get("format") == "json" or ("application/json" in accept and "text/html" not in accept)


def see(url: str, notice: str = "") -> Response:
    """Redirect to a page after a form, with a notice of the result."""
    if notice:
        url += f"{'&' if '?' in url else '?'}{urlencode({'notice': notice})}"
    return RedirectResponse(url, 303, HEADERS)


def _check_origin(request: Request) -> None:
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    is_ours = site in (None, "same-origin", "none") and (
        origin is None or origin.partition("://")[2] == request.headers.get("host")
    )
    if not is_ours:
        raise Problem(403, "The request came from another site.", "Use the buttons of this UI itself.")


def run_url(run_id: str, page: str = "", **query: Any) -> str:
    return _with(f"/ui/runs/{quote(run_id, safe='')}{'/' + page if page else ''}", query)


def session_url(service: str, key: str) -> str:
    return _with(f"/ui/sessions/{quote(service, safe='')}", {"key": key})


def service_url(service: str, handler: str = "") -> str:
    return f"/ui/services/{quote(service, safe='')}{'/' + quote(handler, safe='') if handler else ''}"


def with_query(path: str, pairs: Any = (), **more: Any) -> str:
    """A path with parameters; what is None is left out."""
    given = [*(pairs.items() if isinstance(pairs, dict) else pairs), *more.items()]
    query = urlencode([(name, value) for name, value in given if value is not None])
    return f"{path}?{query}" if query else path


def _with(path: str, query: dict[str, Any]) -> str:
    return with_query(path, query)


def _money(dollars: float | None) -> str:
    if dollars is None:
        return "price unknown"
    if 0 < dollars < 0.01:  # a single model call: enough digits to tell it from nothing
        return f"${dollars:.6f}"
    return f"${dollars:.4f}" if dollars < 1 else f"${dollars:,.2f}"


def _plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
