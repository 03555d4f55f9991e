"""Services, deployments, and the playground: a form made from a handler's JSON schema that sends a request.

Flat fields become inputs; everything else in the schema is edited as JSON. The engine and the handler check the request
like any other.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from rewake import formats
from rewake.core import ids
from rewake.core.effects import Reply
from rewake.core.model import HandlerSchema, ServiceSchema
from rewake.durations import format_duration
from rewake.protocol.messages import Failure, Success
from rewake.runs.reading import Read, Reading
from rewake.schema_examples import example_of
from rewake.ui.port import UiEngine
from rewake.ui.web import Problem, Web, run_url, see

DOCUMENTATION_CHARS_MAX: Final = 4_000
ANSWER_S: Final = 5.0
"""How long the playground waits for an answer before it shows the run instead."""

_DEPTH_MAX: Final = 6
_INPUT_TYPES: Final = {"string": "text", "integer": "number", "number": "number", "boolean": "checkbox"}


class HandlerRow(msgspec.Struct):
    name: str
    kind: str
    is_public: bool
    input: str
    output: str
    documentation: str
    settings: list[tuple[str, str]]


class ServiceRow(msgspec.Struct):
    name: str
    kind: str
    is_public: bool
    is_keyed: bool
    revision: int
    deployment: str
    documentation: str
    handlers: list[HandlerRow]


class ServicesPage(msgspec.Struct):
    services: list[ServiceRow]


class DeploymentRow(msgspec.Struct):
    id: str
    uri: str
    kind: str
    protocol: str
    sdk: str
    created_at_ms: int
    services: dict[str, int]
    latest: list[str]
    open_run_count: int


class DeploymentsPage(msgspec.Struct):
    deployments: list[DeploymentRow]


class Field(msgspec.Struct):
    """One input of the playground. kind: of <input>, `select` or `json`."""

    name: str
    kind: str
    label: str
    value: str
    is_required: bool
    choices: list[str] = []
    description: str = ""


class PlaygroundPage(msgspec.Struct):
    """answer: of the request just sent; None before."""

    service: str
    is_keyed: bool
    handler: HandlerRow
    fields: list[Field]
    key: str
    body: str
    schema: str
    output_schema: str
    curl: str
    content_type: str
    run_id: str | None = None
    answer: formats.Shown | None = None
    failure: str | None = None


def services_page(reading: Reading) -> ServicesPage:
    """All services by name."""
    return ServicesPage([_service_row(item) for item in reading.services()])


def service_page(reading: Reading, name: str) -> ServiceRow:
    """One service."""
    found = reading.service(name)
    if found is None:
        raise Problem(404, f"There is no service {formats.shortened(name, 80)!r}.", "It may have been removed.")
    return _service_row(found)


def deployments_page(reading: Reading) -> DeploymentsPage:
    """All deployments, newest first, with what still runs on them."""
    found, services = reading.deployments(), reading.services()
    counts = reading.pinned_counts([item.id for item in found])
    return DeploymentsPage(
        [
            DeploymentRow(
                id=item.id,
                uri=item.uri,
                kind=item.kind.replace("_", " "),
                protocol=f"V{item.min_protocol_version} to V{item.max_protocol_version}",
                sdk=item.sdk_version,
                created_at_ms=item.created_at_ms,
                services=item.services,
                latest=[known.name for known in services if known.deployment_id == item.id],
                open_run_count=counts.get(item.id, 0),
            )
            for item in found
        ]
    )


def _service_row(service: ServiceSchema) -> ServiceRow:
    return ServiceRow(
        name=service.name,
        kind=service.type.value.lower().replace("_", " "),
        is_public=service.options.public,
        is_keyed=service.is_keyed,
        revision=service.revision,
        deployment=service.deployment_id,
        documentation=_documentation(service.manifest),
        handlers=[_handler_row(handler) for handler in service.handlers.values()],
    )


def _handler_row(handler: HandlerSchema) -> HandlerRow:
    options, retry = handler.options, handler.options.retry
    attempts = "without end" if retry.max_attempts is None else str(retry.max_attempts)
    settings = [
        ("Inactivity timeout", format_duration(options.inactivity_timeout_ms)),
        ("Abort timeout", format_duration(options.abort_timeout_ms)),
        ("Journal kept", format_duration(options.journal_retention_ms)),
        ("Idempotent result kept", format_duration(options.idempotency_retention_ms)),
        ("Attempts", f"{attempts}, then {retry.on_max_attempts.lower()}" if retry.max_attempts else attempts),
        ("First retry after", format_duration(retry.initial_interval_ms)),
        ("State", "lazy" if options.enable_lazy_state else "eager"),
    ]
    return HandlerRow(
        name=handler.name,
        kind=handler.kind.value.lower(),
        is_public=options.public,
        input=_payload(handler.manifest.get("input")),
        output=_payload(handler.manifest.get("output")),
        documentation=_documentation(handler.manifest),
        settings=settings,
    )


def _documentation(manifest: dict[str, Any]) -> str:
    return formats.shortened(str(manifest.get("documentation") or ""), DOCUMENTATION_CHARS_MAX)


def _schema(rules: Any) -> str:
    """The schema of a handler's input or output as it is shown, cut where it is too long for a page."""
    schema = rules.get("jsonSchema") if isinstance(rules, dict) else None
    return "" if not schema else formats.shortened(formats.pretty(schema), formats.SHOWN_CHARS_MAX)


