"""Operators' SQL: runs one read-only statement on the `sys_*` views, with a deadline, and types its values.

Each query has its own connections, which can read the views and nothing else. So it sees one committed state and can do
no harm. It runs on any thread; the caller collects the engine's facts (`attempts`) before. Called by the admin API and
the UI. views.py has the views, catalog.py their columns.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from rewake.durations import format_iso_duration
from rewake.errors import ErrorCode, RewakeError
from rewake.sql.catalog import TABLES, ColumnType
from rewake.sql.column_types import Kinds, with_names
from rewake.sql.dialect import translated
from rewake.sql.functions import FunctionFailed, is_timestamp, register_dialect
from rewake.sql.rewriting import RAW_ID, adapted, by_raw_id
from rewake.sql.stopping import QueryControl, too_large
from rewake.sql.tokens import Token, single_statement, text_of, words_of
from rewake.sql.views import (
    AttemptRow,
    create_views,
    fill_attempts,
    fill_deployments,
    fill_services,
    register_functions,
)
from rewake.store.connection import DATABASE_FILE, as_rewake_error, open_reader

DEADLINE_S: Final = 10.0
ROWS_MAX: Final = 100_000
SQL_CHARS_MAX: Final = 100_000
VALUE_BYTES_MAX: Final = 64 * 1024 * 1024
"""One value: the largest message twice, for its hex form. Where larger messages are allowed, one of them."""

_BESIDE_MESSAGE_BYTES: Final = 1024 * 1024

LIKE_PATTERN_BYTES_MAX: Final = 1_000
"""Bytes of a LIKE pattern: its time is the product of text and pattern."""

_ATTEMPT_VIEWS: Final = frozenset({"sys_invocation", "sys_invocation_state"})
_U64: Final = 1 << 64


class QueryResult(msgspec.Struct, frozen=True):
    """Columns with their types, and SQLite's rows; `json_rows` renders them."""

    columns: tuple[str, ...]
    types: tuple[ColumnType, ...]
    rows: list[tuple[Any, ...]]

    def json_rows(self) -> list[dict[str, Any]]:
        """Rows by column name: without nulls, bytes in lower-case hex, booleans and lists as JSON (http-api.md 2.6)."""
        renderers = [_RENDERERS.get(type_, _plain) for type_ in self.types]
        named = list(zip(self.columns, renderers, strict=True))
        return [
            {name: render(value) for (name, render), value in zip(named, row, strict=True) if value is not None}
            for row in self.rows
        ]


def needs_attempts(sql: str) -> bool:
    """Whether a query reads facts that only the engine's memory has; if not, `attempts` may be empty."""
    return "sys_invocation" in sql.lower()


def run_query(
    directory: Path | str,
    sql: str,
    *,
    deadline_s: float = DEADLINE_S,
    rows_max: int = ROWS_MAX,
    attempts: Iterable[AttemptRow] = (),
    control: QueryControl | None = None,
    message_bytes_max: int = 0,
) -> QueryResult:
    """The rows of one SELECT. Raises RewakeError RW5009 to RW5012; its fact `reason` says which mistake it was.

    control: what may stop it; without one, only `deadline_s` can.   message_bytes_max: such a value can be read.
    """
    tokens, kinds = _read(sql)
    control = control or QueryControl(deadline_s)
    words = words_of(tokens)
    path = Path(directory) / DATABASE_FILE
    raw = by_raw_id(tokens)
    with _prepared(path, words, attempts, control) as (connection, guard):
        value_bytes_max = max(VALUE_BYTES_MAX, message_bytes_max + _BESIDE_MESSAGE_BYTES)
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, value_bytes_max)
        try:
            try:
                return _run(connection, guard, raw, kinds, control, rows_max)
            except apsw.SQLError as error:
                if raw == tokens or RAW_ID not in str(error):
                    raise
            # An `id` from a subquery or another table has no raw form.
            return _run(connection, guard, tokens, kinds, control, rows_max)
        except (apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError, apsw.BusyError) as error:
            raise as_rewake_error(error, path) from error
        except apsw.InterruptError:
            raise control.interrupted() from None
        except apsw.TooBigError:
            raise too_large(f"A value of the query has more than {value_bytes_max >> 20} MB.") from None
        except (apsw.Error, FunctionFailed) as error:
            raise _query_error(error, guard, words, tokens[0].text.lower()) from None


def _read(sql: str) -> tuple[list[Token], Kinds]:
    """The statement in SQLite's dialect, and the known types of its columns."""
    if len(sql) > SQL_CHARS_MAX:
        raise _unreadable(f"it has {len(sql)} characters, more than {SQL_CHARS_MAX}")
    if "\0" in sql:
        raise _unreadable("it has a null character")
    try:
        sql.encode()  # a lone surrogate has no UTF-8 form, so SQLite cannot take it
        return translated(with_names(adapted(single_statement(sql))))
    except (ValueError, OverflowError, RecursionError) as error:  # an absurd number or nesting
        raise _unreadable(str(error)) from None


