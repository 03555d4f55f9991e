"""Events as plain JSON: `{"type": "text_delta", "step": 0, "part": 0, "text": "Hel", "kind": "text"}`."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

from rewake.ext.chat.events import ChatEvent


def as_json(event: ChatEvent) -> dict[str, Any]:
    """The event with its name as `type`."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    return {"type": name, **dataclasses.asdict(event)}


def sse(data: Any) -> bytes:
    """One server-sent event. data: JSON, or text that is sent as it is."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return b"data: " + text.encode("utf-8", "surrogatepass") + b"\n\n"
