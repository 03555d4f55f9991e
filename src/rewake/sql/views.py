"""The `sys_*` tables as temporary views on the store's tables, and the functions they call.

They are made on the connection of one query, so they never need a migration. They convert ids, statuses and entries to
the public forms; only the columns in a query cost time. Facts from the engine's memory (attempts) or from packed rows
(services, deployments) are temporary tables, filled if a query mentions them. catalog.py has the order of columns. Each
view of invocations also has the raw id, see rewriting.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import apsw
import msgspec

from rewake.core.ids import invocation_id_to_str
from rewake.core.model import AttemptError, Invocation
from rewake.disclosure import hidden_content, is_hiding, shown_message, shown_text
from rewake.protocol.codec import decode_message, encode_message
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.journal_json import Callee, entry_json, entry_lite_json, entry_type_name
from rewake.protocol.messages import CallCommand, Combinator, Future, MessageType, OneWayCallCommand
from rewake.sql import effects
from rewake.sql.catalog import TABLES
from rewake.sql.rewriting import RAW_ID
from rewake.store import rows

DEFAULT_PROTOCOL_VERSION: Final = 6
"""For an invocation that is not pinned: it has only its input, which is the same in all versions."""


class AttemptRow(msgspec.Struct, frozen=True):
    """Facts of a running or retried invocation from the engine's memory. retry_count: attempts so far, from 1."""

    invocation_id: bytes
    in_flight: bool
    retry_count: int
    last_start_at_ms: int | None = None
    next_retry_at_ms: int | None = None
    last_deployment_id: str | None = None
    last_server: str | None = None
    last_error: AttemptError | None = None
    awaiting: Future | None = None


def attempt_row(item: Invocation, server: str | None) -> AttemptRow:
    """The row of an invocation in memory. server: the SDK of its last deployment, `restate-sdk-python/1.3.0`."""
    in_flight = item.attempt is not None
    return AttemptRow(
        invocation_id=item.id,
        in_flight=in_flight,
        retry_count=item.retry_count + in_flight,
        last_start_at_ms=item.last_start_at_ms,
        next_retry_at_ms=item.next_retry_at_ms,
        last_deployment_id=item.last_deployment_id,
        last_server=server,
        last_error=item.last_error,
        awaiting=item.awaiting,
    )


def _timestamp(column: str) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1000.0, 'unixepoch')"


_STORED_STATUS: Final = (
    "case i.status when 0 then 'scheduled' when 1 then 'inboxed' when 2 then 'invoked' when 3 then 'suspended' "
    "when 4 then 'paused' else 'completed' end"
)
_STATUS: Final = (
    "case i.status when 0 then 'scheduled' when 1 then 'pending' when 3 then 'suspended' when 4 then 'paused' "
    "when 5 then 'completed' else case when a.in_flight then 'running' when a.retry_count > 0 then 'backing-off' "
    "else 'ready' end end"
)
_SERVICE_TYPE: Final = "case i.service_type when 0 then 'service' when 1 then 'virtual_object' else 'workflow' end"