def _unreadable(detail: str) -> RewakeError:
    return RewakeError(
        ErrorCode.QUERY_INVALID, f"The query could not be read: {detail}.", reason="syntax", detail=detail
    )


@contextmanager
def _prepared(
    path: Path, words: frozenset[str], attempts: Iterable[AttemptRow], control: QueryControl
) -> Iterator[tuple[apsw.Connection, _Guard]]:
    """A guarded, read-only connection with the views that a query mentions."""
    try:
        connection, lookup = open_reader(path), open_reader(path)
    except apsw.Error as error:
        raise as_rewake_error(error, path) from error
    try:
        connection.execute("pragma query_only = off")
        register_functions(connection, lookup)
        register_dialect(connection)
        connection.execute("begin")
        create_views(connection, [name for name in TABLES if name in words])
        if words & _ATTEMPT_VIEWS:
            fill_attempts(connection, attempts)
        if "sys_service" in words:
            fill_services(connection)
        if "sys_deployment" in words:
            fill_deployments(connection)
        connection.execute("commit")
        if "information_schema" in words:
            _attach_information_schema(connection)
        connection.execute("pragma query_only = on")
        connection.limit(apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, LIKE_PATTERN_BYTES_MAX)
        guard = _Guard()
        connection.authorizer = guard
        control.attach(connection)
        yield connection, guard
    finally:
        control.detach()
        connection.close()
        lookup.close()


class _Guard:
    """Allows a statement to read the views, and the views to read their tables. Remembers what it refused.

    Counting the rows of a view reads no column (""), and SQLite does not report that the view does it.
    """

    def __init__(self) -> None:
        self.refused: tuple[int, str | None] | None = None

    def __call__(
        self, action: int, first: str | None, second: str | None, database: str | None, source: str | None
    ) -> int:
        if action in (apsw.SQLITE_SELECT, apsw.SQLITE_RECURSIVE):
            return apsw.SQLITE_OK
        if action == apsw.SQLITE_FUNCTION and second not in _FUNCTIONS_REFUSED:
            return apsw.SQLITE_OK
        if action == apsw.SQLITE_READ and (_may_read(first, database, source) or second == ""):
            return apsw.SQLITE_OK
        self.refused = (action, f"{database}.{first}" if first in TABLES else first)
        return apsw.SQLITE_DENY


_FUNCTIONS_REFUSED: Final = frozenset({"load_extension", "fts3_tokenizer", "writefile", "readfile", "edit"})
_OUR_VIEWS: Final = frozenset({"journal", "state"})
"""Views of the store. Their functions read large values, and for those reads SQLite reports no view."""

_FUNCTION_TABLES: Final = frozenset({"json_each", "json_tree", "generate_series"})


def _may_read(table: str | None, database: str | None, source: str | None) -> bool:
    if source in TABLES or source in _OUR_VIEWS or table == "large_value" or database == "information_schema":
        return True
    # A subquery or a common table expression has no database; our tables have `main`.
    return (database == "temp" and table in TABLES) or table in _FUNCTION_TABLES or not database


def _run(
    connection: apsw.Connection,
    guard: _Guard,
    tokens: Sequence[Token],
    kinds: Kinds,
    control: QueryControl,
    rows_max: int,
) -> QueryResult:
    guard.refused = None
    cursor = connection.cursor()
    description: list[tuple[Any, ...]] = []

    def remember(cursor_: apsw.Cursor, _sql: str, _bindings: object) -> bool:
        description.extend(cursor_.description_full)
        return True

    cursor.exec_trace = remember
    found: list[tuple[Any, ...]] = []
    for row in cursor.execute(text_of(tokens)):
        control.count(row)
        found.append(row)
        if len(found) > rows_max:
            raise RewakeError(
                ErrorCode.QUERY_TOO_LARGE,
                f"The query has more than {rows_max} rows.",
                "Add a LIMIT, a WHERE, or count in SQL.",
                reason="too_many_rows",
            )
    return _typed(description, found, kinds)


def _typed(description: Sequence[tuple[Any, ...]], found: list[tuple[Any, ...]], kinds: Kinds) -> QueryResult:
    """Name and type of each column, without the columns of raw ids."""
    kept = [at for at, column in enumerate(description) if column[0].split(":")[0] != RAW_ID]
    if len(kept) < len(description):
        found = [tuple(row[at] for at in kept) for row in found]
    names = tuple(description[at][0] for at in kept)
    types = tuple(
        _type_of(kinds.get(names[at].lower()), description[column][1], [row[at] for row in found])
        for at, column in enumerate(kept)
    )
    return QueryResult(names, types, found)


_PYTHON_TYPES: Final[dict[ColumnType, tuple[type, ...]]] = {
    ColumnType.UINT32: (int,),
    ColumnType.UINT64: (int,),
    ColumnType.DURATION: (int, float),
    ColumnType.BINARY: (bytes,),
}


