"""Fields of forms, checked: JSON values and the way back."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from rewake.disclosure import require_whole
from rewake.errors import RewakeError
from rewake.ui.web import Problem


def json_value(text: str) -> bytes:
    """The text of a form as JSON bytes, exactly as typed. Raises Problem when it is not JSON."""
    content = text.strip().encode("utf-8", "replace")
    if content:
        try:
            msgspec.json.decode(content)
        except (msgspec.DecodeError, RecursionError) as error:
            hint = 'A text needs quotes: "yes". Go back to correct it.'
            raise Problem(400, f"The value is not JSON: {error}.", hint) from None
        try:
            require_whole(content)
        except RewakeError as error:
            raise Problem(400, error.message, error.hint) from None
    return content


def own_path(text: str | None) -> str:
    """A path of this UI, never another site."""
    try:
        parts = urlsplit(text or "")
    except ValueError:  # half an IPv6 address
        return "/ui/"
    if not parts.path.startswith("/ui/") or parts.netloc or parts.scheme or "\\" in parts.path:
        return "/ui/"
    return parts.path + (f"?{parts.query}" if parts.query else "")
