"""Engine: the durable engine as one object, embedded in an event loop.

    async with Engine("data", app) as engine:
        result = await engine.call("Greeter", "greet", "Ada")

Owns the operations that the ingress, the admin API and embedding programs use. The core decides what an operation
means; runtime.py starts, stops and gets things to the disk. Several engines may live in one process, each with a
directory of its own.
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
from rewake.redaction import redacted
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

    app: a `restate.app(...)` object to run in this process, or None when deployments are added later.
    observer: hears of what happens; see rewake.telemetry.
    Raises RewakeError RW5xxx from start() when the directory cannot be used.
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
        """Open the store, register the app, and drive on everything that was running when the engine stopped."""
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
        """Discover what a local deployment serves, register it, and use `client` for its attempts from now on."""
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
        """Register what the endpoint at `uri` serves as the latest revision of its services.

        An address that is registered already is "unchanged" and not even asked, unless with `force`; then it keeps its
        id and all its services get a new revision.   breaking: a service may change its type; force implies it.
        dry_run: do all but store it.   additional_headers: sent with every request.
        Raises RewakeError RW2003 to RW2012; nothing is registered then.
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
        """Change where and how a deployment is reached; None when unknown. The endpoint is asked in any case.

        None leaves a part as it is; headers are replaced as a whole.   overwrite: take its services as the endpoint now
        has them, else they stay as registered.   Raises RewakeError RW2003 to RW2014; nothing is changed then.
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
        """Forget a deployment; False when unknown. Attempts running on one reached by URL may still finish.

        New calls of its services go to the deployment that had them before, if there is one still.
        Raises RewakeError RW2013, without `force`, while a service or an open invocation needs it.
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
        """The target of a call by the latest registration; None when unknown."""
        return calls.resolve(self._loop.state, service, handler, key)

    def target_of(self, invocation_id: bytes) -> Target | None:
        """What a known invocation called; None when it is unknown."""
        known = self._loop.state.invocations.get(InvocationId(invocation_id)) or self._store.reader.invocation(
            invocation_id
        )
        return known.target if known else None

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

        `expires_at_ms` is set when the result was there already. `on_accepted` hears the id once it is durable.
        """
        token, future = self._waiters.ask(on_accepted)
        if self._observer is not None:
            traceparent = self._observer.traceparent(traceparent)
        self._submit_asking(
            commands.Invoke(
                now_ms=self.now_ms(),
                token=token,
                target=target,
                input=body,
                headers=redacted(headers, self.options.redacted_headers, self.options.redact),
                random=os.urandom(10),
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
        """The invocation's result as of now: COMPLETED, PENDING or NOT_FOUND."""
        return await self._look(invocation_id, wait=False)

    async def _look(self, invocation_id: InvocationRef, *, wait: bool) -> Reply:
        now_ms, raw_id = self.now_ms(), raw_id_of(invocation_id)
        return await self._ask(
            lambda token: commands.Attach(now_ms=now_ms, token=token, invocation_id=raw_id, wait=wait)
        )

    async def complete_awakeable(self, invocation_id: bytes, signal: int, result: SignalResult) -> Reply:
        """Resolve or reject an awakeable; the first time counts, later ones and unknown ids are ignored."""
        if signal == CANCEL_SIGNAL:
            return Reply(0, ReplyStatus.DONE, InvocationId(invocation_id))
        now_ms, raw_id = self.now_ms(), InvocationId(invocation_id)
        return await self._ask(
            lambda token: commands.CompleteSignal(
                now_ms=now_ms, token=token, invocation_id=raw_id, signal=signal, result=result
            )
        )

    async def complete_promise(self, service: str, key: str, name: str, result: Success | Failure) -> ReplyStatus:
        """Resolve or reject a promise of a workflow key: ACCEPTED, ALREADY_COMPLETED, or NOT_FOUND (key not in use)."""
        now_ms = self.now_ms()
        reply = await self._ask(
            lambda token: commands.CompletePromise(
                now_ms=now_ms, token=token, service=service, key=key, name=name, result=result
            )
        )
        return reply.status

    async def operate(
        self, operation: Operation, invocation_id: InvocationRef, *, deployment: str | None = None
    ) -> Reply:
        """Do any one of the operations; each also has a method of its own.

        deployment: for resume, "keep" (as without) or what to move it to; for restart-as-new, see there. "latest" or an
        id. The reply of a restart has the new id.
        """
        if operation is Operation.RESTART:
            return await self.restart_as_new(invocation_id, deployment=deployment or "latest")
        now_ms, raw_id = self.now_ms(), raw_id_of(invocation_id)
        moved_to = None if deployment == "keep" else deployment
        return await self._ask(lambda token: command_of(operation, now_ms, token, raw_id, moved_to))

    async def cancel(self, invocation_id: InvocationRef) -> ReplyStatus:
        """Ask the handler to stop; it sees a terminal error 409 at its next await and may clean up."""
        return (await self.operate(Operation.CANCEL, invocation_id)).status

    async def kill(self, invocation_id: InvocationRef) -> ReplyStatus:
        """End the invocation and everything it called, now, without asking the handlers."""
        return (await self.operate(Operation.KILL, invocation_id)).status

    async def pause(self, invocation_id: InvocationRef) -> ReplyStatus:
        return (await self.operate(Operation.PAUSE, invocation_id)).status

    async def purge(self, invocation_id: InvocationRef) -> ReplyStatus:
        return (await self.operate(Operation.PURGE, invocation_id)).status

    async def purge_journal(self, invocation_id: InvocationRef) -> ReplyStatus:
        return (await self.operate(Operation.PURGE_JOURNAL, invocation_id)).status

    async def resume(self, invocation_id: InvocationRef, deployment: str | None = None) -> ReplyStatus:
        """Go on at once: a paused, suspended or backing-off invocation. deployment: "latest" or an id, to move it."""
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
        """Run an invocation again, keeping journal entries up to `from_index`; the reply has the new id.

        It must be completed, or at least have done what is kept (`from_index` above 0); it stays as it is and runs on.
        result: instead of what the step at `from_index` returned, or has not returned yet.   overwrite_state: on the
        key itself also when other runs of it have written since what the kept entries read; else on a copy of the key.
        """
        await self._loop.flush()
        now_ms, raw_id = self.now_ms(), raw_id_of(invocation_id)
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
        """Replace all state of a key, behind whatever runs on it; dropped when the version differs by then."""
        now_ms = self.now_ms()
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
        """Forget what is past its retention, now."""
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

        body: bytes as they are, None for no body, anything else as JSON.
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
        """The events of a run as they come, up to Ended; less when the engine stops. KeyError when it is unknown.

        after: offset of the last event that is known already. See rewake.streams.events.
        """
        return self.streams.events(raw_id_of(invocation_id), after)

    async def result(self, invocation_id: str) -> Any:
        """Wait for an invocation by its id string and return its decoded result. KeyError when unknown."""
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

        Raises RewakeError RW5009 to RW5012. Sees what was accepted before the call.
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
        """Why nothing can be accepted at the moment, for instance a full disk; None when all is well."""
        return self._loop.problem

    def stats(self) -> dict[str, int]:
        """Figures of this moment."""
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