_CHECKED: Final = (ColumnType.BOOLEAN, ColumnType.TIMESTAMP)
"""Known types that the values may contradict."""


def _type_of(known: ColumnType | None, declared: str | None, values: Sequence[Any]) -> ColumnType:
    """The known type if the values agree, else the values' type. Values of only 0 and 1 may be numbers or booleans."""
    kinds = {type(value) for value in values if value is not None}
    is_boolean = known is ColumnType.BOOLEAN or (declared is not None and declared.lower() == "boolean")
    if is_boolean and kinds <= {int} and {0, 1, None}.issuperset(values):
        return ColumnType.BOOLEAN
    if known is ColumnType.TIMESTAMP and all(value is None or is_timestamp(value) for value in values):
        return known
    if known not in (None, *_CHECKED) and kinds <= set(_PYTHON_TYPES.get(known, (str,))):
        return known
    if kinds == {int}:
        return ColumnType.INT64
    if kinds and kinds <= {int, float}:
        return ColumnType.FLOAT64
    return ColumnType.BINARY if kinds == {bytes} else ColumnType.TEXT


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return None if isinstance(value, float) and not math.isfinite(value) else value


_RENDERERS: Final[dict[ColumnType, Callable[[Any], Any]]] = {
    ColumnType.BOOLEAN: bool,
    ColumnType.UINT64: lambda value: value if value >= 0 else value + _U64,
    ColumnType.DURATION: lambda value: ("-" if value < 0 else "") + format_iso_duration(abs(round(value))),
    ColumnType.LIST_UINT32: msgspec.json.decode,
    ColumnType.LIST_TEXT: msgspec.json.decode,
}


def _query_error(error: Exception, guard: _Guard, words: frozenset[str], statement: str) -> RewakeError:
    text = str(error)
    refused, name = guard.refused or (None, None)
    if refused == apsw.SQLITE_READ:
        return _unknown_table(name or "")
    if refused is not None or text.startswith("cannot modify "):
        return RewakeError(
            ErrorCode.QUERY_NOT_READ_ONLY,
            "The query is not a SELECT, or calls something that is not allowed here.",
            "Only reading is possible. State, services and invocations are changed by their own commands.",
            reason="not_read_only",
            statement=statement,
        )
    if text.startswith("no such table: "):
        return _unknown_table(text.removeprefix("no such table: "))
    if text.startswith("no such column: "):
        name = text.removeprefix("no such column: ")
        columns = sorted({column for table in words & TABLES.keys() for column in TABLES[table]})
        near = difflib.get_close_matches(name.split(".")[-1].strip('"'), columns, 3)
        hint = f"Did you mean {' or '.join(near)}?" if near else _columns_hint(words)
        fields = tuple(f"{table}.{column}" for table in TABLES if table in words for column in TABLES[table])
        facts = {"reason": "unknown_column", "name": name, "fields": fields}
        return RewakeError(ErrorCode.QUERY_INVALID, f"There is no column {name!r}.", hint, **facts)
    return RewakeError(ErrorCode.QUERY_INVALID, f"The query could not be run.\n{text}.", reason="syntax", detail=text)


def _columns_hint(words: frozenset[str]) -> str:
    tables = " or ".join(f"table_name = '{table}'" for table in TABLES if table in words)
    where = f" where {tables}" if tables else ""
    return f"To list the columns: select table_name, column_name from information_schema.columns{where}"


def _unknown_table(name: str) -> RewakeError:
    near = difflib.get_close_matches(name.rsplit(".", maxsplit=1)[-1], list(TABLES), 1)
    hint = (f"Did you mean {near[0]}? " if near else "") + "SHOW TABLES lists all of them."
    return RewakeError(ErrorCode.QUERY_INVALID, f"There is no table {name!r}.", hint, reason="unknown_table", name=name)


# The catalog


def _attach_information_schema(connection: apsw.Connection) -> None:
    """Attach the catalog as tables in `information_schema`, where tools look for it."""
    connection.execute("attach ':memory:' as information_schema")
    connection.execute(
        "create table information_schema.tables (table_catalog, table_schema, table_name, table_type);"
        "create table information_schema.columns "
        "(table_catalog, table_schema, table_name, column_name, ordinal_position, is_nullable, data_type)"
    )
    connection.executemany(
        "insert into information_schema.tables values ('restate', 'public', ?, ?)",
        [(name, "VIEW" if name == "sys_invocation" else "BASE TABLE") for name in TABLES],
    )
    connection.executemany(
        "insert into information_schema.columns values ('restate', 'public', ?, ?, ?, ?, ?)",
        [
            (table, name, position, "NO" if (table, name) == ("sys_invocation", "status") else "YES", type_.value)
            for table, columns in TABLES.items()
            for position, (name, type_) in enumerate(columns.items())
        ],
    )
