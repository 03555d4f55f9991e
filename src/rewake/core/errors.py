"""Errors by fault: the SDK's (ProtocolViolation, CommandRejected) or ours (EngineBug).

A fault of the SDK fails the attempt. A bug of ours pauses its invocation, and the log reports it.
"""

from __future__ import annotations

from rewake.core.ids import InvocationId, invocation_id_to_str


class CommandRejected(Exception):
    """A command of a handler broke a precondition. The attempt fails and is retried (service-protocol.md 4).

    code: RT0017 (not allowed), RT0018 (unknown callee), RT0024 (scope or limit key), RT0012 (undecodable).
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class EngineBug(Exception):
    """A transition met a state that must not exist. `invocation_id`: the invocation in that state."""

    def __init__(self, invocation_id: InvocationId, message: str) -> None:
        super().__init__(f"{message} ({invocation_id_to_str(invocation_id)})")
        self.invocation_id = invocation_id
