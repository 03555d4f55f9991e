"""The works: what the callers send, and how they tell a right answer from a wrong one.

`route2`, `steps10` and `keyed` are what is timed; `send_waiting`, `resolve` and `attach` are the three passes of the
waiting invocations; `unicode` is `keyed` on keys of all Unicode, `many` one call to each of many services, `sends` one
send to each of many paths. Used by
load.py, in the callers' process; the handlers that answer are in app.py and many_app.py.
"""

from __future__ import annotations

import base64
import json
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

from bench.unicode_keys import unicode_keys

TIMED = ("route2", "steps10", "keyed")
KEY_COUNT = 100
FIRST_AWAKEABLE = 17
BASE62 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What to send: `work` with `callers` at once, until `seconds` are over or `requests_max` were sent.

    seed: draws the keys of `keyed`.   counts: calls each key has answered before.
    ids: invocations to resolve or attach to, services to call, or paths to send to.
    """

    port: int
    work: str
    callers: int
    seconds: float
    requests_max: int = 10_000_000
    seed: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)


class Work:
    """One kind of request: how number n is written, and whether the answer to it is right.

    counts, ids: what it learns for the works after it.
    """

    def __init__(self, spec: Spec) -> None:
        self.requests_max = spec.requests_max
        self.counts = dict(spec.counts)
        self.ids = list(spec.ids)

    def request(self, n: int) -> tuple[bytes, str]:
        """The bytes to send, and a tag that comes back with the answer."""
        raise NotImplementedError

    def is_right(self, tag: str, status: int, body: bytes) -> bool:
        """Whether this can be the answer to the request with this tag."""
        raise NotImplementedError

    def finish(self) -> list[str]:
        """What only all the answers together can show to be wrong."""
        return []


class Function(Work):
    """A call whose answer depends on its number alone."""

    def __init__(self, spec: Spec, path: str, answer: Callable[[int], object]) -> None:
        super().__init__(spec)
        self.path, self.answer = path, answer

    def request(self, n: int) -> tuple[bytes, str]:
        return http_request("POST", self.path, str(n)), str(n)

    def is_right(self, tag: str, status: int, body: bytes) -> bool:
        return status == 200 and json.loads(body) == self.answer(int(tag))


class Keyed(Work):
    """Calls on random keys; the answers of one key must be its count, each number once and none left out."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.answers: defaultdict[str, list[int]] = defaultdict(list)
        self.random = random.Random(spec.seed)

    def request(self, n: int) -> tuple[bytes, str]:
        key = f"key{self.random.randrange(KEY_COUNT)}"
        return http_request("POST", f"/Counter/{key}/keyed", str(n)), key

    def is_right(self, tag: str, status: int, body: bytes) -> bool:
        if status != 200:
            return False
        self.answers[tag].append(int(body))
        return True

    def finish(self) -> list[str]:
        errors = []
        for key, answers in self.answers.items():
            first = self.counts.get(key, 0) + 1
            if sorted(answers) != list(range(first, first + len(answers))):
                errors.append(f"{key}: its {len(answers)} answers are not the counts from {first} on")
            self.counts[key] = max(answers)
        return errors


class UnicodeKeyed(Keyed):
    """The same on keys of all Unicode in turn, percent-encoded in the address."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.keys = unicode_keys()

    def request(self, n: int) -> tuple[bytes, str]:
        key = self.keys[n % len(self.keys)]
        return http_request("POST", f"/Counter/{quote(key, safe='')}/keyed", str(n)), key


class Many(Work):
    """One call to each of the services that `ids` names, which answers with its own name."""

    def request(self, n: int) -> tuple[bytes, str]:
        return http_request("POST", f"/{self.ids[n]}/name", ""), self.ids[n]

    def is_right(self, tag: str, status: int, body: bytes) -> bool:
        return status == 200 and json.loads(body) == tag


class SendWaiting(Work):
    """Sends invocations of `wait`, and keeps the id of number n as `ids[n]`."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.ids = [""] * spec.requests_max

    def request(self, n: int) -> tuple[bytes, str]:
        return http_request("POST", "/Waiter/wait/send", str(n), f"idempotency-key: {n}\r\n"), str(n)

    def is_right(self, tag: str, status: int, body: bytes) -> bool:
        answer = json.loads(body)
        self.ids[int(tag)] = answer["invocationId"]
        return status == 202 and answer["status"] == "Accepted"


class Sends(Work):
    """Sends to the paths that `ids` names in turn, and keeps the id of number n as `ids[n]`."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.paths, self.ids = spec.ids, [""] * spec.requests_max

    def request(self, n: int) -> tuple[bytes, str]:
        return http_request("POST", self.paths[n % len(self.paths)], str(n)), str(n)

    def is_right(self, tag: str, status: int, body: bytes) -> bool:
        answer = json.loads(body)
        self.ids[int(tag)] = answer["invocationId"]
        return status == 202 and answer["status"] == "Accepted"


class Resolve(Work):
    """Resolves the awakeable of the n-th waiting invocation with twice its number."""

    def request(self, n: int) -> tuple[bytes, str]:
        path = f"/restate/awakeables/{awakeable_id(self.ids[n])}/resolve"
        return http_request("POST", path, str(2 * n)), str(n)

    def is_right(self, tag: str, status: int, body: bytes) -> bool:
        return status == 202


class Attach(Work):
    """Attaches to the n-th waiting invocation, whose result is its number and the resolved one added up."""

    def request(self, n: int) -> tuple[bytes, str]:
        return http_request("GET", f"/restate/attach/{self.ids[n]}", ""), str(n)

    def is_right(self, tag: str, status: int, body: bytes) -> bool:
        return status == 200 and int(body) == 3 * int(tag)


def make_work(spec: Spec) -> Work:
    """The work that `spec` names."""
    match spec.work:
        case "route2":
            return Function(spec, "/Steps/route2", lambda n: f"{'car' if n % 2 else 'medical'}:{n}")
        case "steps10":
            return Function(spec, "/Steps/steps10", lambda n: n + 10)
        case "agents":
            return Function(spec, "/Agents/answer", lambda _: "It is covered.")
        case "empty_steps":
            return Function(spec, "/Agents/steps", lambda _: "done")
        case "keyed":
            return Keyed(spec)
        case "unicode":
            return UnicodeKeyed(spec)
        case "many":
            return Many(spec)
        case "send_waiting":
            return SendWaiting(spec)
        case "sends":
            return Sends(spec)
        case "resolve":
            return Resolve(spec)
        case "attach":
            return Attach(spec)
    raise ValueError(f"unknown work {spec.work!r}")


def http_request(method: str, path: str, body: str, headers: str = "") -> bytes:
    """A request over a connection that stays open; a body is declared as JSON."""
    if body:
        headers += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n{body}".encode()


def awakeable_id(invocation_id: str) -> str:
    """The id of the first awakeable an invocation makes, which its caller can so compute without asking.

    Source: service-protocol.md 3.4 and 3.5.
    """
    digits = invocation_id.removeprefix("inv_1")
    raw = _base62_bytes(digits[:11], 8) + _base62_bytes(digits[11:], 16) + FIRST_AWAKEABLE.to_bytes(4, "big")
    return "sign_1" + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _base62_bytes(digits: str, size: int) -> bytes:
    number = 0
    for digit in digits:
        number = number * 62 + BASE62.index(digit)
    return number.to_bytes(size, "little")
