"""The endpoint manifest: an SDK's list of services and handlers, parsed, checked and typed. Versions 1 to 4.

`parse_manifest` turns the body of a discovery answer into an EndpointManifest, or raises a ManifestError. Options that
the manifest does not set are None; the caller then takes the service's, else the engine's. This file also has the
accept header of discovery, the choice of protocol version, and the input and output rules of the ingress. Durations are
milliseconds.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, NoReturn

import msgspec
from msgspec import field

MANIFEST_VERSIONS: Final = (1, 2, 3, 4)
ACCEPT: Final = ", ".join(f"application/vnd.restate.endpointmanifest.v{version}+json" for version in MANIFEST_VERSIONS)

BAD_MANIFEST: Final = "META0013"
UNSUPPORTED_PROTOCOL: Final = "META0012"
RESERVED_NAME: Final = "META0005"

SERVICES_MAX: Final = 1_000
HANDLERS_MAX: Final = 5_000
"""Handlers of one deployment, in all its services."""

MANIFEST_NAME_CHARS_MAX: Final = 255
"""Characters in the name of a service or a handler."""

DURATION_MS_MAX: Final = 2**62
"""Longest duration accepted: now plus this still fits a database column."""

_SERVICE_NAME: Final = re.compile(r"([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9._-]*")
_HANDLER_NAME: Final = re.compile(r"([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9_]*")
_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_MEDIA_RANGE: Final = re.compile(rf"{_TOKEN}/{_TOKEN}(?:[ \t]*;[\t -~]*)?")
"""A media range. It becomes a header of answers, so it must be visible ASCII, without line breaks."""

_CONTENT_TYPE: Final = re.compile(r"application/vnd\.restate\.endpointmanifest\.v([0-9]{1,3})\+json")

_DurationMs = Annotated[int, msgspec.Meta(ge=0, le=DURATION_MS_MAX)]
_Version = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
_Attempts = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Factor = Annotated[float, msgspec.Meta(ge=0)]


class ManifestError(Exception):
    """The deployment cannot be registered with this manifest.

    code: META0013, or META0012 for versions, META0005 for a name.
    """

    def __init__(self, message: str, code: str = BAD_MANIFEST) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class ProtocolMode(StrEnum):
    """Whether an attempt's request stays open while the handler answers."""

    BIDI_STREAM = "BIDI_STREAM"
    REQUEST_RESPONSE = "REQUEST_RESPONSE"


class ServiceType(StrEnum):
    """Kind of service, in the manifest's words."""

    SERVICE = "SERVICE"
    VIRTUAL_OBJECT = "VIRTUAL_OBJECT"
    WORKFLOW = "WORKFLOW"


class HandlerKind(StrEnum):
    """How invocations of a handler share their key: not keyed, one at a time, side by side, or once per key."""

    PLAIN = "PLAIN"
    EXCLUSIVE = "EXCLUSIVE"
    SHARED = "SHARED"
    WORKFLOW = "WORKFLOW"


_HandlerType = Literal["EXCLUSIVE", "SHARED", "WORKFLOW"]

_KINDS: Final[dict[tuple[ServiceType, str | None], HandlerKind]] = {
    (ServiceType.SERVICE, None): HandlerKind.PLAIN,
    (ServiceType.SERVICE, "SHARED"): HandlerKind.PLAIN,
    (ServiceType.VIRTUAL_OBJECT, None): HandlerKind.EXCLUSIVE,
    (ServiceType.VIRTUAL_OBJECT, "EXCLUSIVE"): HandlerKind.EXCLUSIVE,
    (ServiceType.VIRTUAL_OBJECT, "SHARED"): HandlerKind.SHARED,
    # The schema's prose reads an absent type as WORKFLOW here; the server reads it as SHARED.
    (ServiceType.WORKFLOW, None): HandlerKind.SHARED,
    (ServiceType.WORKFLOW, "SHARED"): HandlerKind.SHARED,
    (ServiceType.WORKFLOW, "WORKFLOW"): HandlerKind.WORKFLOW,
}
"""Kind by service type and handler `ty`. Any other pair is an error in the manifest."""


