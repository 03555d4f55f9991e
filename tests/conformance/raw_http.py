"""HTTP/1.1 by hand on blocking sockets: requests byte for byte as a test wants them, answers in parts.

For tests of what a server does on the wire, where a client library would help too much.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, field
from typing import Any, Self

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One response. headers: lower-case names."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes
    interim: list[int] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(
    method: str,
    target: str,
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    body: bytes | None = None,
    *,
    version: str = "1.1",
) -> bytes:
    """The bytes of a request; a body gets its content-length unless a header says otherwise."""
    given = list(headers.items() if isinstance(headers, dict) else headers or [])
    names = {name.lower() for name, _ in given}
    if body is not None and names.isdisjoint({"content-length", "transfer-encoding"}):
        given.append(("content-length", str(len(body))))
    lines = [f"{method} {target} HTTP/{version}", "host: test", *(f"{name}: {value}" for name, value in given)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


class Wire:
    """One connection."""

    def __init__(self, port: int, *, timeout_s: float = TIMEOUT_S) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def exchange(self, data: bytes) -> Answer:
        self.send(data)
        return self.answer(is_head=data.startswith(b"HEAD "))

    def answer(self, *, is_head: bool = False) -> Answer:
        """The next final answer; interim ones (1xx) before it are only counted."""
        interim: list[int] = []
        while True:
            head = self._until(b"\r\n\r\n").decode("latin-1")
            status_line, *lines = head.split("\r\n")
            _, status, reason = status_line.split(" ", 2)
            headers = dict(_header(line) for line in lines if line)
            if not 100 <= int(status) < 200:
                if headers.get("transfer-encoding") == "chunked" and not is_head:
                    return Answer(int(status), reason, headers, self._chunks(), interim)
                length = 0 if is_head else int(headers.get("content-length", 0))
                return Answer(int(status), reason, headers, self._exactly(length), interim)
            interim.append(int(status))

    def is_closed(self) -> bool:
        """Whether the server closes, with nothing more to say."""
        try:
            return not self.received and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _until(self, mark: bytes) -> bytes:
        while mark not in self.received:
            self._receive()
        head, _, self.received = self.received.partition(mark)
        return head

    def _exactly(self, count: int) -> bytes:
        while len(self.received) < count:
            self._receive()
        body, self.received = self.received[:count], self.received[count:]
        return body

    def _chunks(self) -> bytes:
        found = b""
        while length := int(self._until(b"\r\n"), 16):
            found += self._exactly(length)
            self._until(b"\r\n")
        self._until(b"\r\n")
        return found

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError(f"closed after {self.received!r}")
        self.received += data


def fetch(
    port: int,
    method: str,
    target: str,
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    body: bytes | None = None,
    *,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """One request on a connection of its own."""
    with Wire(port, timeout_s=timeout_s) as wire:
        return wire.exchange(request(method, target, headers, body))


def fetch_json(port: int, method: str, target: str, body: Any) -> Answer:
    """One request with a JSON body."""
    return fetch(port, method, target, {"content-type": "application/json"}, json.dumps(body).encode())


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(": ")
    return name.lower(), value
