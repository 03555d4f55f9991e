"""The script of a server: it chooses the rule for each request, holds calls at gates, and records them.

It belongs to the server's event loop; `hold`, `release` and the snapshots may be used from any thread. It knows no
HTTP: app.py passes requests to it, and server.py shows its records to tests. rules.py defines matching.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from .apis import Ids
from .request import ModelRequest
from .rules import Answer, Rule, ToolCalls

Outcome = Literal["pending", "answered", "failed", "abandoned", "unmatched"]


@dataclass(slots=True)
class Exchange:
    """A recorded request and its outcome.

    Without a matching rule `rule` is None and the outcome "unmatched". "pending": the call is delayed or held.
    "failed": the rule answered with a failure. "abandoned": the client hung up before the answer.
    """

    number: int
    request: ModelRequest
    rule: str | None
    answer: Answer | None
    at_ms: int
    outcome: Outcome = "pending"

    @property
    def is_answered(self) -> bool:
        """Whether the client got a model's answer."""
        return self.outcome == "answered"


@dataclass(frozen=True, slots=True)
class CallCount:
    """Calls of one rule: `asked` counts all of them, `answered` those that got a model's answer."""

    asked: int = 0
    answered: int = 0


@dataclass(slots=True)
class Gate:
    """A rule's gate. While `is_closed`, calls wait.

    reached: count of all calls that arrived.   waiting: count of calls that wait now.
    """

    is_closed: bool = False
    reached: int = 0
    waiting: int = 0


class NoRuleMatches(Exception):
    """No rule matches. The message shows the request, its tools, and why each rule does not match."""


