"""The storm: callers that do not give up, faults on a clock, and the judgement when all is quiet again."""

from __future__ import annotations

import http.client
import random
import statistics
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos.ledger import Answer, Verdict, acts_of, judge
from tests.chaos.usage import Sample, Usage, ends_of, growth_of
from tests.chaos.world import ACCOUNTS, PREFIXES, World

KINDS: Final = {"steps": 5, "nap": 2, "transfer": 4, "answer": 3}
LEAVES: Final = 0.08
"""Of the calls; the caller closes its connection early and asks again."""

SENDS: Final = 0.2
"""Of the calls are sent, and asked for by their id later."""

QUIET_WITHIN_S: Final = 120.0

SOAK: Final = ("--journal-retention", "10s", "--idempotency-retention", "10s", "--cleanup-interval", "5s")
"""Options of an engine that is to stay as large as it is."""


@dataclass(slots=True)
class Outcome:
    """What a storm came to."""

    seconds: float
    call_count: int
    answered: Counter[str]
    faults: Counter[str]
    recoveries_s: list[float]
    verdict: Verdict
    samples: list[Sample]
    problems: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not (self.problems or self.verdict.repeated or self.verdict.lost)

    def lines(self) -> list[str]:
        """For people."""
        faults = ", ".join(f"{count} {name}" for name, count in sorted(self.faults.items())) or "a soak"
        answered = ", ".join(f"{count} {name}" for name, count in sorted(self.answered.items()))
        verdict, recoveries = self.verdict, sorted(self.recoveries_s) or [0.0]
        return [
            f"{self.seconds:.0f} s, {sum(self.faults.values())} faults ({faults})",
            f"{self.call_count} calls, {sum(self.answered.values())} answered ({answered})",
            f"{verdict.act_count} acts: {len(verdict.repeated)} finished ones ran again, "
            f"{verdict.cut_off} were cut off and ran again, {len(verdict.lost)} acknowledged ones lost",
            f"back at work after {statistics.median(recoveries):.2f} s at the median, {recoveries[-1]:.2f} s at most",
            *_usage_lines(self.samples),
            *(f"PROBLEM {text}" for text in [*self.problems, *verdict.repeated, *verdict.lost][:40]),
        ]


def _usage_lines(samples: list[Sample]) -> list[str]:
    if (ends := ends_of(samples)) is None:
        return []
    before, after = ends
    return [
        f"memory {before.memory_mib:.0f} -> {after.memory_mib:.0f} MiB, descriptors {before.descriptors:.0f} -> "
        f"{after.descriptors:.0f}, files {before.files_mib:.1f} -> {after.files_mib:.1f} MiB "
        f"(medians of the second and the last sixth of {len(samples)} samples)"
    ]


