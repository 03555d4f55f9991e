"""Disclosure: hides and decrypts users' content before this process shows it in pages, terminals, SQL, traces and logs.

All shown content passes through here: from `decoded` of runs/steps.py, formats.py, the views of sql/, and the log. The
user's rules hold for the whole process: if it has two engines, both hide what one of them hides. Sealed content is
decrypted with the process's keys, except in SQL. Stored content never changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Protocol, TypeVar

import msgspec

from rewake.errors import ErrorCode, RewakeError
from rewake.protocol import messages as m
from rewake.redaction import REDACTED

T = TypeVar("T")
Hide = Callable[[str], str]
"""Text -> the text to show. Called from several threads."""

SEALED: Final = b"\x00RWS\x01"
"""The first bytes of encrypted content, see ext/sealed/form.py."""


class Sealer(Protocol):
    """Encrypts and decrypts content. Called from several threads."""

    def seal(self, content: bytes, service: str, key: str | None) -> bytes:
        """Encrypt content for the journal or the state of a service's key; sealed content stays unchanged."""

    def open(self, content: bytes) -> bytes | None:
        """Decrypt a sealed value; None if there is no key for it."""


_hiding: list[Hide] = []
_sealers: list[Sealer] = []


@contextmanager
def _among(those: list[T], one: T | None) -> Iterator[None]:
    if one is None:
        yield
        return
    those.append(one)
    try:
        yield
    finally:
        those.remove(one)


def opening(sealer: Sealer | None) -> AbstractContextManager[None]:
    """While this context is open, show sealed content decrypted; None changes nothing."""
    return _among(_sealers, sealer)


def open_from_now_on(sealer: Sealer | None) -> None:
    """The same until the process ends."""
    if sealer is not None:
        _sealers.append(sealer)


def is_sealed(content: bytes) -> bool:
    return content.startswith(SEALED)


def opened(content: bytes) -> bytes:
    """Sealed content opened, if one of the sealers can; any other content as it is."""
    if not _sealers or not is_sealed(content):
        return content
    return next((found for sealer in tuple(_sealers) if (found := sealer.open(content)) is not None), content)


def sealed(content: bytes, service: str, key: str | None) -> bytes:
    """Content to send to a server; encrypted if this process has keys."""
    return _sealers[-1].seal(content, service, key) if _sealers else content


def hiding(hide: Hide | None) -> AbstractContextManager[None]:
    """While this context is open, show every text through `hide`; None changes nothing."""
    return _among(_hiding, hide)


def hide_from_now_on(hide: Hide | None) -> None:
    """The same until the process ends."""
    if hide is not None:
        _hiding.append(hide)


def is_hiding() -> bool:
    return bool(_hiding)


def shown_text(text: str) -> str:
    """The text to show. If a user's function fails, the whole text is hidden."""
    for hide in tuple(_hiding):
        try:
            text = hide(text)
        except Exception:  # noqa: BLE001  # whatever it is, the text must not come out
            return REDACTED
    return text


def shown_content(content: bytes) -> bytes:
    """Any content, decrypted, in the form to show."""
    return hidden_content(opened(content))


def hidden_content(content: bytes) -> bytes:
    """Content in the form to show; sealed content stays encrypted."""
    if not _hiding or is_sealed(content):
        return content
    return shown_text(content.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def require_whole(content: bytes) -> None:
    """Raises RewakeError RW3005 for content to store that has a hidden part, because it was copied from a page."""
    if _hiding and REDACTED.encode() in content:
        raise RewakeError(
            ErrorCode.VALUE_NOT_STORABLE,
            f"The value has {REDACTED!r} in it, which stands for what this engine does not show.",
            "Write the whole value, or start the engine without --redact to change it.",
        )


def shown_message(message: Any, change: Callable[[bytes], bytes] = shown_content) -> Any:
    """A decoded journal entry with its values, failures and headers in the form to show.

    change: applied to its values; hidden_content does not decrypt them.
    """
    if message is None or not (_hiding or _sealers):
        return message
    changed: dict[str, Any] = {}
    for name in _CARRYING:
        if (value := getattr(message, name, None)) is not None:
            changed[name] = change(value) if isinstance(value, bytes) else shown_result(value, change)
    if headers := getattr(message, "headers", ()):
        changed["headers"] = tuple((name, shown_text(value)) for name, value in headers)
    return msgspec.structs.replace(message, **changed) if changed else message


def shown_value(value: Any) -> Any:
    """The same for a decoded JSON value."""
    match value:
        case str():
            return shown_text(value)
        case dict():
            return {name: shown_value(item) for name, item in value.items()}
        case list():
            return [shown_value(item) for item in value]
    return value


def shown_result(result: Any, change: Callable[[bytes], bytes] = shown_content) -> Any:
    """The same for a value or a failure; any other object stays unchanged."""
    match result:
        case m.Success(content):
            return m.Success(change(content))
        case m.Failure(code, text, metadata):
            return m.Failure(code, shown_text(text), metadata)
    return result


_CARRYING: Final = ("value", "parameter", "result")
"""Fields of messages with users' content."""
