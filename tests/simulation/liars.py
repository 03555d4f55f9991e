"""Histories in which some deployments lie: their messages come cut, doubled, out of order, late, or were made up.

`run(seed)` plays a history (history.py) in which every third invocation lies at random while faults last. Ids name
what is not there or what another command has, results are proposed for what waits for none, suspensions wait for what
is over, streams go on after their end or end without one. Whatever a liar says, the engine goes on, all that honest
invocations are promised holds (model.py, sdk_model.py), each completion id gets one result, and a liar itself ends,
waits for something that can come, or has a named error. At the end an operator kills what is left of the liars.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from random import Random

from tests.simulation.history import History, play
from tests.simulation.programs import body
from tests.simulation.sdk_model import Attempt, Sent

from rewake.core import commands, ids
from rewake.core.effects import CloseAttempt, Forward, StartAttempt
from rewake.core.ids import InvocationId
from rewake.core.model import AttemptError, Invocation, Status
from rewake.protocol import messages as m
from rewake.protocol.codec import encode_message, message_type
from rewake.protocol.framing import Oversized

LIAR_SHARE = 0.35
LIE_SHARE = 0.6
"""Of the invocations, and of the moments in which a liar speaks."""

QUIET_ROUNDS = 60
LATER_MS = 1 << 46
"""A time that is never reached but in a history, where the clock jumps to what is due next: it must fit an id."""

COMBINATORS = tuple(m.Combinator)


class LyingAttempt(Attempt):
    """Gives up with an error, as an SDK does, when its own lies come back to it in its journal."""

    def advance(self) -> None:
        try:
            super().advance()
        except Exception as error:  # noqa: BLE001  whatever the junk in its journal led to
            self._say(m.Error(570, f"the journal does not fit: {error}"[:200]))

    def receive(self, effect: Forward) -> None:
        try:
            super().receive(effect)
        except Exception:  # noqa: BLE001  as above
            self._say(m.Error(571, "an unexpected message"))


class LyingHistory(History):
    """A history with liars in it; they draw from a Random of their own."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.lies = Random(f"lies {seed}")
        self.liars: dict[InvocationId, bool] = {}
        self.held_back: list[tuple[Attempt, Sent]] = []
        self.said: dict[InvocationId, list[Sent]] = {}
        self.told: Counter[str] = Counter()

    # Who lies, and when

    def lies_now(self, invocation_id: InvocationId) -> bool:
        return self.liars.get(invocation_id, False) and self.is_faulty and self.lies.random() < LIE_SHARE

    def _make_attempt(
        self, effect: StartAttempt, entries: Iterable[tuple[int, bytes]], *, is_half_closed: bool
    ) -> Attempt:
        self._find_forks()
        is_liar = self.liars.setdefault(effect.invocation_id, self.lies.random() < LIAR_SHARE)
        kind = LyingAttempt if is_liar else Attempt
        return kind(effect, entries, self.outside, body, is_half_closed=is_half_closed)

    def _find_forks(self) -> None:
        """A fork has the lies of the journal that it was made from."""
        for item in self.store.invocations.values():
            if item.restarted_from is not None and self.liars.get(item.restarted_from):
                self.liars[item.id] = True

    def play_attempt(self, attempt: Attempt, count: int | None = None) -> None:
        if self.lies_now(attempt.id):
            attempt.advance()
            self.said.setdefault(attempt.id, []).extend(attempt.outbox)
            name, lie = self.lies.choice(LIES)
            self.told[name] += 1
            lie(self, attempt)
        super().play_attempt(attempt, count)
        if attempt.is_over and not attempt.outbox:
            self._end_stream(attempt)

    def _end_stream(self, attempt: Attempt) -> None:
        """What a transport reports when a stream is over and nothing in it ended the attempt."""
        known = self.state.invocations.get(attempt.id)
        if self.liars.get(attempt.id) and known is not None and known.attempt is not None:
            error = AttemptError(500, "the stream ended", "RT0010")
            self.submit(
                commands.AttemptFailed(
                    now_ms=self.outside.now_ms,
                    invocation_id=attempt.id,
                    epoch=attempt.epoch,
                    error=error,
                    jitter=self.lies.random(),
                )
            )

    def _close(self, effect: CloseAttempt) -> None:
        super()._close(effect)
        if self.is_faulty:
            self.speak_of_old()

    def speak_of_old(self) -> None:
        """What was held back comes now, under whatever attempt it was said."""
        late, self.held_back = self.held_back[:2], self.held_back[2:]
        for attempt, sent in late:
            self.pass_on(attempt, [sent], self.lies)

    # What must hold

    def finish(self) -> None:
        """Liars say no more than what their programs say, and still none of them hangs; then they are killed."""
        self.is_faulty = False
        self.zombies, self.held_back = [], []
        for _ in range(QUIET_ROUNDS):
            self.settle()
            if not self.go_on():
                break
        self.settle()
        self._find_forks()
        for invocation in self.store.invocations.values():
            if self.liars.get(invocation.id):
                self._check_liar(invocation)
        for invocation_id in [known for known, is_liar in self.liars.items() if is_liar]:
            self.submit(self._kill(invocation_id))
        super().finish()

    def _is_owed(self, awakeable: tuple[InvocationId, int]) -> bool:
        is_known = awakeable in self.outside.awakeables or not self.liars.get(awakeable[0])
        return is_known and super()._is_owed(awakeable)

    def _check_liar(self, invocation: Invocation) -> None:
        """It has ended, waits, or runs; when it backs off or is paused, its error is named."""
        is_running = invocation.id in self.running
        is_asked_to_pause = invocation.status is Status.PAUSED and invocation.last_error is None
        if invocation.status is Status.INVOKED and not is_running and invocation.next_retry_at_ms is None:
            raise AssertionError(f"a liar hangs: {invocation}")
        if invocation.is_backing_off or (invocation.status is Status.PAUSED and not is_asked_to_pause):
            assert invocation.last_error is not None, invocation
            assert invocation.last_error.restate_code, invocation