class InputRules(msgspec.Struct, frozen=True, rename="camel"):
    """Rules for a request body. content_type: None allows neither a body nor a content type.

    accepts_all: the manifest has no rules for the input, so any body passes.
    """

    required: bool = False
    content_type: str | None = None
    json_schema: Any = None
    accepts_all: bool = field(default=False, name="_acceptsAll")

    def violation(self, content_type: str | None, *, is_empty: bool) -> str | None:
        """Why a request is refused, in the public ingress's words; None if it passes."""
        if self.accepts_all or (not self.required and is_empty and content_type is None):
            return None
        if self.content_type is None:
            return self._no_body_violation(content_type, is_empty=is_empty)
        if content_type is None:
            return "Empty content-type"
        if not _media_type_matches(content_type, self.content_type):
            return f"Content-type '{content_type}' does not match '{self.content_type}'"
        if is_empty and self.json_schema is not None:
            return "Empty body not allowed"
        return None

    def _no_body_violation(self, content_type: str | None, *, is_empty: bool) -> str | None:
        if self.required:
            return "Empty body not allowed" if is_empty else None
        found = "None" if content_type is None else f'Some("{content_type}")'
        return f"Expected body and content-type to be empty, but wasn't with content-type '{found}'"


class OutputRules(msgspec.Struct, frozen=True, rename="camel"):
    """Rules for the content type of a result."""

    content_type: str | None = None
    set_content_type_if_empty: bool = False
    json_schema: Any = None

    def content_type_for(self, *, is_empty: bool) -> str | None:
        """Content type of the answer; None to leave it out."""
        return self.content_type if not is_empty or self.set_content_type_if_empty else None


ANY_INPUT: Final = InputRules(accepts_all=True)
DEFAULT_OUTPUT: Final = OutputRules("application/json")


