"""An SDK as small as it can be: runs one attempt of a program against the journal it is given.

Commands are compared with the replayed ones byte for byte; awaits take notifications one by one in journal order, so a
replay decides every race as the first run did. A difference, or an await that a journaled command depended on and that
the journal cannot answer, is a Violation: the engine lost or invented something. programs.py has the handler bodies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from random import Random

from tests.simulation.world import World

from rewake.core import ids
from rewake.core.effects import Forward, StartAttempt
from rewake.protocol import messages as m
from rewake.protocol.awaiting import Outcome, is_resolved, waiting_completions, waiting_signals
from rewake.protocol.codec import decode_message, encode_message, message_type
from rewake.protocol.framing import Oversized

Steps = Generator[None, None, None]
Sent = tuple[m.Message | Oversized, int, bytes, int]


class Violation(AssertionError):
    """The engine did something it promises not to do."""


class Cancelled(Exception):
    """The handler was cancelled at an await."""


class Failed(Exception):
    """The handler failed for good."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.failure = m.Failure(code, message)


class Retryable(Exception):
    """The attempt failed and wants another one."""

    def __init__(self, delay_ms: int | None = None, behavior: m.ErrorBehavior = m.ErrorBehavior.RETRY) -> None:
        super().__init__("retryable")
        self.delay_ms = delay_ms
        self.behavior = behavior


class Outside:
    """What handlers can see of the world outside: the clock, awakeable ids, and who executed which step."""

    def __init__(self, world: World, rng: Random) -> None:
        self.world = world
        self.rng = rng
        self.now_ms = 1_000_000
        self.awakeables: list[tuple[ids.InvocationId, int]] = []
        self.step_count = 0
        self.on_step: Callable[[Attempt, int], None] = lambda attempt, completion_id: None


