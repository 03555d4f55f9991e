"""A door for live text, as an engine opens one for each step, that keeps what comes through."""

from __future__ import annotations

from typing import Any


class Door:
    """heard: heads, deltas, and how each try ended. It opens for any capability but `over`."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def open(self, capability: str, head: dict[str, Any]) -> Door | None:
        self.heard.append((capability, head))
        return None if capability == "over" else self

    def put(self, deltas: list[bytes]) -> None:
        self.heard += deltas

    def end(self) -> None:
        self.heard.append("end")

    def cut(self) -> None:
        self.heard.append("cut")