class Script:
    """The rules of one server, and the record of its calls."""

    def __init__(self, rules: Iterable[Rule], on_request: Callable[[Exchange], None] | None = None) -> None:
        self.rules = _named(rules)
        self._on_request = on_request
        self.ids = Ids()
        self._exchanges: list[Exchange] = []
        self._gates = {rule.name: Gate(is_closed=_begins_closed(rule)) for rule in self.rules}
        self._is_closing = False
        self._changed: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def use(self, rules: Iterable[Rule]) -> None:
        """Replace the rules, and clear the records. Held calls are answered."""
        self.reset()
        for name in self._gates:
            self.release(name)
        self.rules = _named(rules)
        self._gates = {rule.name: Gate(is_closed=_begins_closed(rule)) for rule in self.rules}

    def attach(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Use this event loop from now on; None after the server has stopped."""
        self._loop = loop
        self._changed = None if loop is None else asyncio.Event()
        self._is_closing = False

    def close(self) -> None:
        """End all held calls without an answer: the server is about to stop."""
        self._is_closing = True
        self._notify_from_any_thread()

    def take(self, request: ModelRequest) -> Exchange:
        """Choose the rule and record the request.   Raises NoRuleMatches after recording it as unmatched."""
        reasons: list[str] = []
        for rule in self.rules:
            asked = self.count(rule.name).asked
            reason = rule.mismatch(request, asked)
            if reason is None:
                exchange = self._record(request, rule, self._with_call_ids(rule.answer_to(request, asked)))
                if self._on_request is not None:
                    self._on_request(exchange)
                return exchange
            reasons.append(f"{rule.name} ({rule.conditions()}): {reason}")
        self._record(request, None, None).outcome = "unmatched"
        raise NoRuleMatches(_explanation(request, reasons))

    async def pass_gate(self, exchange: Exchange) -> bool:
        """Wait for the rule's delay, and while its gate is closed; False if the server stops meanwhile."""
        rule = self._rule_of(exchange)
        await self._rest(rule.delay_s)
        gate = self._gates[rule.name]
        if gate.is_closed and rule.hold_after is None:
            await self._wait_at(gate)
        return not self._is_closing

    async def pass_event(self, exchange: Exchange, number: int) -> bool:
        """Wait before event `number`, from 0, of a streamed answer; False if the server stops."""
        rule = self._rule_of(exchange)
        await self._rest(rule.pace_s)
        gate = self._gates[rule.name]
        if gate.is_closed and number == rule.hold_after:
            await self._wait_at(gate)
        return not self._is_closing

    def _rule_of(self, exchange: Exchange) -> Rule:
        return next(rule for rule in self.rules if rule.name == exchange.rule)

    async def _rest(self, seconds: float) -> None:
        """Wait so long, or until the server stops."""
        if seconds:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wait_until(lambda: self._is_closing), seconds)

    def finish(self, exchange: Exchange, outcome: Outcome) -> None:
        """Record the end of a call."""
        exchange.outcome = outcome
        self._notify()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds; it is checked after every change."""
        while not condition():
            assert self._changed is not None, "wait_until() needs a running server"
            await self._changed.wait()

    def hold(self, rule_name: str) -> Gate:
        """Close the gate of a rule: its calls wait from now on.   Raises ValueError for an unknown rule."""
        gate = self.gate(rule_name)
        gate.is_closed = True
        return gate

    def release(self, rule_name: str) -> None:
        """Open the gate: held calls are answered, and later ones at once."""
        self.gate(rule_name).is_closed = False
        self._notify_from_any_thread()

    def reset(self) -> None:
        """Clear all records and counts, and set every gate back to its rule's own."""
        self._exchanges.clear()
        for rule in self.rules:
            gate = self._gates[rule.name]
            gate.is_closed, gate.reached = _begins_closed(rule), 0
        self._notify_from_any_thread()

    def gate(self, rule_name: str) -> Gate:
        """The gate of a rule.   Raises ValueError for an unknown rule."""
        if rule_name not in self._gates:
            raise ValueError(f"No rule is named {rule_name!r}; there are: {', '.join(self._gates) or 'none'}")
        return self._gates[rule_name]

    def exchanges(self) -> tuple[Exchange, ...]:
        """All records so far, oldest first."""
        return tuple(self._exchanges)

    def count(self, rule_name: str) -> CallCount:
        """How often a rule was asked and answered."""
        mine = [exchange for exchange in self._exchanges if exchange.rule == rule_name]
        return CallCount(len(mine), sum(exchange.is_answered for exchange in mine))

    def counts(self) -> dict[str, CallCount]:
        """The count of every rule, in the order of the rules."""
        return {rule.name: self.count(rule.name) for rule in self.rules}

    async def _wait_at(self, gate: Gate) -> None:
        gate.reached += 1
        gate.waiting += 1
        self._notify()
        try:
            await self.wait_until(lambda: self._is_closing or not gate.is_closed)
        finally:
            gate.waiting -= 1

    def _record(self, request: ModelRequest, rule: Rule | None, answer: Answer | None) -> Exchange:
        exchange = Exchange(
            number=len(self._exchanges) + 1,
            request=request,
            rule=None if rule is None else rule.name,
            answer=answer,
            at_ms=time.time_ns() // 1_000_000,
        )
        self._exchanges.append(exchange)
        self._notify()
        return exchange

    def _with_call_ids(self, answer: Answer) -> Answer:
        if not isinstance(answer, ToolCalls):
            return answer
        return replace(answer, calls=tuple(replace(c, id=c.id or self.ids.next("call")) for c in answer.calls))

    def _notify(self) -> None:
        if self._changed is not None:
            # Waiting tasks hold the old event, which is now set; later ones get the new one.
            self._changed.set()
            self._changed = asyncio.Event()

    def _notify_from_any_thread(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._notify)


def _begins_closed(rule: Rule) -> bool:
    return rule.hold or rule.hold_after is not None


def _named(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    named = tuple(rule if rule.name else replace(rule, name=f"rule-{n}") for n, rule in enumerate(rules, start=1))
    names = [rule.name for rule in named]
    if doubles := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Rules must have different names; given twice: {', '.join(doubles)}")
    return named


def _explanation(request: ModelRequest, reasons: list[str]) -> str:
    lines = [
        "No rule of the scripted model server fits this request.",
        f"api: {request.api}   model: {request.model!r}",
        f"system: {_short(request.system)}",
        f"last user text: {_short(request.last_user_text)}",
        f"tools offered: {', '.join(request.tools) or 'none'}",
        f"tool results: {', '.join(result.name or '?' for result in request.tool_results) or 'none'}",
        "rules:" if reasons else "There are no rules.",
        *(f"  {reason}" for reason in reasons),
    ]
    return "\n".join(lines)


def _short(text: str, limit_chars: int = 160) -> str:
    return repr(text if len(text) <= limit_chars else f"{text[:limit_chars]}...")