class Attempt:
    """One attempt of one invocation, with its stream to the engine."""

    def __init__(
        self,
        start: StartAttempt,
        entries: Iterable[tuple[int, bytes]],
        outside: Outside,
        body: Callable[[Attempt], Steps],
        *,
        is_half_closed: bool,
    ) -> None:
        self.start = start
        self.id = start.invocation_id
        self.epoch = start.epoch
        self.version = start.version
        self.outside = outside
        self.is_half_closed = is_half_closed
        self.is_over = False
        self.outbox: list[Sent] = []
        self.inbox: deque[m.Completion | m.Signal] = deque()
        self.results: dict[tuple[bool, int | str], m.Result] = {}
        self.cancels = 0
        self.awaiting: m.Future | None = None
        self.values = dict(start.state)
        self.is_partial = start.partial_state
        self.retry_count = start.retry_count
        self.seen: list[bytes] = []
        self.calls: list[int] = []
        self.children: list[str] = []
        self.completed_in_replay: set[int] = set()
        self._proposed: dict[int, m.Outcome] = {}
        self._ack_wanted: set[int] = set()
        self._command_count = 1
        self._completion_id = 0
        self._signal = m.FIRST_USER_SIGNAL - 1
        self._replay: deque[tuple[int, bytes]] = deque()
        self.delivered = ids.EntryIndex(0)
        self._take_replay(entries)
        self._steps = body(self)

    def _take_replay(self, entries: Iterable[tuple[int, bytes]]) -> None:
        for type_id, payload in entries:
            self.delivered = ids.EntryIndex(self.delivered + 1)
            if type_id < 0x8000:
                self._replay.append((type_id, payload))
            else:
                note = decode_message(type_id, payload, self.version)
                assert isinstance(note, m.Completion | m.Signal)
                self.inbox.append(note)
                if isinstance(note, m.Completion):
                    self.completed_in_replay.add(note.completion_id)
        type_id, payload = self._replay.popleft()
        if type_id != m.MessageType.INPUT:
            raise Violation("a journal does not begin with its input")

    # The stream

    def receive(self, effect: Forward) -> None:
        """A notification or an ack arrives."""
        if self.is_half_closed:
            return
        if not effect.is_ack and effect.index < self.delivered:
            return
        self.delivered = ids.EntryIndex(max(self.delivered, effect.index + 1))
        message = decode_message(effect.type_id, effect.payload, self.version)
        if isinstance(message, m.CommandAck):
            if message.command_index not in self._ack_wanted:
                raise Violation(f"ack nobody asked for: {message}")
            self._ack_wanted.discard(message.command_index)
        elif isinstance(message, m.ProposeRunCompletionAck):
            result = self._proposed.pop(message.completion_id)
            self.inbox.append(m.Completion(m.MessageType.RUN_COMPLETION, message.completion_id, result))
        else:
            assert isinstance(message, m.Completion | m.Signal)
            self.inbox.append(message)

    def advance(self) -> None:
        """Run the handler until it waits for something that is not there."""
        if self.is_over:
            return
        try:
            next(self._steps)
        except StopIteration:
            self._say(m.End())
        except Retryable as error:
            self._say(m.Error(500, "try again", next_retry_delay=error.delay_ms, behavior=error.behavior))
        else:
            if self._replay:
                raise Violation(f"journal lost what {self._replay[0]} depended on; waiting for {self.awaiting}")
            if self.is_half_closed:
                assert self.awaiting is not None
                self._say(m.Suspension(self._on_the_wire(self.awaiting)))
            return
        if self._replay:
            raise Violation(f"journal has commands the handler does not make: {list(self._replay)}")

    def _say(self, message: m.Message) -> None:
        self.is_over = True
        self.outbox.append((message, message_type(message), b"", 0))

    def _on_the_wire(self, future: m.Future) -> m.Future:
        if self.version >= 7:
            return future
        signals = waiting_signals(future)
        return m.Future(
            waiting_completions(future),
            tuple(signal for signal in signals if isinstance(signal, int)),
            tuple(signal for signal in signals if isinstance(signal, str)),
        )

    # What handler bodies use

    def completion_id(self) -> int:
        self._completion_id += 1
        return self._completion_id

    def signal_index(self) -> int:
        self._signal += 1
        return self._signal

    @property
    def replayed(self) -> tuple[int, bytes] | None:
        """The journaled command that comes next, while replaying."""
        return self._replay[0] if self._replay else None

    def command(self, message: m.Command) -> None:
        """Make a command, or find that it was made already."""
        type_id = message_type(message)
        payload = encode_message(message, self.version)
        self._command_count += 1
        if not self._replay:
            self.retry_count = 0
            flags = m.REQUESTED_ACK if self.outside.rng.random() < 0.05 else 0
            if flags:
                self._ack_wanted.add(self._command_count - 1)
            self.outbox.append((message, type_id, payload, flags))
            return
        found_type, found = self._replay.popleft()
        if found_type != type_id or (found != payload and type_id != m.MessageType.SLEEP):
            raise Violation(
                f"replay differs: the handler makes {message},"
                f" the journal has {decode_message(found_type, found, self.version)}"
            )

    def propose(self, completion_id: int, result: m.Outcome) -> None:
        """The outcome of a step that was just executed."""
        flags = m.REQUESTED_ACK if self.version >= 7 else 0
        self._proposed[completion_id] = result
        message = m.ProposeRunCompletion(completion_id, result)
        self.outbox.append((message, m.MessageType.PROPOSE_RUN_COMPLETION, b"", flags))

    def wait(self, future: m.Future, *, is_cancellable: bool = True) -> Steps:
        """Take notifications until `future` is resolved. Raises Cancelled when a cancel comes before that."""
        while not is_resolved(future, self._outcome):
            if is_cancellable and self.cancels:
                self.cancels -= 1
                raise Cancelled
            if not self.inbox:
                self.awaiting = self._rest(future, is_cancellable)
            while not self.inbox:
                yield
            self._take(self.inbox.popleft())
        self.awaiting = None

    def _take(self, note: m.Completion | m.Signal) -> None:
        if isinstance(note, m.Completion):
            if (False, note.completion_id) in self.results:
                raise Violation(f"two results for completion {note.completion_id}: {note}")
            self.results[False, note.completion_id] = note.result
        elif note.signal == m.CANCEL_SIGNAL:
            self.cancels += 1
        else:
            self.results.setdefault((True, note.signal), note.result)

    def _outcome(self, identity: int | str, is_signal: bool) -> Outcome:
        result = self.results.get((is_signal, identity))
        if result is None:
            return Outcome.PENDING
        return Outcome.FAILURE if isinstance(result, m.Failure) else Outcome.SUCCESS

    def _rest(self, future: m.Future, is_cancellable: bool) -> m.Future:
        """The unresolved rest of a flat await, as the SDK tells it when it suspends."""
        rest = m.Future(
            tuple(item for item in future.completions if (False, item) not in self.results),
            tuple(item for item in future.signals if (True, item) not in self.results),
            tuple(item for item in future.named_signals if (True, item) not in self.results),
            combinator=future.combinator,
        )
        if not is_cancellable:
            return rest
        return m.Future(signals=(m.CANCEL_SIGNAL,), nested=(rest,), combinator=m.Combinator.FIRST_COMPLETED)

    def result(self, completion_id: int) -> Generator[None, None, m.Result]:
        """Wait for one completion."""
        yield from self.wait(m.Future((completion_id,), combinator=m.Combinator.FIRST_COMPLETED))
        return self.results[False, completion_id]

    def see(self, result: m.Result) -> bytes:
        """Let a result flow into the output; its value, empty if it has none."""
        match result:
            case m.Success(content):
                self.seen.append(content)
                return content
            case m.Failure(code, message):
                self.seen.append(f"!{code}{message}".encode())
            case m.StateKeys(keys):
                self.seen.append(b",".join(keys))
            case _:
                self.seen.append(b"-")
        return b""

    @property
    def debug_id(self) -> str:
        return ids.invocation_id_to_str(self.id)
