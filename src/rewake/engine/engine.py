"""Engine: the durable engine as one object, embedded in an event loop.

    async with Engine("data", app) as engine:
        result = await engine.call("Greeter", "greet", "Ada")

It has the operations that the ingress, the admin API and embedding programs use. The core implements them; runtime.py
starts and stops the parts and stores changes. A process may have several engines, each with its own directory.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rewake.core import calls, commands, ids
from rewake.core.effects import Reply, ReplyStatus
from rewake.core.ids import DeploymentId, InvocationId
from rewake.core.model import BY_URL, Deployment, ServiceSchema, Status, Target
from rewake.core.registry import overridden
from rewake.deployments.base import DeploymentClient
from rewake.deployments.in_process import InProcessDeployment
from rewake.engine.http_deployments import in_use
from rewake.engine.observer import Observer
from rewake.engine.operating import command_of
from rewake.engine.options import EngineOptions
from rewake.engine.registration import RegistrationResult, plan_registration, restored_without, with_token
from rewake.engine.results import decode_result, encode_body, require_storable
from rewake.engine.runtime import Runtime
from rewake.engine.waiters import OnAccepted
from rewake.errors import ErrorCode, RewakeError
from rewake.names import some_of
from rewake.operations import Operation
from rewake.protocol.messages import CANCEL_SIGNAL, Failure, SignalResult, Success
from rewake.sql.query import QueryResult, needs_attempts
from rewake.sql.views import AttemptRow, attempt_row
from rewake.streams.events import Event

JSON_HEADERS = (("content-type", "application/json"),)

InvocationRef = str | bytes
"""An invocation id as `send` returns it, or its 24 bytes."""


def raw_id_of(invocation_id: InvocationRef) -> InvocationId:
    """The 24 bytes of an id. Raises ids.InvalidId, a ValueError, for any other string."""
    return ids.invocation_id_from_str(invocation_id) if isinstance(invocation_id, str) else InvocationId(invocation_id)


class Engine(Runtime):
    """A durable engine on the directory `path`.

    app: a `restate.app(...)` object to run in this process; None if deployments are added later.
    observer: gets durable facts; see rewake.telemetry.
    start() raises RewakeError RW5xxx if the directory cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        app: Any = None,
        *,
        options: EngineOptions | None = None,
        observer: Observer | None = None,
    ) -> None:
        super().__init__(Path(path), options or EngineOptions(), observer)
        self._app = app

    # Start and stop

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the store, register the app, and resume all runs that were open when the engine stopped."""
        self.open()
        if self._app is None:
            return
        try:
            await self.add_deployment(InProcessDeployment(self._app), uri="in-process:app", kind="in_process")
            self.drive()
        except BaseException:
            await self.stop()
            raise

    # The registry

    @property
    def services(self) -> Mapping[str, ServiceSchema]:
        return self._loop.state.services

    @property
    def deployments(self) -> Mapping[str, Deployment]:
        return self._loop.state.deployments

    async def add_deployment(self, client: DeploymentClient, *, uri: str, kind: str) -> Deployment:
        """Discover and register a local deployment, and use `client` for its attempts from now on."""
        discovery = await client.discover()
        planned = plan_registration(
            self._loop.state,
            discovery,
            uri=uri,
            kind=kind,
            protocol_type=client.protocol_type,
            settings=self.settings,
            now_ms=self.now_ms(),
        )
        if isinstance(planned, str):
            deployment_id = planned
        else:
            deployment_id = planned.deployment.id
            self.clients[deployment_id] = client
            await self._ask(lambda token: with_token(planned, token))
        self.clients[deployment_id] = client
        return self.deployments[deployment_id]

    async def register_http(
        self,
        uri: str,
        *,
        use_http_11: bool = False,
        additional_headers: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        force: bool = False,
        breaking: bool = False,
        dry_run: bool = False,
    ) -> RegistrationResult:
        """Register the services of the endpoint at `uri` as their latest revisions.

        A registered address is "unchanged" and not contacted again. With `force` it is: the deployment keeps its id and
        all its services get a new revision.   breaking: a service may change its type; force implies it.
        dry_run: check everything, store nothing.   additional_headers: sent with every request.
        Raises RewakeError RW2003 to RW2012 and then registers nothing.
        """
        return await self._http_deployments.register(
            uri,
            use_http_11=use_http_11,
            additional_headers=additional_headers,
            metadata=metadata,
            force=force,
            breaking=breaking,
            dry_run=dry_run,
        )

    async def update_deployment(
        self,
        deployment_id: str,
        *,
        uri: str | None = None,
        additional_headers: Mapping[str, str] | None = None,
        use_http_11: bool | None = None,
        overwrite: bool = False,
        dry_run: bool = False,
    ) -> RegistrationResult | None:
        """Change the address of a deployment or its headers; None if it is unknown. The endpoint is always contacted.

        An argument of None keeps the old value; headers are replaced as a whole.   overwrite: take over the services
        that the endpoint now serves; otherwise they stay as registered.   Raises RewakeError RW2003 to RW2014 and then
        changes nothing.
        """
        return await self._http_deployments.update(
            deployment_id,
            uri=uri,
            additional_headers=additional_headers,
            use_http_11=use_http_11,
            overwrite=overwrite,
            dry_run=dry_run,
        )

    async def remove_deployment(self, deployment_id: str, *, force: bool = True) -> bool:
        """Remove a deployment; False if it is unknown. Running attempts on a deployment reached by URL may finish.

        New calls go to the deployment that had its services before, if that still exists.
        Without `force`, raises RewakeError RW2013 while a service or an open invocation needs it.
        """
        deployment = self.deployments.get(deployment_id)
        if deployment is not None and not force:
            await self._loop.flush()
            latest_of = [service.name for service in self.services.values() if service.deployment_id == deployment_id]
            open_count = self._store.reader.pinned_count(deployment_id)
            if latest_of or open_count:
                raise in_use(deployment, latest_of, open_count)
        now_ms = self.now_ms()
        restored = restored_without(self._loop.state, deployment_id, settings=self.settings)
        reply = await self._ask(
            lambda token: commands.RemoveDeployment(
                now_ms=now_ms, token=token, deployment_id=DeploymentId(deployment_id), restored=restored
            )
        )
        client = self.clients.pop(deployment_id, None)
        if deployment is not None and deployment.kind != BY_URL:
            self._attempts.fail_on(deployment_id)
        await self._http_deployments.release(client)
        return reply.status is ReplyStatus.DONE

    async def update_service(self, name: str, **overrides: Any) -> ServiceSchema:
        """Change settings of a service's latest revision: `public` and the fields of HandlerOptions that end in _ms."""
        service = overridden(self.services[name], overrides)
        now_ms = self.now_ms()
        await self._ask(lambda token: commands.UpdateService(now_ms=now_ms, token=token, service=service))
        return service

    def resolve(self, service: str, handler: str, key: str | None) -> Target | None:
        """The target of a call, from the latest registration; None if unknown."""
        return calls.resolve(self._loop.state, service, handler, key)

    # Invocations

    async def invoke(
        self,
        target: Target,
        body: bytes,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        idempotency_key: str | None = None,
        execute_at_ms: int | None = None,
        traceparent: str | None = None,
        wait: bool,
        on_accepted: OnAccepted | None = None,
    ) -> Reply:
        """Call (`wait`) or send. A send's reply is ACCEPTED or PREVIOUSLY_ACCEPTED, a call's COMPLETED with the result.

        `expires_at_ms` is set if the result was stored before. `on_accepted` gets the id once it is durable.
        """
        token, future = self._waiters.ask(on_accepted)
        if self._observer is not None:
            traceparent = self._observer.traceparent(traceparent)
        self._submit_asking(
            commands.Invoke(
                now_ms=self.now_ms(),
                token=token,
                target=target,
                input=self.options.kept_body(body, target.service, target.key),
                headers=self.options.kept_headers(headers),
                random=self._draws.take(10),
                wait=wait,
                idempotency_key=idempotency_key,
                execute_at_ms=execute_at_ms,
                traceparent=traceparent,
            ),
            token,
        )
        return await self._waiters.answer(future)

    async def attach(self, invocation_id: InvocationRef) -> Reply:
        """The invocation's result, waiting for it: COMPLETED, or NOT_FOUND."""
        return await self._look(invocation_id, wait=True)

    async def output(self, invocation_id: InvocationRef) -> Reply:
        """The invocation's result, without waiting: COMPLETED, PENDING or NOT_FOUND."""
        return await self._look(invocation_id, wait=False)

    async def _look(self, invocation_id: InvocationRef, *, wait: bool) -> Reply:
        now_ms, raw_id = self.now_ms(), raw_id_of(invocation_id)
        return await self._ask(
            lambda token: commands.Attach(now_ms=now_ms, token=token, invocation_id=raw_id, wait=wait)
        )

    async def complete_awakeable(self, invocation_id: bytes, signal: int, result: SignalResult) -> Reply:
        """Resolve or reject an awakeable. The first completion counts; later ones and unknown ids are ignored."""
        if signal == CANCEL_SIGNAL:
            return Reply(0, ReplyStatus.DONE, InvocationId(invocation_id))
        now_ms, raw_id = self.now_ms(), InvocationId(invocation_id)
        if isinstance(result, Success):
            result = Success(self._kept_answer(raw_id, result.content))
        return await self._ask(
            lambda token: commands.CompleteSignal(
                now_ms=now_ms, token=token, invocation_id=raw_id, signal=signal, result=result
            )
        )

    async def complete_promise(self, service: str, key: str, name: str, result: Success | Failure) -> ReplyStatus:
        """Resolve or reject a promise of a workflow key: ACCEPTED, ALREADY_COMPLETED, or NOT_FOUND (key not in use)."""
        now_ms = self.now_ms()
        if isinstance(result, Success):
            result = Success(self.options.kept_body(result.content, service, key))
        reply = await self._ask(
            lambda token: commands.CompletePromise(
                now_ms=now_ms, token=token, service=service, key=key, name=name, result=result
            )
        )
        return reply.status

    async def operate(
        self, operation: Operation, invocation_id: InvocationRef, *, deployment: str | None = None
    ) -> Reply:
        """Run an operation by its name; each also has its own method.

        deployment: "latest" or an id. For resume, the invocation moves there; "keep" means no move. For restart-as-new,
        see there. The reply of a restart has the new id.
        """
        if operation is Operation.RESTART:
            return await self.restart_as_new(invocation_id, deployment=deployment or "latest")
        now_ms, raw_id = self.now_ms(), raw_id_of(invocation_id)
        moved_to = None if deployment == "keep" else deployment
        return await self._ask(lambda token: command_of(operation, now_ms, token, raw_id, moved_to))

    async def cancel(self, invocation_id: InvocationRef) -> ReplyStatus:
        """Cancel an invocation: its handler gets a terminal error 409 at its next await, and may clean up."""
        return (await self.operate(Operation.CANCEL, invocation_id)).status

    async def kill(self, invocation_id: InvocationRef) -> ReplyStatus:
        """End an invocation and everything it called at once; no handler can clean up."""
        return (await self.operate(Operation.KILL, invocation_id)).status

    async def pause(self, invocation_id: InvocationRef) -> ReplyStatus:
        return (await self.operate(Operation.PAUSE, invocation_id)).status

    async def purge(self, invocation_id: InvocationRef) -> ReplyStatus:
        return (await self.operate(Operation.PURGE, invocation_id)).status

    async def purge_journal(self, invocation_id: InvocationRef) -> ReplyStatus:
        return (await self.operate(Operation.PURGE_JOURNAL, invocation_id)).status

    async def resume(self, invocation_id: InvocationRef, deployment: str | None = None) -> ReplyStatus:
        """Resume a paused, suspended or backing-off invocation at once. deployment: "latest" or an id, to move it."""
        return (await self.operate(Operation.RESUME, invocation_id, deployment=deployment)).status

    async def restart_as_new(
        self,
        invocation_id: InvocationRef,
        *,
        from_index: int = 0,
        deployment: str = "latest",
        result: bytes | None = None,
        overwrite_state: bool = False,
    ) -> Reply:
        """Start a copy of an invocation that keeps its journal up to `from_index`; the reply has the new id.

        The old invocation stays unchanged. With `from_index` 0 it must be completed; above 0 it may be open, but must
        have completed all that is kept.   result: replaces the result of the step at `from_index`, which may be open.
        overwrite_state: use the key itself even if its state has changed since the kept entries read it; otherwise the
        new invocation then gets a copy of the key.
        """
        await self._loop.flush()
        now_ms, raw_id = self.now_ms(), raw_id_of(invocation_id)
        result = None if result is None else self._kept_answer(raw_id, result)
        return await self._ask(
            lambda token: commands.RestartAsNew(
                now_ms=now_ms,
                token=token,
                invocation_id=raw_id,
                random=os.urandom(10),
                from_index=from_index,
                deployment=deployment,
                result=result,
                overwrite_state=overwrite_state,
            )
        )

    async def mutate_state(
        self, service: str, key: str, new_state: dict[bytes, bytes], expected_version: str | None = None
    ) -> None:
        """Replace all state of a key, behind the runs that hold the key or wait for it, if its version is unchanged."""
        now_ms = self.now_ms()
        new_state = {name: self.options.kept_value(value, service, key) for name, value in new_state.items()}
        await self._ask(
            lambda token: commands.MutateState(
                now_ms=now_ms,
                token=token,
                service=service,
                key=key,
                new_state=new_state,
                expected_version=expected_version,
            )
        )

    async def sweep(self) -> int:
        """Delete now what is past its retention."""
        return await self._housekeeping.sweep()

    # Embedding

    async def call(
        self,
        service: str,
        handler: str,
        body: Any = None,
        *,
        key: str | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Call a handler and return its decoded result.

        body: bytes unchanged, None for no body, any other value as JSON.
        Raises InvocationFailed for a terminal error, RewakeError RW3002 for an unknown handler, RW3005 for a key that
        cannot be stored.
        """
        require_storable(key, idempotency_key)
        target, data, headers = self._request(service, handler, key, body)
        reply = await self.invoke(target, data, headers=headers, idempotency_key=idempotency_key, wait=True)
        assert reply.invocation_id is not None and reply.result is not None
        return decode_result(reply.invocation_id, reply.result)

    async def send(
        self,
        service: str,
        handler: str,
        body: Any = None,
        *,
        key: str | None = None,
        idempotency_key: str | None = None,
        delay_ms: int = 0,
    ) -> str:
        """Enqueue a call and return its invocation id once it is durable.

        Raises RewakeError RW3002 for an unknown handler, RW3005 for a key or a delay that cannot be stored.
        """
        require_storable(key, idempotency_key, delay_ms)
        target, data, headers = self._request(service, handler, key, body)
        reply = await self.invoke(
            target,
            data,
            headers=headers,
            idempotency_key=idempotency_key,
            execute_at_ms=self.now_ms() + delay_ms if delay_ms else None,
            wait=False,
        )
        assert reply.invocation_id is not None
        return ids.invocation_id_to_str(reply.invocation_id)

    def stream(self, invocation_id: InvocationRef, *, after: int = 0) -> AsyncGenerator[Event]:
        """The events of a run, as they come, until Ended or the engine's stop. Raises KeyError if the run is unknown.

        after: offset of the last event that the caller has. See rewake.streams.events.
        """
        return self.streams.events(raw_id_of(invocation_id), after)

    async def result(self, invocation_id: str) -> Any:
        """Wait for an invocation by its id string, and return its decoded result. Raises KeyError if it is unknown."""
        reply = await self.attach(invocation_id)
        if reply.invocation_id is None or reply.result is None:
            raise KeyError(invocation_id)
        return decode_result(reply.invocation_id, reply.result)

    def _request(
        self, service: str, handler: str, key: str | None, body: Any
    ) -> tuple[Target, bytes, tuple[tuple[str, str], ...]]:
        target = self.resolve(service, handler, key)
        if target is None:
            known = some_of(f"{item.name}/{name}" for item in self.services.values() for name in item.handlers)
            raise RewakeError(
                ErrorCode.TARGET_UNKNOWN,
                f"There is no handler '{handler}' of a service '{service}'.",
                f"Registered are: {known}.",
            )
        data = encode_body(body)
        return target, data, JSON_HEADERS if data else ()

    # For operators

    async def query(self, sql: str) -> QueryResult:
        """The rows of one read-only SELECT over the sys_* tables, run beside the event loop.

        Raises RewakeError RW5009 to RW5012. It sees everything accepted before the call.
        """
        await self._loop.flush()
        attempts = self._attempt_rows() if needs_attempts(sql) else []
        return await self._queries.run(
            sql,
            deadline_s=self.options.query_deadline_ms / 1000,
            rows_max=self.options.query_rows_max,
            attempts=attempts,
        )

    def _attempt_rows(self) -> list[AttemptRow]:
        deployments = self.deployments
        rows = []
        for item in self._loop.state.invocations.values():
            if item.status is Status.INVOKED:
                deployment = deployments.get(item.last_deployment_id or "")
                rows.append(attempt_row(item, deployment.sdk_version if deployment else None))
        return rows

    @property
    def problem(self) -> RewakeError | None:
        """Why the engine accepts nothing now, for instance a full disk; None if it does."""
        return self._loop.problem

    def stats(self) -> dict[str, int]:
        """Current figures."""
        return {
            "attempts_running": len(self._attempts.running),
            "attempts_queued": self._attempts.queued_count,
            "attempts_started": self._attempts.started_count,
            "invocations_in_memory": len(self._loop.state.invocations),
            "callers_waiting": self._waiters.waiting_count,
            "commands": self._loop.command_count,
            "commits": self._loop.batch_count,
            "wal_pages": self._store.wal_pages,
        }