_INVOCATION: Final = {
    "partition_key": "partition_key(i.id)",
    "id": "public_id(i.id)",
    "target": "i.service || coalesce('/' || i.key, '') || '/' || i.handler",
    "target_service_name": "i.service",
    "target_service_key": "i.key",
    "target_handler_name": "i.handler",
    "target_service_ty": _SERVICE_TYPE,
    "idempotency_key": "i.idempotency_key",
    "invoked_by": "i.invoked_by",
    "invoked_by_id": "public_id(i.invoked_by_id)",
    "invoked_by_service_name": "substr(i.invoked_by_target, 1, instr(i.invoked_by_target, '/') - 1)",
    "invoked_by_target": "i.invoked_by_target",
    "restarted_from": "public_id(i.restarted_from)",
    "pinned_deployment_id": "i.pinned_deployment_id",
    "pinned_service_protocol_version": "i.pinned_version",
    "trace_id": "nullif(substr(i.traceparent, 4, 32), '')",
    "journal_size": "(select count(*) from main.journal_entry j where j.invocation_id = i.id)",
    "journal_commands_size": (
        "(select count(*) from main.journal_entry j where j.invocation_id = i.id and j.type < 32768)"
    ),
    "created_at": _timestamp("i.created_at_ms"),
    "modified_at": _timestamp("i.modified_at_ms"),
    "inboxed_at": _timestamp("i.inboxed_at_ms"),
    "scheduled_at": _timestamp("i.scheduled_at_ms"),
    "scheduled_start_at": _timestamp("i.start_at_ms"),
    "running_at": _timestamp("i.running_at_ms"),
    "completed_at": _timestamp("i.completed_at_ms"),
    "completion_retention": "i.completion_retention_ms",
    "journal_retention": "i.journal_retention_ms",
    "suspended_waiting_for_completions": "awaited(i.awaiting, 0)",
    "suspended_waiting_for_signals": "awaited(i.awaiting, 1)",
    "suspended_waiting_future_json": "future_json(i.awaiting)",
    "completion_result": (
        "case when i.status = 5 then case when i.result_code is null then 'success' else 'failure' end end"
    ),
    "completion_failure": "'[' || i.result_code || '] ' || i.result_message",
}

_ATTEMPT: Final = {
    "partition_key": "partition_key(a.id)",
    "id": "public_id(a.id)",
    "in_flight": "a.in_flight",
    "retry_count": "a.retry_count",
    "last_start_at": _timestamp("a.last_start_at_ms"),
    "next_retry_at": _timestamp("a.next_retry_at_ms"),
    "last_attempt_deployment_id": "a.deployment_id",
    "last_attempt_server": "a.server",
    "last_failure": "a.failure",
    "last_failure_error_code": "a.restate_code",
    "last_failure_related_command_index": "a.command_index",
    "last_failure_related_command_name": "a.command_name",
    "last_failure_related_command_type": "a.command_type",
    "last_awaiting_on_future_json": "a.awaiting_json",
}

_FAILURE_FIELDS: Final = (
    "last_failure",
    "last_failure_error_code",
    "last_failure_related_command_index",
    "last_failure_related_command_name",
    "last_failure_related_command_type",
)

_PAUSED_BY: Final = {
    name: f"coalesce({_ATTEMPT[name]}, case when i.status = 4 then failure_field(i.last_error, {position}) end)"
    for position, name in enumerate(_FAILURE_FIELDS)
}
"""A paused run has no attempt in memory; its row has the error that paused it."""

_VERSION: Final = (
    f"coalesce((select pinned_version from main.invocation i where i.id = j.invocation_id), {DEFAULT_PROTOCOL_VERSION})"
)