# Lies about what is there


def _cut(history: LyingHistory, attempt: Attempt) -> None:
    if attempt.outbox:
        del attempt.outbox[history.lies.randrange(len(attempt.outbox))]


def _double(history: LyingHistory, attempt: Attempt) -> None:
    if attempt.outbox:
        attempt.outbox.append(history.lies.choice(attempt.outbox))


def _shuffle(history: LyingHistory, attempt: Attempt) -> None:
    history.lies.shuffle(attempt.outbox)


def _hold_back(history: LyingHistory, attempt: Attempt) -> None:
    """One comes later, perhaps when another attempt has taken the place of this one."""
    if attempt.outbox:
        history.held_back.append((attempt, attempt.outbox.pop(history.lies.randrange(len(attempt.outbox)))))


def _say_again(history: LyingHistory, attempt: Attempt) -> None:
    """Something that an attempt of this invocation said at some time."""
    attempt.outbox.append(history.lies.choice(history.said.get(attempt.id) or [_sent(m.End(), 6)]))


def _break_off(history: LyingHistory, attempt: Attempt) -> None:
    attempt.outbox = attempt.outbox[:1]
    attempt.is_over = True


# Made up


def _sent(message: m.Message, version: int, flags: int = 0) -> Sent:
    return message, int(message_type(message)), encode_message(message, version), flags


def _invent(make: Callable[[Random, LyingHistory, Attempt], m.Message]) -> Callable[[LyingHistory, Attempt], None]:
    def lie(history: LyingHistory, attempt: Attempt) -> None:
        flags = history.lies.choice((0, 0, 0, m.REQUESTED_ACK))
        sent = _sent(make(history.lies, history, attempt), attempt.version, flags)
        attempt.outbox.insert(history.lies.randrange(len(attempt.outbox) + 1), sent)

    return lie


def _any_id(rng: Random) -> int:
    """Small ones are often those of other commands."""
    return rng.choice((0, 1, 1, 2, 2, 3, 4, 5, 6, 17, 1000, 2**32 - 1))


def _proposal(rng: Random, history: LyingHistory, attempt: Attempt) -> m.Message:
    return m.ProposeRunCompletion(_any_id(rng), rng.choice((m.Success(b"lie"), m.Failure(500, "lie"))))


def _future(rng: Random, depth: int = 0) -> m.Future:
    nested = tuple(_future(rng, depth + 1) for _ in range(rng.randrange(3) if depth < 3 else 0))
    return m.Future(
        tuple(_any_id(rng) for _ in range(rng.randrange(3))),
        tuple(rng.choice((1, 2, 17, 18, 900)) for _ in range(rng.randrange(2))),
        tuple(rng.choice(("news", "")) for _ in range(rng.randrange(2))),
        nested,
        rng.choice(COMBINATORS),
    )


def _suspension(rng: Random, history: LyingHistory, attempt: Attempt) -> m.Message:
    future = _future(rng)
    return m.Suspension(attempt._on_the_wire(future))


