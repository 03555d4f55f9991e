"""One history: a world, clients, operators, attempts, a clock and faults, all drawn from one seed.

`run(seed)` plays random actions with faults, then lets everything finish and checks that it does. Commits go through
three stages - gathered, written, reported - so the core works on while what it did is not yet stored or not yet known
to be. A crash may fall between any two actions and after any effect. Checks are in model.py, in sdk_model.py (replay)
and in State.check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

import msgspec
from tests.simulation.memory_store import MemoryStore
from tests.simulation.model import Model
from tests.simulation.programs import body
from tests.simulation.sdk_model import Attempt, Outside, Sent, Violation
from tests.simulation.world import IDEMPOTENCY_KEYS, KEYS, STATE_NAMES, make_deployment, make_world, services_of

from rewake.core import commands, wakeups
from rewake.core.apply import apply
from rewake.core.effects import CloseAttempt, CloseMode, Completed, Effect, Forward, Reply, ReplyStatus, StartAttempt
from rewake.core.ids import DeploymentId, InvocationId, workflow_invocation_id
from rewake.core.model import AttemptError, Blame, Status, Target, Timer
from rewake.core.state import NO_EPOCH, State
from rewake.core.writes import Batch
from rewake.protocol import messages as m
from rewake.protocol.awaiting import waiting_signals
from rewake.protocol.discovery import HandlerKind, ServiceType

ACTIONS_MIN, ACTIONS_MAX = 50, 190
FINISHING_ROUNDS_MAX = 3000
INVOCATIONS_MAX = 40
IN_MEMORY = ("epoch", "attempt", "journal", "listeners", "notified")
WAITING = (ReplyStatus.ACCEPTED, ReplyStatus.PENDING)


class History:
    """State of one run."""

    def __init__(self, seed: int, store: MemoryStore | None = None) -> None:
        self.rng = Random(seed)
        self.world = make_world(self.rng)
        self.store = store or MemoryStore()
        self.model = Model(self.store)
        self.outside = Outside(self.world, self.rng)
        self.outside.on_step = self._check_step
        self.settings = msgspec.structs.replace(self.world.settings, kills_per_command=(1, 2, 10)[seed % 3])
        self.state = State(self.store, self.settings)
        self.sealed: list[tuple[Batch, list[Effect]]] = []
        self.written: list[tuple[Batch, list[Effect]]] = []
        self.running: dict[InvocationId, Attempt] = {}
        self.zombies: list[Attempt] = []
        self.waiting: dict[InvocationId, set[int]] = {}
        self.asked: set[int] = set()
        self.token = 0
        self.commit_count = 0
        self.command_count = 0
        self.deployment_count = 1
        self.is_faulty = True
        self.old_timers: list[Timer] = []

    # The engine around the core

    def submit(self, command: commands.Command) -> None:
        self.command_count += 1
        if isinstance(command, commands.RestartAsNew):
            self._apply_restart(command)
        else:
            apply(self.state, command)
        self.state.check()

    def _apply_restart(self, command: commands.RestartAsNew) -> None:
        before = self._stored_facts(command.invocation_id)
        apply(self.state, command)
        if self._stored_facts(command.invocation_id) != before:
            raise Violation(f"a restart changed the invocation it began with: {before}")

    def _stored_facts(self, invocation_id: InvocationId) -> object:
        """The row and the journal of an invocation, as far as they are stored or about to be."""
        item = self.state.invocation(invocation_id)
        if item is None:
            return None
        row = {name: value for name, value in msgspec.structs.asdict(item).items() if name not in IN_MEMORY}
        return row, self.state.entries_of(item)

    def _token(self) -> int:
        self.token += 1
        self.asked.add(self.token)
        return self.token

    def seal(self) -> None:
        if self.state.has_work:
            self.sealed.append(self.state.seal())

    def write(self) -> None:
        """One commit."""
        if self.sealed:
            batch, effects = self.sealed.pop(0)
            self.commit_count += 1
            self.model.commit(batch, effects)
            self.written.append((batch, effects))

    def report(self, *, crash_after: int | None = None) -> None:
        """The engine hears of a commit and lets its effects out, or dies in the middle of that."""
        if not self.written:
            return
        batch, effects = self.written.pop(0)
        self.state.committed(batch.sequence)
        for count, effect in enumerate(effects):
            if count == crash_after:
                self.crash()
                return
            self._let_out(effect)

    def settle(self) -> None:
        """Everything gathered becomes durable and known."""
        self.seal()
        while self.sealed or self.written:
            self.write()
            self.report()
        if self.rng.random() < 0.3:
            self.check_memory()

    def check_memory(self) -> None:
        """With nothing uncommitted, memory says what the store says: no change was left unwritten."""
        if self.state.has_work:
            return
        for item in self.state.invocations.values():
            stored = self.store.invocation(item.id)
            assert stored is not None, item
            for field in IN_MEMORY:
                setattr(stored, field, getattr(item, field))
            if item != stored:
                raise Violation(f"memory has {item}, the store has {stored}")
        for (service, key), instance in self.state.instances.items():
            self.state.queue_of(instance)
            stored_instance = self.store.keyed_instance(service, key)
            stored_instance.state = instance.state if instance.state is None else self.store.state(service, key)
            if instance != stored_instance:
                raise Violation(f"memory has {instance}, the store has {stored_instance}")

    def crash(self, *, is_process: bool = True) -> None:
        """Memory is gone. With the process go all attempts; after a failed commit they go on, unheard."""
        last_epoch = NO_EPOCH if is_process else self.state.last_epoch
        self.zombies = [] if is_process else [*self.zombies, *self.running.values()]
        self.running = {}
        self.sealed, self.written = [], []
        self.waiting, self.asked = {}, set()
        self.model.admitted = {}  # places in line are numbered on from those that still wait
        self.state = State(self.store, self.settings, last_epoch=last_epoch)
        self.submit(commands.Recover(now_ms=self.outside.now_ms, invocation_ids=self.store.ids_with(Status.INVOKED)))

    def _let_out(self, effect: Effect) -> None:
        match effect:
            case StartAttempt():
                self._start(effect)
            case Forward():
                attempt = self.running.get(effect.invocation_id)
                if attempt is not None and attempt.epoch == effect.epoch:
                    attempt.receive(effect)
            case CloseAttempt():
                self._close(effect)
            case Reply():
                self._reply(effect)
            case Completed():
                self.waiting.pop(effect.invocation_id, None)
            case _:
                pass

    def _start(self, effect: StartAttempt) -> None:
        if effect.invocation_id in self.running:
            raise Violation(f"a second live attempt: {effect}")
        known = self.state.invocations.get(effect.invocation_id)
        is_live = known is not None and known.attempt is not None and known.attempt.epoch == effect.epoch
        is_comparable = effect.target.is_exclusive and not effect.partial_state and not self.written
        if (
            is_live
            and is_comparable
            and dict(effect.state) != self.store.state(effect.target.service, effect.target.key or "")
        ):
            raise Violation(f"attempt starts with a state that is not stored: {effect}")
        entries = effect.entries
        if entries is None:
            entries = tuple((row.type_id, row.payload) for row in self.store.entries.get(effect.invocation_id, ()))
        if not entries:
            # Forgotten since: the CloseAttempt is among the effects that follow.
            entries = ((m.MessageType.INPUT, b""),)
        is_request_response = self.rng.random() < 0.1
        self.running[effect.invocation_id] = self._make_attempt(effect, entries, is_half_closed=is_request_response)

    def _make_attempt(
        self, effect: StartAttempt, entries: Iterable[tuple[int, bytes]], *, is_half_closed: bool
    ) -> Attempt:
        return Attempt(effect, entries, self.outside, body, is_half_closed=is_half_closed)

    def _close(self, effect: CloseAttempt) -> None:
        attempt = self.running.get(effect.invocation_id)
        if attempt is None or attempt.epoch != effect.epoch:
            return
        if effect.mode is CloseMode.HALF_CLOSE:
            attempt.is_half_closed = True
            return
        del self.running[effect.invocation_id]
        if self.is_faulty and self.rng.random() < 0.5:
            self.zombies.append(attempt)

    def _reply(self, effect: Reply) -> None:
        if effect.token not in self.asked:
            raise Violation(f"answered twice, or nobody asked: {effect}")
        self.asked.discard(effect.token)
        if effect.wait and effect.status in WAITING:
            assert effect.invocation_id is not None
            self.waiting.setdefault(effect.invocation_id, set()).add(effect.token)

    def _check_step(self, attempt: Attempt, completion_id: int) -> None:
        """A live attempt executes no step whose result is stored."""
        if self.running.get(attempt.id) is attempt and (attempt.id, completion_id) in self.model.completions:
            known = self.state.invocations.get(attempt.id)
            if known is not None and known.attempt is not None and known.attempt.epoch == attempt.epoch:
                raise Violation(f"step {completion_id} of {attempt.id.hex()} is executed again")

    # Handlers

    def play_attempt(self, attempt: Attempt, count: int | None = None) -> None:
        """Let a handler go on and pass some of what it says to the engine."""
        attempt.advance()
        chunk, attempt.outbox = attempt.outbox[:count], attempt.outbox[count:] if count is not None else []
        if chunk:
            self.pass_on(attempt, chunk, self.rng)

    def pass_on(self, attempt: Attempt, sent: Iterable[Sent], rng: Random) -> None:
        """Give messages of a handler to the engine. rng: for the seed of the ids that the engine draws."""
        self.submit(
            commands.SdkMessages(
                now_ms=self.outside.now_ms,
                invocation_id=attempt.id,
                epoch=attempt.epoch,
                delivered=attempt.delivered,
                messages=[*sent],
                seed=rng.randbytes(16),
            )
        )

    def any_attempt(self) -> Attempt | None:
        return self.rng.choice(list(self.running.values())) if self.running else None

    def speak(self) -> None:
        if (attempt := self.any_attempt()) is not None:
            self.play_attempt(attempt, self.rng.choice((1, 2, 3, None)))

    def speak_late(self) -> None:
        """Something superseded still talks."""
        if self.zombies:
            attempt = self.rng.choice(self.zombies)
            self.play_attempt(attempt, self.rng.choice((1, 2, None)))

    def die(self) -> None:
        """The connection of an attempt is lost, perhaps reported twice."""
        attempt = self.any_attempt()
        if attempt is None:
            return
        error = AttemptError(500, "connection lost", self.rng.choice(("RT0010", "RT0001", "RT0007")))
        command = commands.AttemptFailed(
            now_ms=self.outside.now_ms,
            invocation_id=attempt.id,
            epoch=attempt.epoch,
            error=error,
            jitter=self.rng.random(),
            retry_after_ms=5 if self.rng.random() < 0.1 else None,
            reached_user_code=self.rng.random() < 0.8,
            blame=self.rng.choice((Blame.OWN, *Blame)),
        )
        self.submit(command)
        if self.rng.random() < 0.2:
            self.submit(command)

    def half_close(self) -> None:
        if (attempt := self.any_attempt()) is not None:
            attempt.is_half_closed = True

    def ask_to_leave(self) -> None:
        """Others wait for the place of an attempt."""
        if (attempt := self.any_attempt()) is not None:
            self.submit(
                commands.MakeRoom(
                    now_ms=self.outside.now_ms,
                    invocation_id=attempt.id,
                    epoch=attempt.epoch,
                    is_urgent=self.rng.random() < 0.3,
                )
            )

    # Clients

    def invoke(self) -> None:
        target = self.world.target(self.rng)
        key = self.rng.choice(IDEMPOTENCY_KEYS) if self.rng.random() < 0.5 else None
        for _ in range(2 if self.rng.random() < 0.15 else 1):
            self._invoke(target, key)

    def _invoke(self, target: Target, key: str | None) -> None:
        self.submit(
            commands.Invoke(
                now_ms=self.outside.now_ms,
                token=self._token(),
                target=target,
                input=b"in",
                headers=(),
                random=self.rng.randbytes(10),
                wait=self.rng.random() < 0.6,
                idempotency_key=key,
                execute_at_ms=self.outside.now_ms + 100 if self.rng.random() < 0.2 else None,
            )
        )

    def any_invocation(self) -> InvocationId | None:
        known = [*self.store.invocations, *self.state.invocations]
        return self.rng.choice(known) if known else None

    def run_flow_again(self) -> None:
        """Forget a workflow run and start it anew at once."""
        target = Target("Flow", "run", self.rng.choice(KEYS), ServiceType.WORKFLOW, HandlerKind.WORKFLOW)
        known = workflow_invocation_id("Flow", target.key or "")
        if self.rng.random() < 0.3:
            self.submit(self._kill(known))
        self.submit(self._purge(known))
        self._invoke(target, None)
        if self.rng.random() < 0.5:
            look = Target("Flow", "look", target.key, ServiceType.WORKFLOW, HandlerKind.SHARED)
            self._invoke(look, None)

    def attach(self) -> None:
        if (known := self.any_invocation()) is not None:
            wait = self.rng.random() < 0.7
            now_ms, token = self.outside.now_ms, self._token()
            self.submit(commands.Attach(now_ms=now_ms, token=token, invocation_id=known, wait=wait))

    def complete_awakeable(self) -> None:
        known = self.any_invocation()
        if self.outside.awakeables and self.rng.random() < 0.8:
            known, index = self.rng.choice(self.outside.awakeables)
        else:
            index = m.FIRST_USER_SIGNAL
        if known is not None:
            self._complete(known, index)

    def _complete(self, invocation_id: InvocationId, index: int) -> None:
        self.submit(
            commands.CompleteSignal(
                now_ms=self.outside.now_ms,
                token=self._token(),
                invocation_id=invocation_id,
                signal=index,
                result=m.Failure(400, "no") if self.rng.random() < 0.2 else m.Success(b"yes%d" % self.token),
            )
        )

    # Operators

    def operate(self) -> None:
        """An operator's request, most often one that fits the status of what it is about."""
        known = self.any_invocation()
        if known is None:
            return
        item = self.state.invocations.get(known) or self.store.invocations.get(known)
        is_done = item is not None and item.status is Status.COMPLETED
        if self.rng.random() < 0.1:
            is_done = not is_done
        requests = (self._purge, self._restart, self._restart) if is_done else self._requests_for_open
        self.submit(self.rng.choice(requests)(known))

    @property
    def _requests_for_open(self) -> tuple[Callable[[InvocationId], commands.Command], ...]:
        cancels = (self._cancel,) * 4
        forks = (self._restart,) * (3 if len(self.store.invocations) < INVOCATIONS_MAX else 0)
        return (*cancels, *forks, self._kill, self._pause, self._pause, self._resume, self._resume, self._find_faulty)

    def _cancel(self, known: InvocationId) -> commands.Command:
        return commands.Cancel(now_ms=self.outside.now_ms, token=self._token(), invocation_id=known)

    def _kill(self, known: InvocationId) -> commands.Command:
        return commands.Kill(now_ms=self.outside.now_ms, token=self._token(), invocation_id=known)

    def _pause(self, known: InvocationId) -> commands.Command:
        return commands.Pause(now_ms=self.outside.now_ms, token=self._token(), invocation_id=known)

    def _resume(self, known: InvocationId) -> commands.Command:
        return commands.Resume(
            now_ms=self.outside.now_ms,
            token=self._token(),
            invocation_id=known,
            deployment=self.rng.choice((None, None, "latest", "dp1", "nowhere")),
        )

    def _find_faulty(self, known: InvocationId) -> commands.Command:
        error = AttemptError(500, "bug", "RT0006")
        return commands.PauseFaulty(now_ms=self.outside.now_ms, invocation_id=known, error=error)

    def _purge(self, known: InvocationId) -> commands.Command:
        journal_only = self.rng.random() < 0.3
        return commands.Purge(
            now_ms=self.outside.now_ms, token=self._token(), invocation_id=known, journal_only=journal_only
        )

    def _restart(self, known: InvocationId) -> commands.Command:
        """From the input, from somewhere, or from a step with another result; never with another id given out."""
        from_index, result = self.rng.choice((0, 0, 1, 2, 3, 4, 5, 8)), None
        rows = self.store.entries.get(known, ())
        steps = [row for row in rows if row.type_id == m.MessageType.RUN and row.name != "publish"]
        if steps and self.rng.random() < 0.4:
            step = self.rng.choice(steps)
            from_index, result = step.index, b"" if step.name == "find" else b"forked%d" % self.token
        return commands.RestartAsNew(
            now_ms=self.outside.now_ms,
            token=self._token(),
            invocation_id=known,
            random=self.rng.randbytes(10),
            from_index=from_index,
            deployment=self.rng.choice(("latest", "keep")),
            result=result,
        )

    def change_state(self) -> None:
        service, key = self.rng.choice(("Object", "Account")), self.rng.choice(KEYS)
        self.model.changed_by_operators.add((service, key))
        self.submit(
            commands.MutateState(
                now_ms=self.outside.now_ms,
                token=self._token(),
                service=service,
                key=key,
                new_state={self.rng.choice(STATE_NAMES): b"changed"} if self.rng.random() < 0.7 else {},
                expected_version=self.rng.choice((None, "wrong")),
            )
        )

    def deploy(self) -> None:
        """A new revision everywhere, or one deployment less."""
        now_ms, rng = self.outside.now_ms, self.rng
        if rng.random() < 0.4:
            gone = f"dp{rng.randrange(1, self.deployment_count + 1)}"
            self.submit(commands.RemoveDeployment(now_ms=now_ms, token=self._token(), deployment_id=DeploymentId(gone)))
            return
        self.deployment_count += 1
        self._register(f"dp{self.deployment_count}", self.deployment_count)

    def _register(self, deployment_id: str, revision: int) -> None:
        options = {service.name: service.options for service in self.world.services}
        self.submit(
            commands.RegisterDeployment(
                now_ms=self.outside.now_ms,
                token=self._token(),
                deployment=make_deployment(deployment_id, self.world.deployment.max_protocol_version),
                services=services_of(options, deployment_id, revision),
            )
        )

    def sweep(self) -> None:
        self.submit(commands.Sweep(now_ms=self.outside.now_ms, invocation_ids=self.store.ids_with(Status.COMPLETED)))

    # Time

    def pass_time(self) -> None:
        self.outside.now_ms += self.rng.choice((1, 10, 50, 200, 1000, -30))

    def fire(self) -> None:
        """Due timers, perhaps twice, perhaps with some that fired long ago."""
        due = self.store.due_timers(self.outside.now_ms)
        if self.is_faulty:
            if self.rng.random() < 0.2:
                # No engine keeps a due timer so long that its invocation was forgotten and made anew.
                late = [timer for timer in self.old_timers if timer[1] not in self.model.forgotten]
                due += [timer for timer in late if timer[0] <= self.outside.now_ms]
            self.old_timers = due[:3]
        if due:
            command = commands.TimersDue(now_ms=self.outside.now_ms, due=due)
            self.submit(command)
            if self.is_faulty and self.rng.random() < 0.2:
                self.submit(command)

    def commit_some(self) -> None:
        """Any of the three stages, any number of times."""
        for _ in range(self.rng.choice((1, 2, 4, 8))):
            stage = self.rng.randrange(3)
            if stage == 0:
                self.seal()
            elif stage == 1:
                self.write()
            else:
                self.report()

    def crash_somewhere(self) -> None:
        """A crash now, in the middle of letting effects out, or a commit that failed."""
        choice = self.rng.randrange(3)
        if choice == 0:
            self.crash()
        elif choice == 1:
            self.settle_but_last()
            self.report(crash_after=self.rng.randrange(4))
        else:
            self.crash(is_process=False)

    def settle_but_last(self) -> None:
        self.seal()
        while self.sealed:
            self.write()

    # The whole

    def run(self) -> None:
        self._register("dp1", 1)
        self.settle()
        actions = [self.speak] * 30 + [self.commit_some] * self.rng.choice((3, 8, 14))
        actions += [self.settle] * self.rng.choice((2, 6)) + [self.run_flow_again] * self.rng.choice((0, 1, 2))
        actions += [self.invoke] * 5 + [self.attach, self.complete_awakeable, self.complete_awakeable]
        actions += [self.pass_time] * 4 + [self.fire] * 4 + [self.half_close] * 2 + [self.ask_to_leave, self.sweep]
        actions += [self.die] * 2 + [self.speak_late] * 3 + [self.crash_somewhere] * self.rng.choice((0, 1, 2))
        actions += [self.operate] * self.rng.choice((0, 3, 6)) + [self.change_state]
        if self.rng.random() < 0.2:
            actions.append(self.deploy)
        for _ in range(self.rng.randrange(1, 4)):
            self.invoke()
        for _ in range(self.rng.randrange(ACTIONS_MIN, ACTIONS_MAX)):
            action = self.rng.choice(actions)
            if action == self.invoke and len(self.store.invocations) > INVOCATIONS_MAX:
                continue
            action()
        self.finish()

    def finish(self) -> None:
        """Faults stop; everything must come to its end."""
        self.is_faulty = False
        self.zombies = []
        self.outside.now_ms = max(self.outside.now_ms, 2_000_000)
        for revision in range(1, self.deployment_count + 1):
            self._register(f"dp{revision}", self.deployment_count + revision)
        for _ in range(FINISHING_ROUNDS_MAX):
            self.settle()
            if not self.go_on():
                break
        self._check_end()

    def go_on(self) -> bool:
        """Whatever can be done next; False when nothing is left to do."""
        is_moving = False
        for attempt in list(self.running.values()):
            attempt.advance()
            if attempt.outbox:
                self.play_attempt(attempt)
                is_moving = True
        if is_moving:
            return True
        open_ids = [item.id for item in self.store.invocations.values() if item.status is not Status.COMPLETED]
        is_killing = any(completion_id == wakeups.KILL for _, _, completion_id in self.store.timers)
        if not open_ids and not is_killing:  # a kill that is due may find that its invocation has ended
            return False
        if self.store.timers:
            self.outside.now_ms = max(self.outside.now_ms, min(self.store.timers)[0])
            self.fire()
            return True
        for invocation_id in open_ids:
            item = self.store.invocations[invocation_id]
            if item.status is Status.PAUSED:
                self.submit(commands.Resume(now_ms=self.outside.now_ms, token=self._token(), invocation_id=item.id))
                is_moving = True
        if is_moving:
            return True
        return self._help(set(open_ids))

    def _help(self, open_ids: set[InvocationId]) -> bool:
        """Nothing moves: do what the world outside owes - awakeables and promises."""
        owed: list[tuple[InvocationId, int]] = []
        for invocation_id in open_ids:
            attempt = self.running.get(invocation_id)
            awaiting = attempt.awaiting if attempt else self.store.invocations[invocation_id].awaiting
            signals = waiting_signals(awaiting) if awaiting is not None else ()
            owed += [(invocation_id, item) for item in signals if isinstance(item, int) and item != m.CANCEL_SIGNAL]
        owed = [item for item in owed if self._is_owed(item)]
        for invocation_id, index in owed:
            self._complete(invocation_id, index)
        if owed:
            return True
        missing = {key[1] for key, item in self.store.promises.items() if item.result is None}
        for key in missing:
            self._invoke(Target("Flow", "finish", key, ServiceType.WORKFLOW, HandlerKind.SHARED), None)
        return bool(missing)

    def _is_owed(self, awakeable: tuple[InvocationId, int]) -> bool:
        """Whether nobody has answered yet: else its invocation must have been woken."""
        if awakeable not in self.model.awakeables and awakeable not in self.outside.awakeables:
            raise Violation(f"{awakeable} waits for an answer to an id that nobody has")
        return awakeable not in self.model.awakeables

    def _check_end(self) -> None:
        unfinished = [item for item in self.store.invocations.values() if item.status is not Status.COMPLETED]
        if unfinished:
            facts = [(str(item.target), item.status.name, item.id.hex(), item.awaiting) for item in unfinished]
            raise Violation(f"never finished: {facts}")
        if self.asked or self.waiting:
            raise Violation(f"never answered: {self.asked} {self.waiting}")
        leftovers = {
            "timers": self.store.timers,
            "listeners": {key: item for key, item in self.store.listener_rows.items() if item},
            "promise listeners": {key: item for key, item in self.store.promise_listeners.items() if item},
            "invocations in memory": self.state.invocations,
            "keys in memory": {
                name: item
                for name, item in self.state.instances.items()
                if item.holder or item.queue or item.state not in (None, self.store.state(*name))
            },
            "promises in memory": self.state.promises,
            "state changes": self.store.mutations,
        }
        for what, left in leftovers.items():
            if left:
                raise Violation(f"left at the end: {what} {left}")


def run(seed: int, store: MemoryStore | None = None) -> History:
    """Play the history of a seed. Raises AssertionError with a note that says how to play it again."""
    history = History(seed, store)
    play(history, seed)
    return history


def play(history: History, seed: int, *options: str) -> None:
    """Run a history; a failure gets a note. options: of the command that plays it again."""
    try:
        history.run()
    except Exception as error:
        error.add_note(
            f"seed={seed} commit={history.commit_count} command={history.command_count}\n"
            f"replay: {' '.join(('python -m tests.simulation', *options, str(seed)))}"
        )
        raise