_VIEWS: Final[dict[str, tuple[dict[str, str], str]]] = {
    "sys_invocation": (
        {**_ATTEMPT, **_INVOCATION, **_PAUSED_BY, "status": _STATUS, RAW_ID: "i.id"},
        "main.invocation i left join temp.attempt a on a.id = i.id",
    ),
    "sys_invocation_status": ({**_INVOCATION, "status": _STORED_STATUS, RAW_ID: "i.id"}, "main.invocation i"),
    "sys_invocation_state": ({**_ATTEMPT, RAW_ID: "a.id"}, "temp.attempt a"),
    "sys_journal": (
        {
            "partition_key": "partition_key(j.invocation_id)",
            "id": "public_id(j.invocation_id)",
            "index": "j.idx",
            "entry_type": "entry_type(j.type)",
            "name": "j.name",
            "raw": "j.payload",
            "raw_length": "j.payload_bytes",
            "version": "2",
            "entry_json": f"entry_json(j.invocation_id, j.type, j.payload, {_VERSION})",
            "entry_lite_json": f"entry_lite_json(j.invocation_id, j.type, j.payload, {_VERSION})",
            "appended_at": _timestamp("j.appended_at_ms"),
            RAW_ID: "j.invocation_id",
        },
        "main.journal j",
    ),
    "sys_effect": (
        {**effects.COLUMNS, "updated_at": _timestamp("e.appended_at_ms"), RAW_ID: "e.invocation_id"},
        effects.source(_VERSION),
    ),
    "sys_journal_events": (
        {
            "partition_key": "partition_key(e.invocation_id)",
            "id": "public_id(e.invocation_id)",
            "after_journal_entry_index": "e.after_index",
            "appended_at": _timestamp("e.appended_at_ms"),
            "event_type": "e.event_type",
            "event_json": "e.data",
            RAW_ID: "e.invocation_id",
        },
        "main.event e",
    ),
    "state": (
        {
            "partition_key": "0",
            "service_name": "s.service",
            "service_key": "s.key",
            "key": "text_of(s.name, 1)",
            "key_length": "length(s.name)",
            "value_utf8": "text_of(s.value, 0)",
            "value": "s.value",
            "value_length": "s.value_bytes",
        },
        "main.state s",
    ),
    "sys_promise": (
        {
            "partition_key": "0",
            "service_name": "p.service",
            "service_key": "p.key",
            "key": "p.name",
            "completed": "t.value",
            "completion_success_value": "p.result_value",
            "completion_success_value_utf8": "text_of(p.result_value, 0)",
            "completion_failure": "failure_text(p.result_code, p.result_message)",
        },
        # Only columns have a declared type, so computed booleans come from a table of two rows.
        "main.promise p left join temp.truth t on t.id = (p.result_code is not null or p.result_value is not null)",
    ),
    "sys_inbox": (
        {
            "partition_key": "partition_key(i.id)",
            "service_name": "i.service",
            "service_key": "i.key",
            "id": "public_id(i.id)",
            "sequence_number": "i.inbox_sequence",
            RAW_ID: "i.id",
        },
        "main.invocation i where i.status < 5 and i.status = 1 and i.handler_kind = 1",
    ),
    "sys_keyed_service_status": (
        {
            "partition_key": "partition_key(i.id)",
            "service_name": "i.service",
            "service_key": "i.key",
            "invocation_id": "public_id(i.id)",
        },
        "main.invocation i where i.status < 5 and i.status in (2, 3, 4) and i.handler_kind = 1",
    ),
    "sys_service": ({name: f's."{name}"' for name in TABLES["sys_service"]}, "temp.service_row s"),
    "sys_deployment": ({name: f's."{name}"' for name in TABLES["sys_deployment"]}, "temp.deployment_row s"),
}

_TEMPORARY_TABLES: Final = """
create temp table truth (id integer primary key, value boolean);
insert into truth values (0, 0), (1, 1);
create temp table attempt (
    id blob primary key, in_flight boolean, retry_count integer, last_start_at_ms integer, next_retry_at_ms integer,
    deployment_id text, server text, failure text, restate_code text, command_index integer, command_name text,
    command_type text, awaiting_json text
) without rowid;
create temp table service_row (name text, revision integer, public boolean, ty text, deployment_id text);
create temp table deployment_row (
    id text, ty text, endpoint text, created_at text, min_service_protocol_version integer,
    max_service_protocol_version integer, services text
);
"""


_WRITTEN_BY_USERS: Final = frozenset(
    {
        "completion_failure", "completion_success_value", "completion_success_value_utf8", "entry_json",
        "entry_lite_json", "event_json", "last_failure", "value", "value_utf8", "why",
    }
)  # fmt: skip
"""Columns whose content may be hidden, like that of `raw`; see disclosure.py."""


