"""The runtime: connects the parts of an engine, starts and stops them, and rebuilds them after a loss.

It owns the store, the commit loop, the live attempts and the waiting callers, and executes the effects of each commit
in order. If memory is lost, because the disk refused a commit or the engine met a bug of its own, it starts over from
the stored rows and pauses the invocation at fault, so that all others go on. engine.py has the public operations.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import structlog

from rewake.agents.kept import ANSWER
from rewake.core import commands, ids
from rewake.core.effects import (
    ArmTimer,
    CloseAttempt,
    Completed,
    Effect,
    Forward,
    Note,
    Reply,
    StartAttempt,
)
from rewake.core.ids import InvocationId
from rewake.core.model import Deployment, Target
from rewake.core.registry import under_defaults
from rewake.core.settings import Settings
from rewake.core.state import State
from rewake.core.writes import Batch
from rewake.deployments.base import DeploymentClient
from rewake.disclosure import hiding, opening
from rewake.engine.approval_links import ApprovalLinks
from rewake.engine.clock import SET_BACK_MS_MIN, Clock
from rewake.engine.commit_loop import CommitLoop
from rewake.engine.draws import Draws
from rewake.engine.housekeeping import Housekeeping
from rewake.engine.http_deployments import HttpDeployments
from rewake.engine.live_attempts import LiveAttempts
from rewake.engine.loss import COMMAND_CHARS_MAX, Loss, loss_of
from rewake.engine.observer import Observer
from rewake.engine.options import EngineOptions
from rewake.engine.registration import with_token
from rewake.engine.waiters import Waiters
from rewake.errors import ErrorCode, RewakeError
from rewake.sql.threads import QueryThreads
from rewake.store.connection import DatabaseError, as_rewake_error
from rewake.store.store import Store
from rewake.streams.hub import Streams
from rewake.streams.offers import Offers

PROBE_INTERVAL_S = 0.25
REBUILD_PAUSE_S = 0.25
RECOVERY_BATCH = 1_000

log = structlog.get_logger("rewake.engine")


class Runtime:
    """Base of Engine: the machinery, without the operations."""

    def __init__(
        self,
        path: Path,
        options: EngineOptions,
        observer: Observer | None,
    ) -> None:
        self.path = path
        self._observer = observer
        self.options = options
        self.settings = Settings(
            defaults=options.defaults,
            protocol_version_max=options.protocol_version_max,
            pause_after_alike=options.pause_after_alike,
        )
        self.clients: dict[str, DeploymentClient] = {}
        self.approval_links: ApprovalLinks | None = None
        """Signs the links of approvals; a Server sets it."""
        self.is_running = False
        self._clock = Clock(self._on_set_back)
        self._waiters = Waiters()
        self._draws = Draws()
        self.stream_offers = Offers(self._deployment)
        self.stream_offers.elsewhere_url = options.stream_url
        self._queries = QueryThreads(path, options.message_bytes_max)
        self._disclosing = ExitStack()
        self._rebuilding: asyncio.Task[None] | None = None
        self._rebuilt_at_s = 0.0
        self._recovery_batch = RECOVERY_BATCH
        self._left_alone: set[InvocationId] = set()
        self._held: deque[commands.Command] = deque()
        self._is_holding = False
        self._is_proving = False

    # Start and stop

    def open(self) -> None:
        """Open the store and make the other parts. No attempt starts before `drive`.

        Raises RewakeError RW5xxx if the directory cannot be used, and then leaves nothing open.
        """
        loop = asyncio.get_running_loop()
        self._store = Store.open(self.path, now_ms=self.now_ms(), post=loop.call_soon_threadsafe)
        try:
            self._disclosing.enter_context(hiding(self.options.redact_shown))
            self._disclosing.enter_context(opening(self.options.encryption))
            self._loop = CommitLoop(self._store, self._stored_state(), self._release, self._on_lost, self._observer)
            self._attempts = LiveAttempts(
                reader=self._store.reader,
                clients=self.clients,
                submit=self._submit,
                now_ms=self.now_ms,  # which virtual engines override
                concurrency_max=self.options.concurrency_max,
                waiting_max=self.options.waiting_max,
                waiting_per_service_max=self.options.waiting_per_service_max,
                message_bytes_max=self.options.message_bytes_max,
                observer=self._observer,
                approval_header=self._approval_header,
                stream_url=self.stream_offers.url,
                service_count=lambda: len(self._loop.state.services),
            )
            self.streams = Streams(
                self.path,
                self._store.reader,
                is_live=self._attempts.is_running,
                hurry=self._hurry,
                now_ms=self.now_ms,
                bounds=self.options.streams,
            )
            self._housekeeping = Housekeeping(
                self._store.reader,
                self._loop.submit,
                self._loop.flush,
                self.now_ms,
                self.options.cleanup_interval_ms,
                self._store.release_pages,
                self._loop.unstored_timers,
            )
            self._http_deployments = HttpDeployments(
                clients=self.clients,
                state=lambda: self._loop.state,
                commit=lambda command: self._ask(lambda token: with_token(command, token)),
                settings=self.settings,
                now_ms=self.now_ms,
                identity_key_file=self.options.identity_key_file,
                options=self.options.http,
            )
            self._http_deployments.connect_stored()
            self.streams.open()
            self.stream_offers.open(self.streams)
            self.is_running = True
        except BaseException:
            self._disclosing.close()
            self._store.close()
            raise

    def drive(self) -> None:
        """Resume every invocation that was running when the engine stopped, and start the timers.

        Called after the needed deployments were added.
        """
        self._recover()
        self._housekeeping.start()
        behind_ms = self._store.reader.newest_ms() - self.now_ms()
        if behind_ms >= SET_BACK_MS_MIN:  # set back while the engine was stopped
            self._on_set_back(behind_ms)

    async def stop(self) -> None:
        """Stop at once: attempts are cut off and resume at the next start; waiting callers get RewakeError RW3001."""
        if not self.is_running:
            return
        self.is_running = self._is_holding = False
        if self._rebuilding is not None:
            self._rebuilding.cancel()
        self._queries.close()
        await self._housekeeping.stop()
        stopped = RewakeError(
            ErrorCode.ENGINE_STOPPED,
            "The engine has stopped.",
            "What was accepted is stored and goes on when it is started again.",
        )
        try:
            if not self._loop.is_halted:
                await self._loop.flush()
        except Exception as error:  # noqa: BLE001  # whatever made it fail, stopping goes on
            log.warning("flush_at_stop_failed", error=str(error))
        self._loop.halt(stopped)
        self._attempts.abort_all()
        self._waiters.fail_all(stopped)
        for client in self.clients.values():
            await client.close()
        await self._http_deployments.close()
        self.stream_offers.close()
        self.streams.close()
        self._store.close()
        self._disclosing.close()

    def target_of(self, invocation_id: bytes) -> Target | None:
        """The target of an invocation; None if it is unknown."""
        known = self._loop.state.invocations.get(InvocationId(invocation_id)) or self._store.reader.invocation(
            invocation_id
        )
        return known.target if known else None

    def full_for(self, service: str) -> str | None:
        """The limit that a new run of this service would pass; None if there is room."""
        return self._attempts.full_for(service)

    def _kept_answer(self, invocation_id: InvocationId, content: bytes) -> bytes:
        """The stored form of a value from outside for a run."""
        if not self.options.changes_values or (target := self.target_of(invocation_id)) is None:
            return content
        return self.options.kept_body(content, target.service, target.key)

    def now_ms(self) -> int:
        """Wall-clock time, the only clock the journal knows."""
        return self._clock.now_ms()

    def _on_set_back(self, by_ms: int) -> None:
        log.warning("clock_set_back", by_ms=by_ms)
        if self.is_running and not self._loop.is_halted:
            self._housekeeping.on_set_back(by_ms)

    def _hurry(self) -> None:
        self._loop.hurry()

    def _deployment(self, deployment_id: str) -> Deployment | None:
        return self._loop.state.deployments.get(deployment_id)

    # Carrying out effects

    def _release(self, effects: list[Effect], batch: Batch) -> None:
        """Execute the effects of a committed batch, in order."""
        self.streams.on_commit(batch, effects)
        attempts, waiters, loop = self._attempts, self._waiters, self._loop
        for effect in effects:
            kind = type(effect)
            if loop.is_halted:  # the memory behind them is lost, but completed facts are still true
                if kind is Completed:
                    self._on_completed(effect)  # type: ignore[arg-type]  # told apart by exact type: the hot path
                elif kind is Reply:
                    waiters.on_reply(effect)  # type: ignore[arg-type]
            elif kind is Forward:
                attempts.forward(effect)  # type: ignore[arg-type]
            elif kind is StartAttempt:
                attempts.start(effect)  # type: ignore[arg-type]
            elif kind is CloseAttempt:
                attempts.close(effect)  # type: ignore[arg-type]
            elif kind is Reply:
                waiters.on_reply(effect)  # type: ignore[arg-type]
            elif kind is Completed:
                self._on_completed(effect)  # type: ignore[arg-type]
            elif kind is ArmTimer:
                self._housekeeping.arm(effect.fire_at_ms)  # type: ignore[union-attr]
            else:
                self._on_note(effect)  # type: ignore[arg-type]
        attempts.flush()

    def _on_completed(self, completed: Completed) -> None:
        self._waiters.on_completed(completed)
        if self._observer is not None:
            self._observer.on_completed(completed)

    def _on_note(self, note: Note) -> None:
        if self._observer is not None:
            self._observer.on_note(note)
        invocation_id = ids.invocation_id_to_str(note.invocation_id) if note.invocation_id else None
        (log.warning if note.is_warning else log.info)(note.event, invocation_id=invocation_id, **note.facts)

    # Commands in

    def _submit(self, command: commands.Command) -> None:
        """Submit a command that nobody waits for. While memory is being rebuilt it is dropped, like a lost message."""
        if not self._loop.is_halted:
            self._loop.submit(command)

    def _approval_header(self, effect: StartAttempt) -> tuple[str, str] | None:
        """What the handler makes links to its questions with."""
        if self.approval_links is None:
            return None
        target, keeper = effect.target, None
        service = self._loop.state.services.get(target.service)
        if target.key is not None and service is not None and ANSWER in service.handlers:
            keeper = target.service, target.key
        return self.approval_links.header(effect.invocation_id, keeper)

    def _submit_asking(self, command: commands.Command, token: int) -> None:
        if self._is_holding:
            self._held.append(command)
            return
        try:
            self._loop.submit(command)
        except RewakeError as error:
            self._waiters.fail_token(token, error)

    async def _ask(self, make: Any) -> Reply:
        token, future = self._waiters.ask()
        self._submit_asking(make(token), token)
        return await self._waiters.answer(future)

    # Losing and rebuilding memory

    def _on_lost(
        self, error: BaseException, command: commands.Command | None, unstored: list[commands.Command]
    ) -> None:
        """The disk refused a batch, or the engine met a bug of its own: start over from the stored rows.

        unstored: applied commands that may be lost. If the disk is at fault their callers get its error; otherwise they
        are applied again, without the faulty one.
        """
        loss = loss_of(error, command)
        if loss.cause is error:
            refused = [ids.invocation_id_to_str(each) for each in loss.refused_rows]
            log.error("commit_failed", error=str(error), invocation_ids=refused)
        else:
            named = ids.invocation_id_to_str(loss.named) if loss.named else None
            log.error("engine_bug", invocation_id=named, command=repr(command)[:COMMAND_CHARS_MAX], exc_info=error)
        self._loop.halt(loss.cause)
        self._attempts.abort_all()
        if loss.is_of_disk:
            self._refuse_held(loss.cause)
        else:
            again = self._held if self._is_proving and loss.is_of_batch else [*unstored, *self._held]
            self._waiters.fail_asking(loss.cause, keep={_token_of(each) for each in again})
            self._is_holding = self.is_running
        self._is_proving = False
        if self.is_running:
            self._rebuilding = asyncio.get_running_loop().create_task(self._rebuild(loss))

    def _refuse_held(self, error: RewakeError) -> None:
        self._is_holding = False
        self._held.clear()
        self._waiters.fail_asking(error)

    async def _rebuild(self, loss: Loss) -> None:
        await asyncio.sleep(0)
        while True:
            try:
                return await self._rebuild_once(loss)
            except Exception:
                log.exception("rebuilding_failed")
                self._loop.halt(loss.cause)
                self._refuse_held(loss.cause)
                self._attempts.abort_all()
                await asyncio.sleep(PROBE_INTERVAL_S)

    async def _rebuild_once(self, loss: Loss) -> None:
        await self._loop.settled()
        if time.monotonic() - self._rebuilt_at_s < REBUILD_PAUSE_S:
            await asyncio.sleep(REBUILD_PAUSE_S)  # an error that repeats must not use the whole processor
        self._rebuilt_at_s = time.monotonic()
        while (state := self._state_of_disk()) is None:  # noqa: ASYNC110  # a full disk sends no event
            await asyncio.sleep(PROBE_INTERVAL_S)
        lost = self._loop.take_lost()
        self._held.extendleft(reversed([each for each in lost if self._waiters.is_asking(_token_of(each))]))
        self._loop.restart(state)
        log.warning("memory_rebuilt", cause=loss.cause.code)
        try:
            await self._isolate(loss, lost)
            await self._apply_held(is_one_suspect=loss.is_of_batch)
        except Exception:  # noqa: BLE001  # lost once more: the rebuilding that follows goes on from here
            return
        for future, invocation_id in self._waiters.take_waiting().items():
            self._wait_again(invocation_id, future)
        self._recover()
        self._housekeeping.rearm()

    async def _isolate(self, loss: Loss, lost: list[commands.Command]) -> None:
        """Pause the invocations at fault, so that the same loss does not repeat."""
        errors = dict(loss.refused_rows)
        command = lost[0] if loss.is_of_batch and not errors and len(lost) == 1 else loss.command
        errors |= dict.fromkeys(self._faulty_in(command, loss), loss.error)
        for invocation_id, error in errors.items():
            if any(type(each) is commands.PauseFaulty and each.invocation_id == invocation_id for each in lost):
                self._left_alone.add(invocation_id)
            else:
                self._submit(commands.PauseFaulty(now_ms=self.now_ms(), invocation_id=invocation_id, error=error))
        if command is not None or errors:
            await self._loop.flush()

    async def _apply_held(self, *, is_one_suspect: bool) -> None:
        """Apply lost commands again, and those that came since.

        is_one_suspect: one of them may have made the batch fail, so each is committed alone, and that one is refused.
        """
        self._is_proving = is_one_suspect
        while self._held:
            self._loop.submit(self._held.popleft())
            if is_one_suspect or not self._held or self._loop.is_halted:
                await self._loop.flush()  # raises if it was lost again
        self._is_holding = self._is_proving = False

    def _faulty_in(self, command: commands.Command | None, loss: Loss) -> set[InvocationId]:
        """The invocations to pause: the one that a bug names, and the command's own.

        If a command concerns many, and the bug names none of them, they are tried one by one later.
        """
        faulty = {loss.named} if loss.named else set()
        match command:
            case commands.TimersDue(due=due):
                found = set(loss.suspects([timer[1] for timer in due]))
                suspects = [timer for timer in due if timer[1] in found]
                self._housekeeping.suspect(suspects)
                if len(suspects) == 1:
                    faulty |= found
            case commands.Recover(invocation_ids=invocation_ids):
                found = set(loss.suspects(invocation_ids))
                if len(found) == 1:
                    faulty |= found
                else:
                    self._recovery_batch = 1
            case commands.Sweep(invocation_ids=invocation_ids):
                self._housekeeping.suspect_expired(loss.suspects(invocation_ids))
            case commands.PauseFaulty(invocation_id=invocation_id):
                self._left_alone.add(invocation_id)
                faulty = set()
            case _:
                touched = getattr(command, "invocation_id", None)
                if touched is not None:
                    faulty.add(touched)
        return faulty

    def _stored_state(self) -> State:
        """The stored state, with this engine's defaults for its services."""
        state = State(self._store.reader, self.settings)
        state.services = {
            name: under_defaults(service, self.settings.defaults) for name, service in state.services.items()
        }
        return state

    def _state_of_disk(self) -> State | None:
        """Rebuilt memory. If the disk cannot be written or read, halts the loop with the reason and returns None."""
        problem = self._store.probe()
        if problem is None:
            try:
                self._store.resume()
                state = self._stored_state()
            except DatabaseError as error:
                problem = as_rewake_error(error, self.path)
            else:
                state.last_epoch = self._loop.state.last_epoch  # earlier attempts must stay recognizable as stale
                return state
        self._loop.halt(problem)
        self._refuse_held(problem)
        return None

    def _wait_again(self, invocation_id: InvocationId, future: asyncio.Future[Reply]) -> None:
        token = self._waiters.adopt(invocation_id, future)
        self._submit_asking(
            commands.Attach(now_ms=self.now_ms(), token=token, invocation_id=invocation_id, wait=True), token
        )

    def _recover(self) -> None:
        found = self._store.reader.open_invocation_ids()
        open_ids = [invocation_id for invocation_id in found if invocation_id not in self._left_alone]
        for start in range(0, len(open_ids), self._recovery_batch):
            batch = open_ids[start : start + self._recovery_batch]
            self._submit(commands.Recover(now_ms=self.now_ms(), invocation_ids=batch))
        if self._loop.is_halted:
            return
        self._recovery_batch = RECOVERY_BATCH
        if open_ids:
            log.info("invocations_recovered", invocation_count=len(open_ids))


def _token_of(command: commands.Command) -> int:
    """The token of a command's caller; 0 if nobody waits for an answer."""
    return getattr(command, "token", 0)
