"""Queries of the public server's dialect with their answers: asked of our views here, of the real server by
tests/e2e/test_official_cli.py with --engine restate. They need no data."""

from __future__ import annotations

from typing import Any

SAMPLES: list[tuple[str, list[dict[str, Any]]]] = [
    # Points in time
    ("select to_unixtime(timestamp '2026-11-22T13:14:50Z') as a", [{"a": 1795353290}]),
    (
        "select to_unixtime(date_bin(INTERVAL '60 seconds', timestamp '2026-11-22T13:14:50Z', "
        "TIMESTAMP '1970-01-01T00:00:00')) as a",
        [{"a": 1795353240}],
    ),
    (
        "select date_trunc('hour', timestamp '2026-11-22T13:14:50Z') = timestamp '2026-11-22T13:00:00' as a",
        [{"a": True}],
    ),
    ("select date_trunc('month', timestamp '2026-11-22T13:14:50Z') = timestamp '2026-11-01' as a", [{"a": True}]),
    ("select date_trunc('week', timestamp '2026-11-22T13:14:50Z') = timestamp '2026-11-16' as a", [{"a": True}]),
    (
        "select timestamp '2026-11-22T13:14:50Z' - interval '1' hour < timestamp '2026-11-22 12:14:51' as a",
        [{"a": True}],
    ),
    (
        "select timestamp '2026-11-22T13:14:50' - timestamp '2026-11-22T13:14:48.500' < interval '2 seconds' as a",
        [{"a": True}],
    ),
    ("select now() - interval '1 hour' < now() as a, now() > '2020-01-01' as b", [{"a": True, "b": True}]),
    ("select to_timestamp('2026-11-22T13:14:50Z') = timestamp '2026-11-22T13:14:50' as a", [{"a": True}]),
    (
        "select to_unixtime(timestamp '2026-11-22T13:14:50Z' + interval '1 day') "
        "- to_unixtime(timestamp '2026-11-22T13:14:50Z') as a",
        [{"a": 86_400}],
    ),
    # Names of unnamed columns
    (
        "select 1, 'x', count(*), COUNT(1), 1.5, 'it''s'",
        [
            {
                "Int64(1)": 1,
                'Utf8("x")': "x",
                "count(*)": 1,
                "count(Int64(1))": 1,
                "Float64(1.5)": 1.5,
                'Utf8("it\'s")': "it's",
            }
        ],
    ),
    (
        "select upper(lower('A')) || 'b', 3 > 2",
        [{'upper(lower(Utf8("A"))) || Utf8("b")': "Ab", "Int64(3) > Int64(2)": True}],
    ),
    # Booleans
    (
        "select true as a, false as b, null is null as c, 1 in (1, 2) as d",
        [{"a": True, "b": False, "c": True, "d": True}],
    ),
    ("select 5 between 1 and 9 as a, 'a' == 'b' as b", [{"a": True, "b": False}]),
    (
        "select case when 1 = 1 then true else false end as a, case when 1 = 2 then 1 else 0 end as b",
        [{"a": True, "b": 0}],
    ),
    ("select x from (select 1 = 1 as x union all select 1 = 2) t order by x", [{"x": False}, {"x": True}]),
    # Text
    (
        "select 'Steps' like 's%' as a, 'Steps' ilike 's%' as b, "
        "'Steps' not like 's%' as c, 'Steps' not ilike 'S%' as d",
        [{"a": False, "b": True, "c": True, "d": False}],
    ),
    (
        "select split_part('a/b/c', '/', 2) as a, starts_with('abc', 'ab') as b, contains('abc', 'z') as c",
        [{"a": "b", "b": True, "c": False}],
    ),
    # Casts
    (
        "select cast('7' as bigint) as a, '7'::bigint as b, cast(1 as double) / 2 as c, arrow_cast('7', 'Int64') as d",
        [{"a": 7, "b": 7, "c": 0.5, "d": 7}],
    ),
    ("select cast('2026-11-22 13:14:50' as timestamp) = timestamp '2026-11-22T13:14:50Z' as a", [{"a": True}]),
    # Aggregates and windows
    (
        "select sum(x) filter (where x > 1) as a, count(1) filter (where x > 1) as b, "
        "first_value(x order by x desc) as c from (select 1 as x union all select 2 union all select 3)",
        [{"a": 5, "b": 2, "c": 3}],
    ),
    (
        "select row_number() over (order by x) as n, x from (select 'b' as x union all select 'a') order by n",
        [{"n": 1, "x": "a"}, {"n": 2, "x": "b"}],
    ),
    # Subqueries
    ("with a as (select 'x' as id union select 'y') select id from a except select 'y'", [{"id": "x"}]),
    ("select x from (select 2 as x union all select 1) t order by x desc nulls last limit 1 offset 1 ;", [{"x": 1}]),
    ("select y.x from (select x from (select 3 as x) y) where y.x = 3", [{"x": 3}]),
    ("select count(1) as n from (select * from sys_rules r limit 50000) where r.pattern in ('a')", [{"n": 0}]),
    ("select count(1) as n from (select * from sys_rules limit 50000) where sys_rules.pattern in ('a')", [{"n": 0}]),
    # The catalog
    (
        "select data_type from information_schema.columns where table_name = 'sys_invocation' "
        "and column_name in ('created_at', 'completion_retention', 'retry_count', 'id') order by column_name",
        [
            {"data_type": "Duration(ms)"},
            {"data_type": 'Timestamp(ms, "+00:00")'},
            {"data_type": "LargeUtf8"},
            {"data_type": "UInt64"},
        ],
    ),
    (
        "select table_type from information_schema.tables where table_name in ('state', 'sys_invocation') order by 1",
        [{"table_type": "BASE TABLE"}, {"table_type": "VIEW"}],
    ),
]
