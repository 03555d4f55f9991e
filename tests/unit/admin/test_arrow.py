"""Arrow streams, read back by Arrow's own library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pytest

from rewake.admin.arrow import BATCH_ROWS, arrow_stream
from rewake.sql.catalog import TABLES, ColumnType
from rewake.sql.query import QueryResult

MOMENT = datetime(2026, 11, 22, 16, 40, 0, 180_000, tzinfo=UTC)

# Type: its Arrow type, values as SQLite gives them, values as Arrow's library reads them.
SAMPLES: dict[ColumnType, tuple[pa.DataType, list[Any], list[Any]]] = {
    ColumnType.TEXT: (pa.large_string(), ["a", None, "bc\u00e9", ""], ["a", None, "bc\u00e9", ""]),
    ColumnType.UINT32: (pa.uint32(), [1, None, 2**32 - 1, 0], [1, None, 2**32 - 1, 0]),
    ColumnType.UINT64: (pa.uint64(), [-1, None, 5, 2**63 - 1], [2**64 - 1, None, 5, 2**63 - 1]),
    ColumnType.INT64: (pa.int64(), [-5, None, 9, 0], [-5, None, 9, 0]),
    ColumnType.FLOAT64: (pa.float64(), [1.5, None, 2, float("inf")], [1.5, None, 2.0, float("inf")]),
    ColumnType.BOOLEAN: (pa.bool_(), [1, None, 0, True], [True, None, False, True]),
    ColumnType.TIMESTAMP: (
        pa.timestamp("ms", "+00:00"),
        ["2026-11-22T16:40:00.180Z", None, "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.000Z"],
        [MOMENT, None, datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)],
    ),
    ColumnType.DURATION: (
        pa.duration("ms"),
        [86_400_000, None, -2, 0],
        [timedelta(days=1), None, timedelta(milliseconds=-2), timedelta(0)],
    ),
    ColumnType.BINARY: (pa.large_binary(), [b"\x00\x01", None, b"", b"x"], [b"\x00\x01", None, b"", b"x"]),
    ColumnType.LIST_UINT32: (pa.list_(pa.uint32()), ["[1,17]", None, "[]", "[2]"], [[1, 17], None, [], [2]]),
    ColumnType.LIST_TEXT: (
        pa.list_(pa.large_string()),
        ['["a","b"]', None, '["c"]', "[]"],
        [["a", "b"], None, ["c"], []],
    ),
}


def read(result: QueryResult) -> pa.Table:
    table = pyarrow.ipc.open_stream(b"".join(arrow_stream(result))).read_all()
    table.validate(full=True)
    return table


def test_every_type_has_a_sample() -> None:
    assert set(SAMPLES) == set(ColumnType)


@pytest.mark.parametrize("type_", SAMPLES)
def test_a_column(type_: ColumnType) -> None:
    arrow_type, given, read_back = SAMPLES[type_]
    table = read(QueryResult(("it",), (type_,), [(value,) for value in given]))
    assert table.schema == pa.schema([("it", arrow_type)])
    assert table.column("it").to_pylist() == read_back


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1000, BATCH_ROWS, 2 * BATCH_ROWS + 3])
def test_all_types_at_once_in_any_number_of_rows(count: int) -> None:
    rows = [tuple(given[number % 4] for _, given, _ in SAMPLES.values()) for number in range(count)]
    table = read(QueryResult(tuple(SAMPLES), tuple(SAMPLES), rows))
    assert table.num_rows == count
    for type_, (_, _, read_back) in SAMPLES.items():
        assert table.column(type_).to_pylist() == [read_back[number % 4] for number in range(count)]


@pytest.mark.parametrize("name", TABLES)
def test_no_rows_still_have_their_columns(name: str) -> None:
    columns = TABLES[name]
    table = read(QueryResult(tuple(columns), tuple(columns.values()), []))
    assert table.num_rows == 0
    assert table.schema == pa.schema([(column, SAMPLES[type_][0]) for column, type_ in columns.items()])


def test_no_columns() -> None:
    assert read(QueryResult((), (), [])).num_columns == 0


def test_names_of_any_kind() -> None:
    names = ("", "count(*)", "\u00fc\u4e16", "a" * 300)
    assert tuple(read(QueryResult(names, (ColumnType.INT64,) * 4, [(1, 2, 3, 4)])).column_names) == names


def test_a_column_of_mixed_values_is_text() -> None:
    table = read(QueryResult(("it",), (ColumnType.TEXT,), [("a",), (1,), (1.5,), (b"b",)]))
    assert table.column("it").to_pylist() == ["a", "1", "1.5", "b"]


def test_buffers_are_aligned_as_the_public_server_aligns_them() -> None:
    parts = list(arrow_stream(QueryResult(("a", "b"), (ColumnType.TEXT, ColumnType.BOOLEAN), [("x", 1)])))
    assert [len(part) % 64 for part in parts] == [0, 0, 8]
    assert parts[-1] == b"\xff\xff\xff\xff\0\0\0\0"
