"""The engine behind the pages when it is elsewhere: operations over its admin API, calls and answers over its ingress.

A refusal of the server is raised as RewakeError with the server's words (`http_status` among the facts). `connect`
finds out the kind of server. Requests block on threads, each with an end. Reading is done in rewake.runs.elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, Final

import msgspec

from rewake.clients.admin import AdminClient, not_an_admin_api, segment, sql_text
from rewake.clients.ingress import IngressClient, checked_url, failure_in, url_beside
from rewake.core import ids
from rewake.core.effects import Reply, ReplyStatus
from rewake.core.model import Target
from rewake.disclosure import sealed
from rewake.engine.waiters import OnAccepted
from rewake.errors import ErrorCode, RewakeError
from rewake.operations import Operation
from rewake.protocol.discovery import HandlerKind, ServiceType
from rewake.protocol.messages import Failure, SignalResult, Success
from rewake.runs.elsewhere.rows import ENTRY_COLUMNS, INVOCATION_COLUMNS
from rewake.ui.abilities import Abilities
from rewake.ui.mount import shown_ingress

REQUEST_S: Final = 10.0
ANSWER_S: Final = 6.0
"""How long a thread waits for the answer to a call; the page has given up before."""

_PROBE_S: Final = 1.0
_PROBE_GOOD_S: Final = 10.0
_NOT_KEPT: Final = Failure(404, "It has ended, and the server keeps no result of it.")


class ServerElsewhere(msgspec.Struct, frozen=True):
    """A server that was found. version: as it reports it; rewake_version: of another Rewake, else None."""

    url: str
    ingress_url: str
    version: str
    rewake_version: str | None

    @property
    def is_rewake(self) -> bool:
        return self.rewake_version is not None


def connect(url: str, ingress_url: str | None) -> ServerElsewhere:
    """The server at the URL. Raises RewakeError RW1009 without one, RW1015 and RW1016 for one of another kind."""
    with AdminClient(url, timeout_s=REQUEST_S) as admin:
        try:
            told = admin.get("/version")
            version = str(told["version"])
        except RewakeError as error:
            if error.code is ErrorCode.ADMIN_UNREACHABLE:
                raise
            raise not_an_admin_api(admin.url) from error
        except (KeyError, TypeError):
            raise not_an_admin_api(admin.url) from None
        _check_tables(admin, version)
        ingress = checked_url(ingress_url) if ingress_url else url_beside(admin.url, told.get("ingress_endpoint"))
        return ServerElsewhere(admin.url, ingress, version, told.get("rewake_version"))


def _check_tables(admin: AdminClient, version: str) -> None:
    """Raise RewakeError RW1016 unless the server has every column that the pages read."""
    columns = {"sys_invocation": INVOCATION_COLUMNS, "sys_journal": f"{ENTRY_COLUMNS}, raw, raw_length"}
    for table, names in columns.items():
        try:
            admin.query(f"select {names} from {table} limit 0")
        except RewakeError as error:
            if error.code is ErrorCode.ADMIN_UNREACHABLE:
                raise
            message = f"The server at {admin.url!r} has version {version}, whose tables this UI cannot read."
            raise RewakeError(
                ErrorCode.ADMIN_TOO_OLD, f"{message}\n{error.message}", "It works with Restate 1.7 and with Rewake."
            ) from error


class EngineElsewhere:
    """A UiEngine on a server elsewhere."""

    def __init__(self, server: ServerElsewhere) -> None:
        self.server = server
        self.ingress = IngressClient(server.ingress_url)
        self._probed_at_s = 0.0
        self._cannot_send = ""

    @staticmethod
    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    def abilities(self) -> Abilities:
        """The abilities of this server."""
        return Abilities(
            server=self.server.url,
            ingress=shown_ingress(self.server.ingress_url),
            replaces_results=self.server.is_rewake,
            completes_promises=self.server.is_rewake,
            cannot_send=self._ingress_problem,
        )

    # Operations

    async def operate(self, operation: Operation, invocation_id: bytes, *, deployment: str | None = None) -> Reply:
        if operation is Operation.RESTART:
            return await self.restart_as_new(invocation_id, deployment=deployment or "latest")
        path = f"/invocations/{ids.invocation_id_to_str(invocation_id)}/{operation}"
        await self._ask("PATCH", path, None, deployment=deployment if operation is Operation.RESUME else None)
        return Reply(0, ReplyStatus.ACCEPTED, ids.InvocationId(invocation_id))

    async def restart_as_new(
        self,
        invocation_id: bytes,
        *,
        from_index: int = 0,
        deployment: str = "latest",
        result: bytes | None = None,
        overwrite_state: bool = False,
    ) -> Reply:
        if result is not None and not self.server.is_rewake:
            message = "This server cannot replace the result of a step."
            raise RewakeError(ErrorCode.OPERATION_UNSUPPORTED, message, "Fork without another result.", http_status=400)
        path = f"/invocations/{ids.invocation_id_to_str(invocation_id)}/{Operation.RESTART}"
        content = None if result is None else b'{"result": ' + (result or b"null") + b"}"
        parameters: dict[str, str | None] = {"from": str(from_index), "deployment": deployment}
        if overwrite_state:
            parameters["overwrite-state"] = "true"
        told = await self._ask("PATCH", path, content, **parameters)
        return Reply(0, ReplyStatus.ACCEPTED, ids.invocation_id_from_str(told["new_invocation_id"]))

    async def mutate_state(
        self, service: str, key: str, new_state: dict[bytes, bytes], expected_version: str | None = None
    ) -> None:
        values = {name.decode(): list(sealed(value, service, key)) for name, value in new_state.items()}
        change = {"object_key": key, "new_state": values, "version": expected_version}
        await self._ask("POST", f"/services/{segment(service)}/state", msgspec.json.encode(change))

    async def complete_promise(self, service: str, key: str, name: str, result: Success | Failure) -> ReplyStatus:
        """Resolve or reject a promise of a workflow key; another Rewake can do it."""
        told: dict[str, Any] = {"workflow_key": key, "name": name}
        if isinstance(result, Failure):
            content = json.dumps(told | {"failure": result.message}).encode()
        else:
            content = json.dumps(told).encode()[:-1] + b', "value": ' + (result.content or b"null") + b"}"
        await self._ask("POST", f"/services/{segment(service)}/promises", content)
        return ReplyStatus.ACCEPTED

    async def remove_deployment(self, deployment_id: str, *, force: bool = True) -> bool:
        """The public API removes only by force; so without force, check first that nothing needs it."""
        if not force and not self.server.is_rewake:
            await asyncio.to_thread(self._require_drained, deployment_id)
            force = True
        try:
            await self._ask("DELETE", f"/deployments/{segment(deployment_id)}", force=str(force).lower())
        except RewakeError as error:
            if error.facts.get("http_status") == 404:
                return False
            raise
        return True

    async def _ask(self, method: str, path: str, content: bytes | None = None, **parameters: str | None) -> Any:
        admin = AdminClient(self.server.url, timeout_s=REQUEST_S)
        return await asyncio.to_thread(admin.send, method, path, content, parameters)

    def _require_drained(self, deployment_id: str) -> None:
        id_ = sql_text(deployment_id)
        with AdminClient(self.server.url, timeout_s=REQUEST_S) as admin:
            needed = admin.query(f"select name from sys_service where deployment_id = {id_} limit 1") or admin.query(
                f"select id from sys_invocation_status where pinned_deployment_id = {id_} "
                "and status <> 'completed' limit 1"
            )
        if needed:
            message = f"The deployment {deployment_id} is still in use."
            hint = "Register the services elsewhere, and let the runs on it end."
            raise RewakeError(ErrorCode.DEPLOYMENT_IN_USE, message, hint)

    # Calls

    def resolve(self, service: str, handler: str, key: str | None) -> Target | None:
        """The target of a call; the ingress checks whether it exists."""
        if key is None:
            return Target(service, handler, None, ServiceType.SERVICE, HandlerKind.PLAIN)
        return Target(service, handler, key, ServiceType.VIRTUAL_OBJECT, HandlerKind.EXCLUSIVE)

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
        """Sends, then attaches, so that the run is known before it ends. The pages never ask for a delay."""
        assert execute_at_ms is None, "the pages send at once"
        given = dict(headers)
        given |= {"idempotency-key": idempotency_key} if idempotency_key is not None else {}
        given |= {"traceparent": traceparent} if traceparent is not None else {}
        parts = [target.service, *([] if target.key is None else [target.key]), target.handler]
        path = "/" + "/".join(map(segment, parts)) + "/send"
        status, content = await asyncio.to_thread(
            self.ingress.send, "POST", path, sealed(body, target.service, target.key), given
        )
        if status >= 300:
            return Reply(0, ReplyStatus.COMPLETED, None, failure_in(status, content))
        run_id = str(msgspec.json.decode(content)["invocationId"])
        invocation_id = ids.invocation_id_from_str(run_id)
        if on_accepted is not None:
            on_accepted(invocation_id)
        if not wait:
            return Reply(0, ReplyStatus.ACCEPTED, ids.InvocationId(invocation_id))
        attach = f"/restate/invocation/{run_id}/attach"
        status, content = await asyncio.to_thread(self.ingress.send, "GET", attach, b"", {}, ANSWER_S)
        result = Success(content) if status < 300 else failure_in(status, content)
        if result == Failure(404, "not found"):
            result = _NOT_KEPT
        return Reply(0, ReplyStatus.COMPLETED, invocation_id, result)

    async def complete_awakeable(self, invocation_id: bytes, signal: int, result: SignalResult) -> Reply:
        awakeable_id = ids.awakeable_id_format(invocation_id, signal)
        await asyncio.to_thread(self.ingress.answer, awakeable_id, result)
        return Reply(0, ReplyStatus.ACCEPTED)

    def _ingress_problem(self) -> str:
        """Why nothing can be sent, as of a few seconds ago."""
        now_s = time.monotonic()
        if now_s - self._probed_at_s > _PROBE_GOOD_S or not self._probed_at_s:
            try:
                status, _ = self.ingress.send("GET", "/restate/health", b"", {}, _PROBE_S)
                answered = f"The ingress at {self.server.ingress_url} answers with status {status}."
                self._cannot_send = "" if status == 200 else answered
            except RewakeError as error:
                self._cannot_send = error.message.replace("\n", " ")
            self._probed_at_s = time.monotonic()
        return self._cannot_send
