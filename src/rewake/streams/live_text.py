"""The text that a person sees of a running run: that of its open steps, by the rules of events.py."""

from __future__ import annotations

from typing import Any

from rewake.streams.events import Delta, Ended, Event, StepCommitted, StepStarted, Void


class LiveText:
    """Takes events in order. texts, names: of each open step, by its number."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}
        self.names: dict[int, str] = {}
        self.is_ended = False

    def take(self, event: Event) -> None:
        """The next event."""
        match event:
            case Void(from_offset=0):
                self.texts, self.names = {}, {}
            case Void(steps=steps):
                for step in steps:
                    self.texts.pop(step, None)
            case StepStarted(step=step, name=name):
                self.names[step] = name
            case Delta(step=step, data=data):
                self.texts[step] = self.texts.get(step, "") + text_of(data)
            case StepCommitted(step=step):
                self.texts.pop(step, None)
                self.names.pop(step, None)
            case Ended():
                self.is_ended = True


def text_of(data: Any) -> str:
    """The text in a delta: a string, or a framework's text event; "" for any other delta."""
    if isinstance(data, str):
        return data
    if not isinstance(data, dict):
        return ""
    delta = data.get("delta")
    if isinstance(delta, dict):  # Pydantic AI
        delta = delta.get("content_delta")
    elif data.get("type") != "response.output_text.delta":  # OpenAI has other deltas, such as those of arguments
        return ""
    return delta if isinstance(delta, str) else ""
