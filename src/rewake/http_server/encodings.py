"""Compressed bodies: no port unpacks one, so none can be a bomb. Ports that would read it refuse it."""

from __future__ import annotations

from rewake.http_server.exchange import App, Receive, Send

_PLAIN = frozenset({b"", b"identity"})
_REFUSAL = b"The body is compressed; send it as it is, without content-encoding.\n"


def plain_only(app: App) -> App:
    """An app that answers 415 to a request with a content-encoding, and passes on all others."""

    async def refusing(scope: object, receive: Receive, send: Send) -> None:
        headers = scope.get("headers", ()) if isinstance(scope, dict) else ()
        if all(name != b"content-encoding" or value.strip().lower() in _PLAIN for name, value in headers):
            await app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 415, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": _REFUSAL})

    return refusing
