"""What the admin API, and in part the UI, needs of the engine. rewake.engine.Engine has it all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from rewake.core.effects import Reply, ReplyStatus
from rewake.core.model import Deployment, ServiceSchema
from rewake.core.settings import Settings
from rewake.engine.approval_links import ApprovalLinks
from rewake.engine.calling import Calling
from rewake.engine.registration import RegistrationResult
from rewake.errors import RewakeError
from rewake.operations import Operation
from rewake.protocol.messages import Failure, SignalResult, Success
from rewake.sql.query import QueryResult
from rewake.streams.hub import Streams


class Operations(Protocol):
    """What an operator does to runs, keys and deployments; the UI does it through these too."""

    async def operate(self, operation: Operation, invocation_id: bytes, *, deployment: str | None = None) -> Reply: ...

    async def restart_as_new(
        self,
        invocation_id: bytes,
        *,
        from_index: int = 0,
        deployment: str = "latest",
        result: bytes | None = None,
        overwrite_state: bool = False,
    ) -> Reply: ...

    async def mutate_state(
        self, service: str, key: str, new_state: dict[bytes, bytes], expected_version: str | None = None
    ) -> None: ...

    async def complete_promise(self, service: str, key: str, name: str, result: Success | Failure) -> ReplyStatus: ...

    async def remove_deployment(self, deployment_id: str, *, force: bool = True) -> bool: ...


class EnginePort(Operations, Calling, Protocol):
    """The operations, calls, and the registry with its changes."""

    settings: Settings
    path: Path
    approval_links: ApprovalLinks | None

    async def complete_awakeable(self, invocation_id: bytes, signal: int, result: SignalResult) -> Reply: ...

    streams: Streams

    @property
    def problem(self) -> RewakeError | None: ...

    @property
    def services(self) -> Mapping[str, ServiceSchema]: ...

    @property
    def deployments(self) -> Mapping[str, Deployment]: ...

    async def update_service(self, name: str, **overrides: Any) -> ServiceSchema: ...

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
    ) -> RegistrationResult: ...

    async def update_deployment(
        self,
        deployment_id: str,
        *,
        uri: str | None = None,
        additional_headers: Mapping[str, str] | None = None,
        use_http_11: bool | None = None,
        overwrite: bool = False,
        dry_run: bool = False,
    ) -> RegistrationResult | None: ...

    async def query(self, sql: str) -> QueryResult: ...
