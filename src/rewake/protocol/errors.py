"""ProtocolViolation: the SDK broke the protocol.

codec.py, framing.py and awaiting.py raise it for an SDK's bytes and trees, and raise no other exception for those. It
fails the attempt, never the engine. `code` is one of the documented RT codes.
"""

from __future__ import annotations

from typing import Final

PROTOCOL_VIOLATION: Final = "RT0012"
MESSAGE_TOO_LARGE: Final = "RT0003"
AWAIT_TREE_TOO_DEEP: Final = "RT0025"


class ProtocolViolation(Exception):
    """The peer sent something the protocol forbids.

    code: RT0012 unless the violation has a code of its own (RT0003 oversize, RT0025 await tree too deep).
    """

    def __init__(self, message: str, code: str = PROTOCOL_VIOLATION) -> None:
        super().__init__(message)
        self.message = message
        self.code = code

    def __str__(self) -> str:
        return f"[{self.code}] {self.message}"