def _payload(rules: Any) -> str:
    if not isinstance(rules, dict):
        return "any"
    schema = rules.get("jsonSchema")
    if isinstance(schema, dict):
        return str(schema.get("title") or schema.get("type") or "JSON")
    return str(rules.get("contentType") or "none")


class Playground:
    """The page of one handler, with a form that calls it."""

    def __init__(self, engine: UiEngine, web: Web, read: Read) -> None:
        self._engine = engine
        self._web = web
        self._read = read

    async def show(self, request: Request) -> Response:
        """The empty form."""
        return await self._render(request, await self._page(request, {}))

    async def send(self, request: Request) -> Response:
        """Send the request of the form. Shows the answer if it comes soon, else the run."""
        given = await self._web.form(request)
        page = await self._page(request, dict(given))
        key = page.key if page.is_keyed else None
        target = self._engine.resolve(page.service, page.handler.name, key)
        if target is None:
            raise Problem(404, "The handler is not registered any more.")
        if page.is_keyed and not page.key:
            page.failure = "A key is needed: which object should take the call?"
            return await self._render(request, page, 400)
        body = self._body(page, dict(given))
        if body is None:
            page.failure = "The body is not JSON."
            return await self._render(request, page, 400)
        headers = (("content-type", page.content_type),) if body else ()
        if given.get("how") == "send":
            reply = await self._engine.invoke(target, body, headers=headers, wait=False)
            if reply.invocation_id is None:
                return await self._answered(request, page, reply)
            return see(run_url(ids.invocation_id_to_str(reply.invocation_id)), "Sent.")
        return await self._call(request, page, target, body, headers)

    async def _call(
        self, request: Request, page: PlaygroundPage, target: Any, body: bytes, headers: tuple[tuple[str, str], ...]
    ) -> Response:
        accepted: list[bytes] = []
        calling = asyncio.ensure_future(
            self._engine.invoke(target, body, headers=headers, wait=True, on_accepted=accepted.append)
        )
        done, _ = await asyncio.wait((calling,), timeout=ANSWER_S)
        if not done:
            calling.add_done_callback(lambda future: future.cancelled() or future.exception())
            if accepted:
                return see(run_url(ids.invocation_id_to_str(accepted[0])), "It is still running.")
            raise Problem(503, "The engine has not taken the call in time.", "See the list of runs.")
        return await self._answered(request, page, calling.result())

    async def _answered(self, request: Request, page: PlaygroundPage, reply: Reply) -> Response:
        if reply.invocation_id is not None:
            page.run_id = ids.invocation_id_to_str(reply.invocation_id)
        match reply.result:
            case Success(content):
                page.answer = formats.shown(content)
            case Failure(code, message, _):
                page.failure = formats.safe(f"[{code}] {message}")
        return await self._render(request, page)

    async def _render(self, request: Request, page: PlaygroundPage, status: int = 200) -> Response:
        more = {"notice": "", "tab": "playground"}
        now_ms = self._engine.now_ms()
        return await asyncio.to_thread(
            self._web.page, request, "handler.html", page, now_ms=now_ms, status=status, **more
        )

    async def _page(self, request: Request, given: dict[str, str]) -> PlaygroundPage:
        service_name, handler_name = request.path_params["service"], request.path_params["handler"]
        service = await self._read(lambda found: found.service(service_name))
        handler = None if service is None else service.handlers.get(handler_name)
        if service is None or handler is None:
            name = formats.shortened(f"{service_name}/{handler_name}", 120)
            raise Problem(404, f"There is no handler {name!r}.", "The services page lists what is registered.")
        rules = handler.manifest.get("input") or {}
        schema = rules.get("jsonSchema") if isinstance(rules.get("jsonSchema"), dict) else None
        fields = fields_of(schema, given)
        example = example_of(schema, text="") if schema is not None else ""
        body = given.get("body", json.dumps(example, indent=2, ensure_ascii=False) if schema is not None else "")
        key = given.get("key", request.query_params.get("key", ""))
        return PlaygroundPage(
            service=service.name,
            is_keyed=service.is_keyed,
            handler=_handler_row(handler),
            fields=fields,
            key=key,
            body=body,
            schema=_schema(rules),
            output_schema=_schema(handler.manifest.get("output")),
            curl=_curl(self._web.abilities.ingress, service, handler, example),
            content_type=_content_type(rules),
        )

    @staticmethod
    def _body(page: PlaygroundPage, given: dict[str, str]) -> bytes | None:
        """The body of the request; None when it should be JSON and is not."""
        if page.fields and given.get("as") != "json":
            made = value_of(page.fields, given)
            return None if made is None else msgspec.json.encode(made)
        content = given.get("body", "").strip().encode()
        if content and "json" in page.content_type:
            try:
                msgspec.json.decode(content)
            except (msgspec.DecodeError, RecursionError):
                return None
        return content


