"""Text that others wrote, safe to show: what would steer a terminal, or hide or reorder its neighbours, is escaped.

The escapes are those of JSON, so JSON stays JSON. For pages (formats.py) and terminals (cli/).
"""

from __future__ import annotations

from typing import Final

INVISIBLE: Final = {
    code: f"\\u{code:04x}"
    for code in (
        *range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0), 0x200B, 0x200E, 0x200F, 0x061C,
        *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF,
    )
}  # fmt: skip
"""Controls and marks that reorder or hide the text beside them; white space is not among them."""

_ON_A_TERMINAL: Final = INVISIBLE | {0x0D: "\\r"}


def printable(text: str) -> str:
    """The text for a terminal: line breaks and tabs stay, nothing else moves the cursor."""
    return text.replace("\r\n", "\n").translate(_ON_A_TERMINAL)
