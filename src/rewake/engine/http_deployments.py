"""HttpDeployments: registers, changes and reconnects the deployments that an engine reaches by URL.

It first discovers the endpoint's services, and then changes the registry in one command. So a failing endpoint changes
nothing. registration.py has checks and revisions, deployments/http the connections. Running invocations stay with their
deployment: a client that is replaced finishes its attempts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Literal, cast

from rewake.core.commands import RegisterDeployment
from rewake.core.ids import DeploymentId
from rewake.core.model import BY_URL, Deployment
from rewake.core.settings import Settings
from rewake.core.state import State
from rewake.deployments.base import DeploymentClient, DiscoveryResponse, ProtocolType
from rewake.deployments.http.address import checked_headers, parse_address
from rewake.deployments.http.exchange import HttpOptions
from rewake.engine.registration import (
    Reached,
    RegistrationResult,
    RegistrationStatus,
    deployment_at,
    plan_http,
    plan_move,
    plan_overwrite,
)
from rewake.errors import ErrorCode, RewakeError
from rewake.redaction import unmasked

if TYPE_CHECKING:
    from rewake.deployments.http.client import HttpDeployment
    from rewake.deployments.http.identity import Identity


_HttpVersion = Literal["HTTP/1.1", "HTTP/2.0"]


class HttpDeployments:
    """Registers by URL and keeps the clients. clients: the engine's, by deployment id.

    state: gives the current registry.   commit: submits a change of the registry, and waits until it is stored.
    """

    def __init__(
        self,
        *,
        clients: dict[str, DeploymentClient],
        state: Callable[[], State],
        commit: Callable[[RegisterDeployment], Awaitable[object]],
        settings: Settings,
        now_ms: Callable[[], int],
        identity_key_file: str | None,
        options: HttpOptions,
    ) -> None:
        """Raises RewakeError RW1012 if the identity key cannot be used."""
        self._clients = clients
        self._state = state
        self._commit = commit
        self._settings = settings
        self._now_ms = now_ms
        self._options = options
        self._retired: set[HttpDeployment] = set()
        self._identity: Identity | None = None
        if identity_key_file is not None:
            from rewake.deployments.http.identity import load_key

            self._identity = load_key(identity_key_file)

    def connect_stored(self) -> None:
        """Make clients for all registered deployments. They connect at their first use."""
        for deployment in self._state().deployments.values():
            if deployment.kind == BY_URL:
                self._clients[deployment.id] = self._client(
                    deployment.uri,
                    http_version=cast("_HttpVersion", deployment.http_version),  # stored by us
                    protocol_type=cast("ProtocolType", deployment.protocol_type),
                    headers=deployment.additional_headers,
                )

    async def register(
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
        """See Engine.register_http."""
        uri = parse_address(uri).uri
        headers = checked_headers(additional_headers or {})
        known = deployment_at(self._state(), uri)
        if known is not None and not force:
            return self._result("unchanged", known)

        def plan(discovery: DiscoveryResponse, client: HttpDeployment) -> RegisterDeployment | None:
            nonlocal known
            known = deployment_at(self._state(), uri)  # read again: another registration may have been faster
            if known is not None and not force:
                return None
            return plan_http(
                self._state(),
                discovery,
                _reached(uri, client, headers, dict(metadata or {})),
                known,
                is_breaking_allowed=breaking or force,
                settings=self._settings,
                now_ms=self._now_ms(),
            )

        client = self._client(uri, http_version="HTTP/1.1" if use_http_11 else None, headers=headers)
        command = await self._apply(client, plan, dry_run=dry_run)
        if command is None:
            assert known is not None
            return self._result("unchanged", known)
        return RegistrationResult("overwritten" if known else "created", command.deployment, command.services)

    async def update(
        self,
        deployment_id: str,
        *,
        uri: str | None = None,
        additional_headers: Mapping[str, str] | None = None,
        use_http_11: bool | None = None,
        overwrite: bool = False,
        dry_run: bool = False,
    ) -> RegistrationResult | None:
        """See Engine.update_deployment."""
        known = self._state().deployments.get(deployment_id)
        if known is None:
            return None
        if known.kind != BY_URL:
            raise _local(known)
        uri = known.uri if uri is None else parse_address(uri).uri
        changed_headers = checked_headers(unmasked(additional_headers or {}, known.additional_headers))
        headers = known.additional_headers if additional_headers is None else changed_headers
        if use_http_11 is None:
            use_http_11 = known.http_version == "HTTP/1.1" and uri == known.uri

        def plan(discovery: DiscoveryResponse, client: HttpDeployment) -> RegisterDeployment | None:
            state = self._state()
            now = state.deployments.get(deployment_id)  # it may have been removed meanwhile
            reached = _reached(uri, client, headers, known.metadata)
            if now is None:
                return None
            change = plan_overwrite if overwrite else plan_move
            return change(state, discovery, reached, now, settings=self._settings, now_ms=self._now_ms())

        client = self._client(uri, http_version="HTTP/1.1" if use_http_11 else None, headers=headers)
        command = await self._apply(client, plan, dry_run=dry_run)
        if command is None:
            return None
        return RegistrationResult("overwritten", command.deployment, command.services)

    async def _apply(
        self,
        client: HttpDeployment,
        plan: Callable[[DiscoveryResponse, HttpDeployment], RegisterDeployment | None],
        *,
        dry_run: bool,
    ) -> RegisterDeployment | None:
        """Discover, plan, and store the change. The new client is kept if the change needs it."""
        is_kept = False
        try:
            command = plan(await client.discover(), client)
            if command is not None and not dry_run:
                # Before the commit: attempts may start as soon as it is applied. There is no await in between, so the
                # registry is still the one that the plan was made for.
                before = self._clients.get(command.deployment.id)
                self._clients[command.deployment.id] = client
                is_kept = True
                try:
                    await self._commit(command)
                except BaseException:
                    self._put_back(command.deployment.id, client, before)
                    is_kept = False
                    raise
                await self.release(before)
            return command
        finally:
            if not is_kept:
                await client.close()

    def _put_back(self, deployment_id: DeploymentId, client: HttpDeployment, before: DeploymentClient | None) -> None:
        if self._clients.get(deployment_id) is client:
            del self._clients[deployment_id]
            if before is not None:
                self._clients[deployment_id] = before

    async def release(self, client: DeploymentClient | None) -> None:
        """Let go of a replaced client; one over HTTP finishes its attempts first."""
        from rewake.deployments.http.client import HttpDeployment

        if isinstance(client, HttpDeployment):
            self._retired.add(client)
            client.retire(on_closed=lambda: self._retired.discard(client))
        elif client is not None:
            await client.close()

    async def close(self) -> None:
        """Close clients that still finish attempts."""
        await asyncio.gather(*(client.close() for client in list(self._retired)))

    def _client(
        self,
        uri: str,
        *,
        http_version: _HttpVersion | None,
        headers: Mapping[str, str],
        protocol_type: ProtocolType = "bidi",
    ) -> HttpDeployment:
        from rewake.deployments.http.client import HttpDeployment

        return HttpDeployment(
            parse_address(uri),
            http_version=http_version,
            protocol_type=protocol_type,
            headers=headers,
            identity=self._identity,
            options=self._options,
        )

    def _result(self, status: RegistrationStatus, deployment: Deployment) -> RegistrationResult:
        latest = self._state().services
        services = [latest[name] for name in deployment.services if name in latest]
        return RegistrationResult(status, deployment, services)


def _reached(uri: str, client: HttpDeployment, headers: Mapping[str, str], metadata: dict[str, str]) -> Reached:
    return Reached(
        uri=uri,
        kind=BY_URL,
        protocol_type=client.protocol_type,
        http_version=client.http_version,
        additional_headers=dict(headers),
        metadata=metadata,
    )


def _local(deployment: Deployment) -> RewakeError:
    return RewakeError(
        ErrorCode.DEPLOYMENT_LOCAL,
        f"The deployment {deployment.id} is {deployment.uri!r}, run by this engine itself.",
        "Change its code; it is registered again by itself.",
    )


def in_use(deployment: Deployment, latest_of: list[str], open_count: int) -> RewakeError:
    """The refusal to remove a deployment that is in use."""
    reasons = []
    if latest_of:
        reasons.append(f"It serves the latest revision of {', '.join(sorted(latest_of))}.")
    if open_count:
        reasons.append(f"{open_count} open invocation{'s are' if open_count > 1 else ' is'} pinned to it.")
    return RewakeError(
        ErrorCode.DEPLOYMENT_IN_USE,
        "\n".join([f"The deployment {deployment.id} at {deployment.uri!r} is still in use.", *reasons]),
        "Register a newer deployment of its services and wait; or use force: runs pinned to it then cannot go on.",
        services=sorted(latest_of),
        open_invocation_count=open_count,
    )
