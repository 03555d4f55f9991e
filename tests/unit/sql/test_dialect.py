"""The public server's dialect: its own queries, types of computed columns, what the web UI and the tools ask."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest
from dialect_samples import SAMPLES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import ADD, NOW_MS, deployment, entry, invocation, service, submit

from rewake.core.model import Status
from rewake.core.writes import Batch
from rewake.errors import ErrorCode, RewakeError
from rewake.protocol.messages import Failure, Success
from rewake.sql.catalog import ColumnType
from rewake.sql.column_types import with_names
from rewake.sql.dialect import translated
from rewake.sql.query import QueryResult, run_query
from rewake.sql.tokens import single_statement
from rewake.store.store import Store

HOUR_MS = 3_600_000

Ask = Callable[..., list[dict[str, Any]]]


def result(store: Store, sql: str) -> QueryResult:
    return run_query(store.path.parent, sql)


@pytest.fixture
def ask(store: Store) -> Ask:
    return lambda sql: result(store, sql).json_rows()


@pytest.fixture
def some(store: Store) -> None:
    """Three invocations an hour apart, which took 5 s, 10 s and no time; one queued; a deployment and its service."""
    done: dict[str, Any] = {"status": Status.COMPLETED, "pinned_deployment_id": "dp_1abc"}
    times: list[dict[str, Any]] = [{"created_at_ms": NOW_MS + hours * HOUR_MS} for hours in range(3)]
    submit(
        store,
        Batch(
            inserts=[
                invocation(1, **done, **times[0], completed_at_ms=NOW_MS + 5000, result=Success(b"1")),
                invocation(
                    2, **done, **times[1], completed_at_ms=NOW_MS + HOUR_MS + 10_000, result=Failure(409, "killed")
                ),
                invocation(3, completion_retention_ms=HOUR_MS, **times[2]),
                invocation(4, ADD, Status.INBOXED, inbox_sequence=1),
            ],
            entries=[entry(1, 0)],
            deployments={"dp_1abc": deployment()},
            services={"Counter": service()},
            state={("Counter", "k7", b"v"): b'"done"', ("Counter", "k8", b"v"): b"1"},
        ),
    )


@pytest.mark.parametrize(("sql", "rows"), SAMPLES)
def test_samples(ask: Ask, sql: str, rows: list[dict[str, Any]]) -> None:
    assert ask(sql) == rows


# Types


@pytest.mark.parametrize(
    ("expression", "type_"),
    [
        ("min(created_at)", ColumnType.TIMESTAMP),
        ("max(i.created_at)", ColumnType.TIMESTAMP),
        ("first_value(created_at order by id desc)", ColumnType.TIMESTAMP),
        ("coalesce(max(completed_at), now())", ColumnType.TIMESTAMP),
        ("date_trunc('hour', min(created_at))", ColumnType.TIMESTAMP),
        ("max(created_at) + interval '1 hour'", ColumnType.TIMESTAMP),
        ("interval '1 hour' + max(created_at)", ColumnType.TIMESTAMP),
        ("max(created_at) - min(created_at)", ColumnType.DURATION),
        ("max(completed_at - created_at)", ColumnType.DURATION),
        ("max(completion_retention) - interval '1 second'", ColumnType.DURATION),
        ("case when count(*) > 1 then max(created_at) end", ColumnType.TIMESTAMP),
        ("case when count(*) > 1 then 'a' else 'b' end", ColumnType.TEXT),
        ("count(distinct status)", ColumnType.INT64),
        ("avg(journal_size)", ColumnType.FLOAT64),
        ("max(status = 'completed')", ColumnType.BOOLEAN),
        ("count(*) > 1 and max(status) is not null", ColumnType.BOOLEAN),
        ("max(status) like 'a%'", ColumnType.BOOLEAN),
        ("to_unixtime(max(created_at))", ColumnType.INT64),
    ],
)
def test_the_type_of_an_expression(store: Store, some: None, expression: str, type_: ColumnType) -> None:
    found = result(store, f"select {expression} as it from sys_invocation_status i")
    assert (found.columns, found.types) == (("it",), (type_,))
    unnamed = result(store, f"select {expression} from sys_invocation_status i")
    assert unnamed.types == (type_,)


def test_a_type_is_followed_through_subqueries(store: Store, some: None) -> None:
    found = result(
        store, "select a, b as c from (select created_at as a, completed_at - created_at b from sys_invocation) t"
    )
    assert found.types == (ColumnType.TIMESTAMP, ColumnType.DURATION)


def test_a_name_does_not_make_a_type(store: Store, some: None) -> None:
    sql = "select value_utf8 as created_at, key_length as services, 'x' as completed_at from state limit 1"
    assert result(store, sql).types == (ColumnType.TEXT, ColumnType.UINT64, ColumnType.TEXT)
    assert result(store, "select created_at from sys_invocation union all select 'x'").types == (ColumnType.TEXT,)


# Points in time and durations


def test_durations_sort_compare_and_add_up(ask: Ask, some: None) -> None:
    sql = (
        "select completed_at - created_at as took from sys_invocation where completed_at is not null order by took desc"
    )
    assert ask(sql) == [{"took": "PT10S"}, {"took": "PT5S"}]
    sql = "select count(*) as n from sys_invocation where completed_at - created_at > interval '6 seconds'"
    assert ask(sql) == [{"n": 1}]
    assert ask("select count(*) as n from sys_invocation where completion_retention = interval '1 hour'") == [{"n": 1}]
    assert ask("select avg(completed_at - created_at) as a from sys_invocation") == [{"a": "PT7.5S"}]
    assert ask("select min(created_at) - max(created_at) as a from sys_invocation") == [{"a": "-PT7200S"}]


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        ("created_at > '2026-11-22'", 4),
        ("created_at > '2026-11-22 14:20:33'", 2),
        ("i.created_at <= '2026-11-22T13:20:33.731Z'", 2),
        ("created_at <= '2026-11-22T13:20:33Z'", 0),
        ("'2026-11-22T15:00:00+01:00' < created_at", 2),
        ("created_at between '2026-11-22 14:00' and '2026-11-22 15:00'", 1),
        ("created_at not between '2026-11-22 14:00' and '2026-11-22 15:00'", 3),
        ("created_at >= timestamp '2026-11-22 14:00:00' - interval '30 minutes' - interval '20' minutes", 4),
        ("now() - created_at < interval '1 second'", 4),
    ],
)
def test_comparing_points_in_time(ask: Ask, some: None, condition: str, count: int) -> None:
    if condition.startswith("now()"):
        condition = condition.replace("now()", "timestamp '2026-11-22 13:20:33'")
    assert ask(f"select count(*) as n from sys_invocation i where {condition}") == [{"n": count}]


@pytest.mark.parametrize("interval", ["interval '3 moons'", "interval '1' month"])
def test_an_interval_that_cannot_be_read(store: Store, interval: str) -> None:
    with pytest.raises(RewakeError) as caught:
        result(store, f"select now() - {interval}")
    assert caught.value.code is ErrorCode.QUERY_INVALID


# Any text


WORDS = (
    *(
        "select",
        "from",
        "where",
        "as",
        "case",
        "when",
        "then",
        "else",
        "end",
        "and",
        "not",
        "in",
        "like",
        "ilike",
        "is",
    ),
    *("between", "null", "cast", "first_value", "now", "union", "limit", "order", "by", "distinct", "filter", "over"),
    *("interval", "timestamp", "'1'", "'1 hour'", "'2026-11-22'", "hour", "id", "created_at", "sys_invocation", "i"),
    *("(", ")", "()", ",", ".", "-", "+", "*", "=", "<", "::", ";", '"', "'", "1", "state", "x", "index"),
)


@given(st.lists(st.sampled_from(WORDS), max_size=25))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_answered_or_told_to_be_wrong(store: Store, words: list[str]) -> None:
    with contextlib.suppress(RewakeError):
        result(store, "select " + " ".join(words)).json_rows()


def test_long_and_deep_queries_are_rewritten_quickly() -> None:
    deep = "now() - (1 + now() - (" * 20 + "1" + "))" * 20
    long = " + ".join(["created_at"] * 5000)
    many = " union all ".join(["select created_at - now() ilike 'x'"] * 2000)
    started_s = time.process_time()
    for sql in (f"select {deep}", f"select {long} from sys_invocation", many, "select " + "a.b - " * 9000 + "1"):
        translated(with_names(single_statement(sql)))
    assert time.process_time() - started_s < 5


# What tools send


def test_the_invocation_list_of_the_command_line(ask: Ask, some: None) -> None:
    count = "SELECT COUNT(1) FROM (SELECT * FROM sys_invocation inv LIMIT 50000 ) WHERE "
    for condition, found in [
        ("status != 'completed'", 2),
        ("inv.target_service_name IN ('Counter') AND status IN ('pending')", 1),
        ("inv.target_service_name IN (select name from sys_service where ty = 'virtual_object')", 1),
        ("(inv.pinned_deployment_id IN ('dp_1abc') OR inv.last_attempt_deployment_id IN ('dp_1abc'))", 2),
        (
            "(inv.pinned_deployment_id IS NOT NULL "
            "AND inv.pinned_deployment_id NOT IN (select id from sys_deployment))",
            0,
        ),
    ]:
        assert ask(count + condition) == [{"count(Int64(1))": found}], condition


def test_the_summaries_of_the_web_ui(ask: Ask, some: None) -> None:
    sql = """
        SELECT ss.target_service_name, CASE WHEN ss.status = 'completed' AND ss.completion_result = 'failure'
          AND COALESCE(LOWER(ss.completion_failure), '') IN ('[409] killed', '[409] canceled') THEN 'killed'
          WHEN ss.status = 'invoked' AND sis.in_flight THEN 'running' ELSE ss.status END AS bucket, COUNT(1) AS count
        FROM sys_invocation_status ss LEFT JOIN (SELECT id, in_flight FROM sys_invocation_state) sis ON ss.id = sis.id
        GROUP BY ss.target_service_name, bucket ORDER BY bucket
    """
    assert [(row["bucket"], row["count"]) for row in ask(sql)] == [
        ("completed", 1),
        ("inboxed", 1),
        ("invoked", 1),
        ("killed", 1),
    ]


def test_the_history_of_the_web_ui(ask: Ask, some: None) -> None:
    sql = """
        SELECT to_unixtime(date_bin(INTERVAL '3600 seconds', completed_at, TIMESTAMP '1970-01-01T00:00:00')) AS at,
          COUNT(1) FILTER (WHERE completion_result = 'success') AS good,
          COUNT(1) FILTER (WHERE completion_result = 'failure') AS bad
        FROM sys_invocation_status WHERE status = 'completed' AND completed_at > now() - INTERVAL '999999 hours'
        GROUP BY 1 ORDER BY 1
    """
    first = NOW_MS // HOUR_MS * 3600
    assert ask(sql) == [{"at": first, "good": 1, "bad": 0}, {"at": first + 3600, "good": 0, "bad": 1}]


def test_the_state_and_the_queues_of_the_web_ui(ask: Ask, some: None) -> None:
    sql = "SELECT DISTINCT service_key FROM state WHERE service_name = 'Counter' ORDER BY service_key LIMIT 51"
    assert ask(sql) == [{"service_key": "k7"}, {"service_key": "k8"}]
    sql = (
        "SELECT key, CASE WHEN value_length <= 65536 THEN value END AS value, value_length FROM state "
        "WHERE service_name = 'Counter' AND service_key = 'k7' LIMIT 101"
    )
    assert ask(sql) == [{"key": "v", "value": "22646f6e6522", "value_length": 6}]
    assert ask("SELECT service_name, SUM(value_length) AS n FROM state GROUP BY service_name") == [
        {"service_name": "Counter", "n": 7}
    ]
    sql = "SELECT service_key, COUNT(*) AS count FROM sys_inbox WHERE service_name = 'Counter' GROUP BY service_key"
    assert ask(sql) == [{"service_key": "k7", "count": 1}]


def test_the_drained_deployments_of_the_web_ui(ask: Ask, some: None) -> None:
    sql = """
        WITH active AS (SELECT deployment_id AS id FROM sys_service UNION
          SELECT pinned_deployment_id AS id FROM sys_invocation_status
          WHERE status != 'completed' AND pinned_deployment_id IS NOT NULL)
        SELECT id FROM sys_deployment EXCEPT SELECT id FROM active
    """
    assert ask(sql) == []
    sql = (
        "SELECT pattern FROM sys_user_limits l JOIN sys_rules r ON r.pattern = l.rule_pattern "
        "ORDER BY CAST(usage AS DOUBLE) / concurrency_limit DESC NULLS LAST"
    )
    assert ask(sql) == []