class Storm:
    """Callers and faults for so many seconds. fault_every_s: 0 for none."""

    def __init__(self, world: World, *, seconds: float, callers: int, fault_every_s: float, seed: int) -> None:
        self._world = world
        self._seconds = seconds
        self._callers = callers
        self._fault_every_s = fault_every_s
        self._seed = seed
        self._ends_at = 0.0
        self._gives_up_at = 0.0
        self._lock = threading.Lock()
        self._answers: dict[str, Answer] = {}
        self._kinds: Counter[str] = Counter()
        self._booked: Counter[str] = Counter()
        self._problems: list[str] = []
        self._call_count = 0

    def run(self) -> Outcome:
        """Play it to its end."""
        began = time.monotonic()
        self._ends_at = began + self._seconds
        self._gives_up_at = self._ends_at + QUIET_WITHIN_S
        threads = [threading.Thread(target=self._call, args=(number,)) for number in range(self._callers)]
        for thread in threads:
            thread.start()
        usage = Usage(lambda: self._world.engine_pid, self._world.data)
        try:
            self._play_faults(random.Random(self._seed))
        finally:
            usage.stop()
            self._ends_at = 0.0
            for thread in threads:
                thread.join()
        self._judge_accounts()
        return Outcome(
            seconds=time.monotonic() - began,
            call_count=self._call_count,
            answered=self._kinds,
            faults=self._world.faults,
            recoveries_s=self._world.recoveries_s,
            verdict=judge(acts_of(self._world.ledger.read_bytes()), self._answers),
            samples=usage.samples,
            problems=self._problems + ([] if self._fault_every_s else growth_of(usage.samples)),
        )

    def _play_faults(self, chance: random.Random) -> None:
        while (left_s := self._ends_at - time.monotonic()) > 0:
            if not self._fault_every_s:
                time.sleep(left_s)
                return
            time.sleep(min(chance.expovariate(1 / self._fault_every_s), left_s))
            self._world.fault(chance)

    # Callers

    def _call(self, number: int) -> None:
        chance = random.Random(self._seed * 1_000 + number)
        count = 0
        while time.monotonic() < self._ends_at:
            kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
            prefix = chance.choice(PREFIXES)
            run = f"{kind}-{number}-{count}-{chance.randrange(ACCOUNTS)}{chance.randrange(ACCOUNTS)}"
            count += 1
            try:
                self._ask(chance, kind, prefix, run)
            except ValueError as error:
                self._note_problem(str(error))

    def _ask(self, chance: random.Random, kind: str, prefix: str, run: str) -> None:
        """Ask until there is an answer. Raises ValueError for one that is an error."""
        path = f"/{prefix}Desk/{kind}"
        with self._lock:
            self._call_count += 1
        sends = chance.random() < SENDS
        while True:
            leaves_after_s = chance.random() * 0.3 + 0.001 if chance.random() < LEAVES else None
            try:
                if sends:
                    sent = self._world.call(f"{path}/send", run, leaves_after_s=leaves_after_s, idempotency_key=run)
                    path, sends = f"/restate/invocation/{sent['invocationId']}/attach", False
                    continue
                is_attach = path.startswith("/restate/")
                tokens = self._world.call(
                    path,
                    None if is_attach else run,
                    idempotency_key="" if is_attach else run,
                    leaves_after_s=leaves_after_s,
                )
            except (OSError, http.client.HTTPException):
                if time.monotonic() > self._gives_up_at:
                    self._note_problem(f"{prefix} {run}: no answer")
                    return
                time.sleep(0.02)
                continue
            self._note_answer(kind, prefix, run, tokens)
            return

    def _note_answer(self, kind: str, prefix: str, run: str, tokens: list[str]) -> None:
        size = self._world.ledger.stat().st_size
        with self._lock:
            self._kinds[kind] += 1
            if kind == "transfer":
                for number, (token, account) in enumerate(zip(tokens, (run[-1], run[-2]), strict=True)):
                    self._answers[f"{run}.{number}"] = Answer((token,), size)
                    self._booked[f"{prefix}-{account}"] += 1
            else:
                self._answers[run] = Answer(tuple(tokens), size)

    def _note_problem(self, text: str) -> None:
        with self._lock:
            self._problems.append(text)

    # Afterwards

    def _judge_accounts(self) -> None:
        """Each booking that was answered is in its account once."""
        for prefix in PREFIXES:
            for number in range(ACCOUNTS):
                key = f"{prefix}-{number}"
                found = self._world.count(prefix, number)
                if found != self._booked[key]:
                    self._note_problem(f"account {key} has {found} bookings, {self._booked[key]} were answered")
        left = self._world.query("SELECT id, target, status FROM sys_invocation WHERE status <> 'completed'")
        self._problems += [f"left open: {row}" for row in left]


def storm(folder: Path, *, seconds: float, callers: int = 32, fault_every_s: float = 2.0, seed: int = 0) -> Outcome:
    """Everything: start the world, let it storm, judge."""
    with World(folder, random.Random(seed), () if fault_every_s else SOAK) as world:
        return Storm(world, seconds=seconds, callers=callers, fault_every_s=fault_every_s, seed=seed).run()