def _error(rng: Random, history: LyingHistory, attempt: Attempt) -> m.Message:
    return m.Error(
        rng.choice((0, 200, 500, 570, 571, 70_000, 2**32 - 1)),
        "lie",
        related_command_index=rng.choice((None, 0, 999)),
        related_command_type=rng.choice((None, 1, 0x0411)),
        next_retry_delay=rng.choice((None, 0, 10, 2**63)),
        behavior=rng.choice(tuple(m.ErrorBehavior)) if attempt.version >= 7 else m.ErrorBehavior.RETRY,
    )


def _end(rng: Random, history: LyingHistory, attempt: Attempt) -> m.Message:
    return m.End()


def _awaiting(rng: Random, history: LyingHistory, attempt: Attempt) -> m.Message:
    return m.Suspension(m.Future()) if attempt.version < 7 else m.AwaitingOn(_future(rng))


def _command(rng: Random, history: LyingHistory, attempt: Attempt) -> m.Message:
    first, second = _any_id(rng), _any_id(rng)
    some = rng.choice([*history.store.invocations, InvocationId(b"n" * 24)])
    some_text = rng.choice((ids.invocation_id_to_str(some), "no id", ""))
    key = rng.choice((None, None, "k1", ""))
    at_ms = rng.choice((0, history.outside.now_ms + 50, LATER_MS))
    service, handler = rng.choice((("Leaf", "h0"), ("Account", "e0"), ("Flow", "run"), ("Leaf", "no"), ("No", "h0")))
    return rng.choice(
        (
            m.OutputCommand(rng.choice((m.Success(b"lie"), m.Failure(500, "lie")))),
            m.RunCommand(first, "lie"),
            m.SleepCommand(at_ms, first),
            m.CallCommand(service, handler, b"", (), rng.choice(("a", "")), key, None, None, first, second),
            m.OneWayCallCommand(service, handler, b"", (), rng.choice(("a", "")), key, None, None, at_ms, first),
            m.AttachInvocationCommand(m.InvocationIdTarget(some_text), first),
            m.GetInvocationOutputCommand(m.InvocationIdTarget(some_text), first),
            m.GetPromiseCommand("p", first),
            m.CompletePromiseCommand("p", m.Success(b"lie"), first),
            m.GetLazyStateCommand(b"x", first),
            m.GetLazyStateKeysCommand(first),
            m.GetEagerStateCommand(b"x", m.Success(b"lie")),
            m.SetStateCommand(b"x", b"lie"),
            m.ClearAllStateCommand(),
            m.SendSignalCommand(some_text, rng.choice((1, 2, 17, "news")), m.Success(b"lie")),
            m.CompleteAwakeableCommand(rng.choice((ids.awakeable_id_format(some, 17), "no id")), m.Success(b"lie")),
        )
    )


def _not_an_sdks(rng: Random, history: LyingHistory, attempt: Attempt) -> m.Message:
    """What only the engine says."""
    completion = m.Completion(m.MessageType.RUN_COMPLETION, _any_id(rng), m.Success(b"lie"))
    return rng.choice((m.InputCommand((), b""), m.CommandAck(1), completion, m.Signal(17, m.Success(b"lie"))))


def _too_large(history: LyingHistory, attempt: Attempt) -> None:
    type_id = history.lies.choice((m.MessageType.OUTPUT, m.MessageType.PROPOSE_RUN_COMPLETION))
    start = history.lies.choice((b"", b"\x08\x01", b"\x08\x02", b"\x08\xff"))
    attempt.outbox.append((Oversized(type_id, 1 << 30, 1 << 20, start), type_id, b"", 0))


LIES: tuple[tuple[str, Callable[[LyingHistory, Attempt], None]], ...] = (
    ("cut", _cut),
    ("doubled", _double),
    ("shuffled", _shuffle),
    ("held back", _hold_back),
    ("said again", _say_again),
    ("broken off", _break_off),
    ("proposal of nothing", _invent(_proposal)),
    ("suspension on anything", _invent(_suspension)),
    ("error", _invent(_error)),
    ("early end", _invent(_end)),
    ("hint", _invent(_awaiting)),
    ("command", _invent(_command)),
    ("another command", _invent(_command)),
    ("a message of the engine", _invent(_not_an_sdks)),
    ("too large", _too_large),
)


def run(seed: int) -> LyingHistory:
    """Play the history of a seed with liars. Raises with a note that says how to play it again."""
    history = LyingHistory(seed)
    play(history, seed, "--liars")
    return history