class ManifestOptions(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Options of a service or a handler. None: inherit."""

    documentation: str | None = None
    metadata: dict[str, str] = {}
    inactivity_timeout_ms: _DurationMs | None = field(default=None, name="inactivityTimeout")
    abort_timeout_ms: _DurationMs | None = field(default=None, name="abortTimeout")
    journal_retention_ms: _DurationMs | None = field(default=None, name="journalRetention")
    idempotency_retention_ms: _DurationMs | None = field(default=None, name="idempotencyRetention")
    enable_lazy_state: bool | None = None
    ingress_private: bool | None = None
    retry_policy_initial_interval_ms: _DurationMs | None = field(default=None, name="retryPolicyInitialInterval")
    retry_policy_max_interval_ms: _DurationMs | None = field(default=None, name="retryPolicyMaxInterval")
    retry_policy_max_attempts: _Attempts | None = None
    retry_policy_exponentiation_factor: _Factor | None = None
    retry_policy_on_max_attempts: Literal["PAUSE", "KILL"] | None = None
    eager_state_keys_whitelist: tuple[str, ...] | None = None


class HandlerManifest(ManifestOptions, frozen=True, kw_only=True):
    """One handler. ty: as in the manifest.   kind: its meaning."""

    name: str
    ty: _HandlerType | None = None
    kind: HandlerKind = field(default=HandlerKind.PLAIN, name="_kind")
    input: InputRules = ANY_INPUT
    output: OutputRules = DEFAULT_OUTPUT
    workflow_completion_retention_ms: _DurationMs | None = field(default=None, name="workflowCompletionRetention")


class ServiceManifest(ManifestOptions, frozen=True, kw_only=True):
    """One service and its handlers, with unique names."""

    name: str
    ty: ServiceType
    handlers: tuple[HandlerManifest, ...] = ()


class EndpointManifest(msgspec.Struct, frozen=True, rename="camel"):
    """A deployment's services, and the protocol it speaks."""

    protocol_mode: ProtocolMode
    min_protocol_version: _Version
    max_protocol_version: _Version
    services: tuple[ServiceManifest, ...]


def parse_manifest(body: bytes) -> EndpointManifest:
    """The checked manifest in `body`. Raises ManifestError if it cannot be registered."""
    try:
        manifest = msgspec.json.decode(body, type=EndpointManifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError(f"The discovery answer is not an endpoint manifest: {error}") from error
    if manifest.min_protocol_version > manifest.max_protocol_version:
        raise ManifestError(
            f"minProtocolVersion {manifest.min_protocol_version} is above"
            f" maxProtocolVersion {manifest.max_protocol_version}"
        )
    _check_count("services", len(manifest.services), SERVICES_MAX)
    _check_count("handlers", sum(len(service.handlers) for service in manifest.services), HANDLERS_MAX)
    _check_unique("service", [service.name for service in manifest.services])
    services = tuple(_checked_service(service) for service in manifest.services)
    return msgspec.structs.replace(manifest, services=services)


def manifest_version(content_type: str | None) -> int:
    """The version in the content type of a discovery answer. Raises ManifestError for one that was not requested."""
    match = _CONTENT_TYPE.fullmatch((content_type or "").partition(";")[0].strip())
    if match is None or int(match[1]) not in MANIFEST_VERSIONS:
        raise ManifestError(f"The discovery answer has content type {content_type!r}, expected one of {ACCEPT}")
    return int(match[1])


def choose_protocol_version(manifest_min: int, manifest_max: int, ours_min: int = 5, ours_max: int = 6) -> int:
    """Highest version both sides speak. Raises ManifestError META0012 if they share no version."""
    version = min(manifest_max, ours_max)
    if version < max(manifest_min, ours_min):
        raise ManifestError(
            f"The deployment speaks service protocol {manifest_min} to {manifest_max}, this engine {ours_min} to"
            f" {ours_max}",
            UNSUPPORTED_PROTOCOL,
        )
    return version


def _checked_service(service: ServiceManifest) -> ServiceManifest:
    name = service.name
    if not _SERVICE_NAME.fullmatch(name):
        raise ManifestError(f"{name!r} is not a valid service name")
    if name.lower().startswith("restate") or name.lower() == "openapi":
        raise ManifestError(f"The service name {name!r} is reserved", RESERVED_NAME)
    _check_unique(f"service {name!r}: handler", [handler.name for handler in service.handlers])
    handlers = tuple(_checked_handler(service, handler) for handler in service.handlers)
    return msgspec.structs.replace(service, handlers=handlers, **_at_least_one_attempt(service))


def _checked_handler(service: ServiceManifest, handler: HandlerManifest) -> HandlerManifest:
    """`handler` with its kind resolved."""

    def refuse(reason: str) -> NoReturn:
        raise ManifestError(f"Handler {service.name}/{handler.name}: {reason}")

    if not _HANDLER_NAME.fullmatch(handler.name):
        refuse("not a valid handler name")
    kind = _KINDS.get((service.ty, handler.ty))
    if kind is None:
        refuse(f"type {handler.ty} does not exist in a {service.ty}")
    if kind is HandlerKind.WORKFLOW and handler.idempotency_retention_ms is not None:
        refuse("idempotencyRetention cannot be set on the workflow run, use workflowCompletionRetention")
    if kind is not HandlerKind.WORKFLOW and handler.workflow_completion_retention_ms is not None:
        refuse("workflowCompletionRetention can only be set on the workflow run")
    if service.ingress_private and handler.ingress_private is False:
        refuse("cannot be public in a private service")
    for content_type in (handler.input.content_type, handler.output.content_type):
        if content_type is not None and not _MEDIA_RANGE.fullmatch(content_type):
            refuse(f"{content_type!r} is not a content type")
    return msgspec.structs.replace(handler, kind=kind, **_at_least_one_attempt(handler))


def _at_least_one_attempt(options: ManifestOptions) -> dict[str, int]:
    """An attempt limit of 0 is read as 1, as the server does."""
    return {"retry_policy_max_attempts": 1} if options.retry_policy_max_attempts == 0 else {}


def _check_count(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise ManifestError(f"The manifest has {count} {what}, more than the {limit} that one deployment may have")


def _check_unique(what: str, names: list[str]) -> None:
    """Raise ManifestError for a repeated name or one that is too long."""
    seen = set()
    for name in names:
        if len(name) > MANIFEST_NAME_CHARS_MAX:
            raise ManifestError(
                f"A name has {len(name)} characters, more than {MANIFEST_NAME_CHARS_MAX}: {name[:40]!r} ..."
            )
        if name in seen:
            raise ManifestError(f"The manifest names {what} {name!r} more than once")
        seen.add(name)


def _media_type_matches(content_type: str, declared: str) -> bool:
    """Whether a content type matches. Parameters are ignored, case is not, as in the server."""
    media_type = content_type.partition(";")[0].strip()
    if declared == "*/*":
        return True
    if declared.endswith("/*"):
        return media_type.startswith(declared[:-1])
    return media_type == declared.partition(";")[0].strip()
