"""The core under any commands in any order, small: hypothesis looks for a short one that breaks an invariant.

Histories by seed (history.py) have handlers that make sense; here nothing has to. A failure is shrunk to a few steps,
which read as a test of tests/unit/core. After each step every row fits its status (State.check), and with the batch
committed: each open invocation has what will move it on, memory is what the store says, and nothing that has ended
waits for anything.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, initialize, invariant, multiple, rule
from tests.simulation.history import IN_MEMORY
from tests.unit.core.play import Asked, Play, call_command, retry, send_command

from rewake.core import commands
from rewake.core.ids import InvocationId
from rewake.core.model import Blame, Status
from rewake.protocol import messages as m

PATHS = ("greeter/greet", "greeter/route", "cart/a/add", "cart/a/view", "signup/w/run", "signup/w/look")
RESULTS = st.sampled_from((m.Success(b"v"), m.Failure(500, "no")))
NUMBERS = st.integers(1, 6)
AT_MS = st.integers(999_000, 1_003_000)
FUTURES = st.builds(
    m.Future,
    st.lists(NUMBERS, max_size=2).map(tuple),
    st.lists(st.sampled_from((1, 17)), max_size=2).map(tuple),
    combinator=st.just(m.Combinator.UNKNOWN),
)
SAID: st.SearchStrategy[m.Message] = st.one_of(
    st.builds(m.RunCommand, NUMBERS),
    st.builds(m.ProposeRunCompletion, NUMBERS, RESULTS),
    st.builds(m.SleepCommand, AT_MS, NUMBERS),
    st.builds(call_command, st.sampled_from(PATHS), NUMBERS, key=st.sampled_from((None, "k"))),
    st.builds(send_command, st.sampled_from(PATHS), NUMBERS, at_ms=AT_MS),
    st.builds(m.SetStateCommand, st.just(b"x"), st.just(b"1")),
    st.builds(m.GetPromiseCommand, st.just("p"), NUMBERS),
    st.builds(m.CompletePromiseCommand, st.just("p"), RESULTS, NUMBERS),
    st.builds(m.OutputCommand, RESULTS),
    st.builds(m.Suspension, FUTURES),
    st.builds(m.Error, st.just(500), st.just("no")),
    st.just(m.End()),
)


class Core(RuleBasedStateMachine):
    """The rules are what can happen to the engine."""

    known = Bundle("known")

    def __init__(self) -> None:
        super().__init__()
        self.play = Play(retry=retry(max_attempts=3), journal_retention_ms=1000, idempotency_retention_ms=0)

    @initialize(target=known)
    def begin(self) -> MultipleResults[InvocationId]:
        return multiple(*(self.play.call(path) for path in ("cart/a/add", "cart/a/add", "greeter/route")))

    @rule(
        target=known,
        path=st.sampled_from(PATHS),
        key=st.sampled_from((None, "k")),
        at_ms=st.one_of(st.none(), AT_MS),
    )
    def call(self, path: str, key: str | None, at_ms: int | None) -> InvocationId:
        return self.play.call(path, key=key, at_ms=at_ms)

    @rule(known=known, said=st.lists(st.one_of(SAID, SAID.map(Asked)), min_size=1, max_size=4))
    def say(self, known: InvocationId, said: list[m.Message | Asked]) -> None:
        self.play.commit()
        if known in self.play.started:
            self.play.sdk(known, *said)

    @rule(known=known)
    def end(self, known: InvocationId) -> None:
        self.say(known, [m.OutputCommand(m.Success(b"1")), m.End()])

    @rule(known=known, completion_id=NUMBERS)
    def call_from_within(self, known: InvocationId, completion_id: int) -> None:
        self.say(known, [call_command("greeter/greet", completion_id)])

    @rule(known=known, completion_id=NUMBERS)
    def take_a_step(self, known: InvocationId, completion_id: int) -> None:
        step = m.ProposeRunCompletion(completion_id, m.Success(b"v"))
        self.say(known, [m.RunCommand(completion_id), step])

    @rule(known=known, awaiting=FUTURES)
    def suspend(self, known: InvocationId, awaiting: m.Future) -> None:
        self.say(known, [m.Suspension(awaiting)])

    @rule(known=known, blame=st.sampled_from(Blame))
    def fail(self, known: InvocationId, blame: Blame) -> None:
        self.play.commit()
        if known in self.play.started:
            self.play.fails(known, blame=blame)

    @rule(
        known=known,
        kind=st.sampled_from(
            (commands.Cancel, commands.Kill, commands.Pause, commands.Resume, commands.Resume, commands.Purge)
        ),
    )
    def operate(self, known: InvocationId, kind: type[Any]) -> None:
        self.play.ask(kind, known)

    @rule(known=known, result=RESULTS)
    def signal(self, known: InvocationId, result: m.Outcome) -> None:
        self.play.ask(commands.CompleteSignal, known, signal=17, result=result)

    @rule(later_ms=st.sampled_from((0, 1, 100, 5_000)))
    def time(self, later_ms: int) -> None:
        self.play.time(later_ms)

    @rule()
    def settle(self) -> None:
        self.commit()
        ended = self.play.store.ids_with(Status.COMPLETED)
        self.play.submit(commands.Sweep(now_ms=self.play.now_ms, invocation_ids=ended))

    @rule(loses_batch=st.booleans())
    def crash(self, loses_batch: bool) -> None:
        self.play.crash(loses_batch=loses_batch)

    def commit(self) -> None:
        self.play.commit()
        self._check_committed()

    @invariant()
    def rows_fit(self) -> None:
        self.play.state.check()

    def teardown(self) -> None:
        self.commit()

    def _check_committed(self) -> None:
        store, state = self.play.store, self.play.state
        opened = {item.id for item in store.invocations.values() if item.status is not Status.COMPLETED}
        for item in store.invocations.values():
            live = state.invocations.get(item.id)
            if item.status is Status.INVOKED and item.next_retry_at_ms is None:
                assert live is not None and live.attempt is not None, item
            if item.next_retry_at_ms is not None:
                assert (item.next_retry_at_ms, item.id, 0) in store.timers, item
        for live in state.invocations.values():
            stored = store.invocation(live.id)
            assert stored is not None, live
            for field in IN_MEMORY:
                setattr(stored, field, getattr(live, field))
            assert stored == live
        for rows in store.entries.values():
            results = [row.completion_id for row in rows if not row.is_command and row.completion_id is not None]
            assert len(set(results)) == len(results), rows
        assert {timer[1] for timer in store.timers} <= opened
        waiting = [*store.listener_rows.values(), *store.promise_listeners.values()]
        assert {listener.caller_id for rows in waiting for listener in rows} <= opened


Core.TestCase.settings = settings(max_examples=40, stateful_step_count=40)
TestCore = Core.TestCase