def create_views(connection: apsw.Connection, names: Iterable[str]) -> None:
    """Make the views `names` on a connection; those for features that the engine lacks are empty."""
    connection.execute(_TEMPORARY_TABLES)
    for name in names:
        expressions, source = _VIEWS.get(name, ({}, ""))
        if is_hiding():
            expressions = {column: _hidden(column, said) for column, said in expressions.items()}
        columns = [f'{expressions.get(column, "null")} as "{column}"' for column in TABLES[name]]
        if RAW_ID in expressions:
            columns.append(f"{expressions[RAW_ID]} as {RAW_ID}")
        origin = f" from {source}" if source else " where 0"
        connection.execute(f'create temp view "{name}" as select {", ".join(columns)}{origin}')


def _hidden(column: str, expression: str) -> str:
    if column == "raw":
        return f"shown_entry(j.type, j.payload, {_VERSION})"
    return f"shown({expression})" if column in _WRITTEN_BY_USERS else expression


def fill_attempts(connection: apsw.Connection, attempts: Iterable[AttemptRow]) -> None:
    """Fill in the rows of attempts from the engine's memory."""
    connection.executemany(
        f"insert into temp.attempt values ({', '.join('?' * 13)})", [_attempt_row(item) for item in attempts]
    )


def fill_services(connection: apsw.Connection) -> None:
    """Latest revisions, unpacked."""
    found = [rows.service_from(data) for (data,) in connection.execute("select data from main.service order by name")]
    connection.executemany(
        "insert into temp.service_row values (?, ?, ?, ?, ?)",
        [
            (item.name, item.revision, item.options.public, item.type.value.lower(), item.deployment_id)
            for item in found
        ],
    )


def fill_deployments(connection: apsw.Connection) -> None:
    """Deployments, unpacked."""
    found = [rows.deployment_from(data) for (data,) in connection.execute("select data from main.deployment")]
    connection.executemany(
        f"insert into temp.deployment_row values (?, ?, ?, {_timestamp('?')}, ?, ?, ?)",
        [
            (
                item.id,
                item.kind,
                item.uri,
                item.created_at_ms,
                item.min_protocol_version,
                item.max_protocol_version,
                _json(list(item.services)),
            )
            for item in found
        ],
    )


def register_functions(connection: apsw.Connection, lookup: apsw.Connection) -> None:
    """Register the functions of the views. lookup: their own connection, for facts that an entry does not have."""

    def rendered(render: Render) -> Callable[[bytes, int, bytes, int], str | None]:
        def of_entry(invocation_id: bytes, type_id: int, payload: bytes, version: int) -> str | None:
            try:
                callee = _callee(lookup, invocation_id, payload, type_id, version) if type_id in _CALLS else None
                return render(type_id, payload, version, callee)
            except ProtocolViolation:
                return None  # Null: one bad entry must not hide all others.

        return of_entry

    functions: dict[str, tuple[int, Callable[..., Any]]] = {
        "public_id": (1, lambda id_: None if id_ is None else invocation_id_to_str(id_)),
        "partition_key": (1, lambda id_: int.from_bytes(id_[:8], "big", signed=True)),
        "awaited": (2, awaited),
        "failure_field": (2, failure_field),
        "future_json": (1, lambda data: None if data is None else _json(future_form(_decode_future(data)))),
        "text_of": (2, _text_of),
        "failure_text": (2, lambda code, message: None if code is None else f"{code_title(code)} {message}"),
        "effect_of": (3, effects.effect_of),
        "effect_field": (3, effects.effect_field),
        "entry_type": (1, entry_type_name),
        "entry_json": (4, rendered(entry_json)),
        "entry_lite_json": (4, rendered(entry_lite_json)),
        "shown": (1, _shown),
        "shown_entry": (3, _shown_entry),
    }
    for name, (count, function) in functions.items():
        connection.create_scalar_function(name, function, count, deterministic=True)


Render = Callable[[int, bytes, int, Callee | None], str]


