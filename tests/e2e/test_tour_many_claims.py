"""Many customers at once while processes are killed at random moments: all are answered, no finished call is repeated.

The moments come from a seed: a kill falls when the models have been asked so many times. What a model said just before
a kill may be lost before the engine hears it; such a call is repeated, and only such a one.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path

import pytest
from cli_process import WAIT_S
from tour import ALL, HANDOFFS, Reply, TourEngine, asked, is_running, journals, needs, plain, titles, until

from rewake.testing.models import ModelServer

CUSTOMERS = tuple(f"customer-{number}" for number in range(8))
CUSTOMERS_AT_ONCE = 8
KILLS = 4 if ALL else 2
MODEL_DELAY_S = 0.05
CONVERSATION = {
    "I broke my leg and was in hospital for two nights": ("route-to-medical", "medical-file", "medical-answer"),
    "When is the money paid?": ("medical-chat",),
    "And somebody hit my car": ("route-to-car", "car-file", "car-answer"),
}
ANSWERS = [
    {"agent": "Medical specialist", "text": "Your claim M-# is filed. We answer within two days."},
    {"agent": "Medical specialist", "text": "The money arrives five days after we accept the claim."},
    {"agent": "Car specialist", "text": "Your claim C-# is filed. We answer within two days."},
]
DECISIONS = len(CUSTOMERS) * sum(len(rules) for rules in CONVERSATION.values())
WORKER_DIED = "RT0010"
HANDOFFS_ONLY = pytest.mark.parametrize("tour", [needs(HANDOFFS)])


class Desk:
    """The engine that is up at the moment, and the kills so far."""

    def __init__(self, seed: int, folder: Path, models: ModelServer) -> None:
        self.random = random.Random(seed)
        self.folder, self.models = folder, models
        self.engine_kills = 0
        self.log: list[str] = []
        self.engine = self._started()

    def _started(self) -> TourEngine:
        engine = TourEngine(HANDOFFS.app, self.folder, self.models, "--workers", "2")
        engine.__enter__()
        self.workers = {engine.wait_for_worker(), engine.wait_for_worker()}
        return engine

    def moments(self, count: int) -> list[int]:
        """How often the models are to have been asked at each kill."""
        return sorted(self.random.sample(range(2, DECISIONS - 4), count))

    def wait_for(self, moment: int) -> None:
        """Return when the models have been asked so often."""
        until(lambda: sum(asked(self.models).values()) >= moment, f"call {moment} of a model")

    def kill_a_worker(self) -> None:
        """One that is ready; its successor is left to start while the others go on."""
        if not self.workers:
            self.workers = {self.engine.wait_for_worker()}
        victim = self.random.choice(sorted(self.workers))
        self.workers.remove(victim)
        os.kill(victim, signal.SIGKILL)

    def kill_the_engine(self) -> None:
        """And start it again on the same data."""
        self.engine_kills += 1
        self.engine.process.kill()
        self.engine.close()
        self.log += self.engine.lines
        until(lambda: not any(map(is_running, self.workers)), "the end of the workers")
        self.engine = self._started()

    def attempts_cut_off(self) -> Counter[str]:
        """How many attempts of each invocation the engines saw die with a worker. Nothing else may fail."""
        log = self.log + self.engine.lines
        failed = [json.loads(line) for line in log if '"attempt_failed"' in line]
        assert {event["code"] for event in failed} <= {WORKER_DIED}
        return Counter(event["invocation_id"] for event in failed)

    def ask(self, customer: str, message: str) -> Reply:
        """One answer. Whoever loses the connection asks the next engine, with the same idempotency key."""
        path = HANDOFFS.path.format(key=customer)
        key = message.replace(" ", "-")
        while True:
            engine = self.engine
            try:
                return engine.post(path, f"{message} ({customer})", idempotency_key=key)
            except (HTTPException, OSError):
                self._wait_for_the_engine_after(engine)

    def _wait_for_the_engine_after(self, dead: TourEngine) -> None:
        until(lambda: self.engine is not dead, "the engine that follows a dead one")

    def converse(self, customer: str) -> list[Reply]:
        """A whole conversation, one message after the other."""
        return [self.ask(customer, message) for message in CONVERSATION]


@contextmanager
def desk_of(seed: int, folder: Path) -> Iterator[Desk]:
    rules = [replace(rule, delay_s=MODEL_DELAY_S) for rule in HANDOFFS.rules()]
    with ModelServer(rules) as models:
        desk = Desk(seed, folder, models)
        try:
            yield desk
        finally:
            desk.engine.close()


def check(desk: Desk, replies: dict[str, list[Reply]]) -> None:
    """Everybody got every answer, each message was handled once, and whose turn is next is remembered."""
    answers = {customer: [plain(reply.body) for reply in conversation] for customer, conversation in replies.items()}
    assert answers == dict.fromkeys(CUSTOMERS, ANSWERS)
    assert {reply.status for conversation in replies.values() for reply in conversation} == {200}
    invocations = desk.engine.query("select id from sys_invocation where target_handler_name = 'message'")
    assert len(invocations) == len(CUSTOMERS) * len(CONVERSATION)
    check_that_only_kills_repeat_calls(desk, replies)
    for customer in CUSTOMERS:
        assert desk.engine.get(f"/ClaimDesk/{customer}/agent").body == "Car specialist"


def check_that_only_kills_repeat_calls(desk: Desk, replies: dict[str, list[Reply]]) -> None:
    """No model was asked for what a journal held, and a killed attempt cost at most the one call it was in."""
    written = journals(desk.engine.query('select * from sys_journal order by id, "index"'))
    cut_off = desk.attempts_cut_off()
    calls = calls_by_decision(desk.models)
    for customer, conversation in replies.items():
        for reply, rules in zip(conversation, CONVERSATION.values(), strict=True):
            steps = [step for step in written[reply.invocation_id] if step.title == "Run call LLM"]
            assert len(steps) == len(rules), titles(written[reply.invocation_id])
            made = [calls.pop((customer, rule)) for rule in rules]
            for step, asked_at_ms in zip(steps, made, strict=True):
                assert step.finished_at_ms is not None
                assert asked_at_ms[-1] <= step.finished_at_ms, f"{customer}: asked for what the journal held"
            repeated = sum(map(len, made)) - len(rules)
            assert repeated <= cut_off[reply.invocation_id] + desk.engine_kills, f"{customer}: asked again for nothing"
    assert not calls, "nobody else was asked"


def calls_by_decision(models: ModelServer) -> dict[tuple[str, str], list[int]]:
    """When the calls for each customer and rule were made, oldest first, in milliseconds."""
    found: dict[tuple[str, str], list[int]] = {}
    for exchange in models.exchanges:
        customer = exchange.request.last_user_text.rpartition("(")[2].rstrip(")")
        found.setdefault((customer, exchange.rule or ""), []).append(exchange.at_ms)
    return found


@HANDOFFS_ONLY
def test_workers_and_the_engine_are_killed_in_turn(tour: object, tmp_path: Path) -> None:
    with desk_of(1, tmp_path) as desk, ThreadPoolExecutor(CUSTOMERS_AT_ONCE) as threads:
        conversations = {customer: threads.submit(desk.converse, customer) for customer in CUSTOMERS}
        for moment, kill in zip(desk.moments(KILLS), itertools.cycle((desk.kill_a_worker, desk.kill_the_engine))):
            desk.wait_for(moment)
            kill()
        check(desk, {customer: conversation.result(WAIT_S) for customer, conversation in conversations.items()})