def _content_type(rules: dict[str, Any]) -> str:
    given = rules.get("contentType") or rules.get("setContentTypeIfEmpty")
    return given if isinstance(given, str) and "*" not in given and given else "application/json"


def _curl(ingress: str, service: ServiceSchema, handler: HandlerSchema, example: Any) -> str:
    path = "/".join([service.name, *(["KEY"] if service.is_keyed else []), handler.name])
    example = "text" if example == "" and (handler.manifest.get("input") or {}).get("jsonSchema") else example
    body = "" if example == "" else " --json '" + json.dumps(example, ensure_ascii=False).replace("'", "'\\''") + "'"
    return f"curl {ingress}/{path}{body}"


def fields_of(schema: dict[str, Any] | None, given: dict[str, str]) -> list[Field]:
    """Inputs for an object whose properties are simple, or for one simple value; empty: edit JSON."""
    if schema is None:
        return []
    known = schema.get("$defs") if isinstance(schema.get("$defs"), dict) else {}
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        field = _field("", schema, known, given, required=True)
        return [] if field.kind == "json" else [field]
    required = schema.get("required") or []
    return [_field(str(name), rule, known, given, required=name in required) for name, rule in properties.items()][:60]


def _field(name: str, rule: Any, known: Any, given: dict[str, str], *, required: bool) -> Field:
    rule = _resolved(rule, known)
    kind, choices = _INPUT_TYPES.get(str(rule.get("type")), "json"), rule.get("enum")
    if isinstance(choices, list) and choices and all(isinstance(item, str) for item in choices):
        kind = "select"
    default = rule.get("default", example_of(rule, known, text="") if kind == "json" else "")
    text = default if isinstance(default, str) and kind != "json" else json.dumps(default, ensure_ascii=False)
    value = given.get(f"field.{name}", "" if text in ("null", '""') and not required else text)
    if kind == "checkbox" and given:
        value = "true" if given.get(f"field.{name}") else "false"
    return Field(
        name=name,
        kind=kind,
        label=name or str(rule.get("title") or "Body"),
        value=value,
        is_required=required,
        choices=choices if kind == "select" else [],
        description=str(rule.get("description") or ""),
    )


def _resolved(rule: Any, known: Any) -> dict[str, Any]:
    """A schema with its reference followed and `X or null` taken for X."""
    for _ in range(_DEPTH_MAX):
        if not isinstance(rule, dict):
            return {}
        if isinstance(rule.get("$ref"), str):
            rule = known.get(rule["$ref"].rpartition("/")[2], {}) if isinstance(known, dict) else {}
        elif isinstance(rule.get("anyOf"), list):
            options = [item for item in rule["anyOf"] if isinstance(item, dict) and item.get("type") != "null"]
            if len(options) != 1:
                return {}
            rule = {**{key: value for key, value in rule.items() if key != "anyOf"}, **options[0]}
        else:
            return rule
    return {}


def value_of(fields: list[Field], given: dict[str, str]) -> Any:
    """The JSON value of the inputs; None when one of them is not of its kind."""
    made: dict[str, Any] = {}
    for field in fields:
        text = given.get(f"field.{field.name}", "")
        if field.kind == "checkbox":
            made[field.name] = bool(text)
        elif text == "" and not field.is_required:
            continue
        elif field.kind in ("text", "select"):
            made[field.name] = text
        else:
            try:
                made[field.name] = msgspec.json.decode(text.encode())
            except msgspec.DecodeError:
                return None
    return made.get("", made)