def _callee(lookup: apsw.Connection, invocation_id: bytes, payload: bytes, type_id: int, version: int) -> Callee | None:
    """The callee of a call, from the notification with its id and from its row."""
    command = decode_message(type_id, payload, version)
    assert isinstance(command, CallCommand | OneWayCallCommand)
    found = lookup.execute(
        "select n.child, i.service_type, i.handler_kind, i.completion_retention_ms, i.journal_retention_ms "
        "from journal n left join invocation i on i.id = n.child "
        "where n.invocation_id = ? and n.type = ? and n.completion_id = ?",
        (invocation_id, MessageType.CALL_INVOCATION_ID_COMPLETION, command.invocation_id_completion_id),
    ).fetchone()
    if found is None or found[0] is None or found[1] is None:
        return None
    child, service_type, handler_kind, completion_retention_ms, journal_retention_ms = found
    return Callee(
        invocation_id_to_str(child),
        rows.SERVICE_TYPES[service_type],
        rows.HANDLER_KINDS[handler_kind],
        completion_retention_ms,
        journal_retention_ms,
    )


_CALLS: Final = frozenset({MessageType.CALL, MessageType.ONE_WAY_CALL})
_decode_future = msgspec.json.Decoder(Future).decode

_CODE_TITLES: Final = {409: "Aborted", 500: "Internal"}
"""Codes that tools expect with a title; all others have no title."""


def code_title(code: int) -> str:
    """`[500 Internal]`."""
    title = _CODE_TITLES.get(code)
    return f"[{code} {title}]" if title else f"[{code}]"


def awaited(data: bytes | None, wants_signals: int) -> str | None:
    """All completion ids, or all signal indexes, in a stored await tree, as a JSON list."""
    if data is None:
        return None
    found: list[int] = []
    nodes = [_decode_future(data)]
    while nodes:
        node = nodes.pop()
        found += node.signals if wants_signals else node.completions
        nodes += node.nested
    return _json(sorted(found))


_COMBINATORS: Final = {item: item.name.title().replace("_", "") for item in Combinator}


def future_form(future: Future) -> dict[str, Any]:
    """The public form of an await tree."""
    leaves: list[dict[str, Any]] = [{"Single": {"CompletionId": item}} for item in future.completions]
    leaves += [{"Single": {"SignalIndex": item}} for item in future.signals]
    leaves += [{"Single": {"SignalName": item}} for item in future.named_signals]
    return {_COMBINATORS[future.combinator]: leaves + [future_form(item) for item in future.nested]}


def _attempt_row(item: AttemptRow) -> tuple[Any, ...]:
    return (
        item.invocation_id,
        item.in_flight,
        item.retry_count,
        item.last_start_at_ms,
        None if item.in_flight else item.next_retry_at_ms,
        item.last_deployment_id,
        item.last_server,
        *_failure_fields(item.last_error),
        None if item.awaiting is None else _json(future_form(item.awaiting)),
    )


def failure_field(data: bytes | None, position: int) -> str | int | None:
    """One of _FAILURE_FIELDS of a stored failure."""
    return None if data is None else _failure_fields(rows.error_from(data))[position]


def _failure_fields(error: AttemptError | None) -> tuple[str | int | None, ...]:
    """The values of _FAILURE_FIELDS."""
    if error is None:
        return (None,) * len(_FAILURE_FIELDS)
    text = f"{code_title(error.code)} {error.text}" + (f"\n{error.stacktrace}" if error.stacktrace else "")
    command = (error.related_command_index, error.related_command_name, error.related_command_type)
    return (text, error.restate_code, *command)


def _text_of(data: bytes | None, is_lossy: int) -> str | None:
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode(errors="replace") if is_lossy else None


def _shown(value: str | bytes | None) -> str | bytes | None:
    if value is None:
        return None
    return shown_text(value) if isinstance(value, str) else hidden_content(value)


def _shown_entry(type_id: int, payload: bytes, version: int) -> bytes | None:
    """The payload of an entry with its contents in the form to show; None if it cannot be decoded."""
    try:
        return encode_message(shown_message(decode_message(type_id, payload, version), hidden_content), version)
    except (ProtocolViolation, ValueError):
        return None


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
