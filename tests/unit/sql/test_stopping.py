"""Queries that would take too much: stopped at a deadline, by whoever asked, at a bound of bytes or of memory."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import apsw
import pytest

from rewake.errors import ErrorCode, RewakeError
from rewake.sql import functions, query, stopping, threads
from rewake.sql.query import QueryResult, run_query
from rewake.sql.stopping import ALL_RESULTS_BYTES_MAX, RESULT_BYTES_MAX, QueryControl, ResultBytes
from rewake.sql.threads import QUERIES_MAX, QueryThreads
from rewake.store.store import Store

ENDLESS = "with recursive n(x) as (select 1 union all select x + 1 from n) select count(*) from n"
COUNTED = "with recursive n(x) as (select 1 union all select x + 1 from n where x < {}) select {} from n"


def error_of(store: Store, sql: str) -> RewakeError:
    with pytest.raises(RewakeError) as caught:
        run_query(store.path.parent, sql)
    return caught.value


# Bytes


def test_the_bytes_of_a_result_are_counted_while_it_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and single values were bounded, their product was not: 4.2 GB."""
    monkeypatch.setattr(stopping, "RESULT_BYTES_MAX", 1_000_000)
    error = error_of(store, COUNTED.format(1_000, "zeroblob(30000)"))
    assert error.code is ErrorCode.QUERY_TOO_LARGE and error.facts["reason"] == "too_many_bytes"
    assert len(run_query(store.path.parent, COUNTED.format(16, "zeroblob(30000)")).rows) == 16
    assert len(run_query(store.path.parent, COUNTED.format(33, "hex(zeroblob(15000))")).rows) == 33
    assert error_of(store, COUNTED.format(34, "hex(zeroblob(15000))")).code is ErrorCode.QUERY_TOO_LARGE
    assert RESULT_BYTES_MAX < ALL_RESULTS_BYTES_MAX


def test_results_of_one_moment_share_a_bound_and_give_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "ALL_RESULTS_BYTES_MAX", 100)
    shared = ResultBytes()
    first, second = QueryControl(1, shared), QueryControl(1, shared)
    first.count(("x" * 60, None))
    with pytest.raises(RewakeError, match="results of all queries"):
        second.count(("x" * 60,))
    second.detach()
    first.detach()
    second.count((b"x" * 50,))


def test_one_value_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "VALUE_BYTES_MAX", 1_000)
    monkeypatch.setattr(query, "_BESIDE_MESSAGE_BYTES", 0)
    error = error_of(store, "select zeroblob(1001)")
    assert error.code is ErrorCode.QUERY_TOO_LARGE and "A value of the query" in error.message
    larger = run_query(store.path.parent, "select length(zeroblob(1001)) as n", message_bytes_max=2_000)
    assert larger.rows == [(1_001,)]


def test_sorting_takes_bounded_memory(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "QUERY_MEMORY_BYTES_MAX", apsw.memory_used() + 50_000_000)
    peak = apsw.memory_high_water(True)
    error = error_of(store, COUNTED.format(2_000, "zeroblob(1000000 + x)") + " order by 1")
    assert error.code is ErrorCode.QUERY_TOO_LARGE and "of memory" in error.message
    assert apsw.memory_high_water() < peak + 200_000_000


# Time: no single function takes longer than linear time, as SQLite looks between functions only


@pytest.mark.parametrize(
    "expression",
    [
        "instr(a, b)",
        "replace(a, b, 'x')",
        "trim(a, b)",
        "ltrim(a, b)",
        "rtrim(a, b)",
        "a like '%' || b",
        "contains(a, b)",
    ],
)
def test_no_function_takes_quadratic_time(store: Store, expression: str) -> None:
    """One call of instr() on long texts held a query for 7 s beyond its deadline."""
    long = "replace(hex(zeroblob({})), '00', 'a')"
    sql = f"with t(a, b) as (select {long.format(1_000_000)}, {long.format(500_000)} || 'b') select {expression} from t"
    started = time.process_time()
    try:
        run_query(store.path.parent, sql)
    except RewakeError as error:
        assert error.code is ErrorCode.QUERY_INVALID, error
    assert time.process_time() - started < 3


def test_text_functions_still_do_what_they_are_for(store: Store) -> None:
    sql = (
        "select instr('abc', 'c'), instr(x'0102', x'02'), instr('ä1', 1), instr('a', ''), instr(null, 'a'), "
        "replace('a.b.c', '.', '--'), replace('a', '', 'x'), trim('  a '), ltrim('xxa', 'x'), rtrim('a  '), trim(5, '')"
    )
    assert run_query(store.path.parent, sql).rows == [(3, 2, 2, 1, None, "a--b--c", "a", "a", "a", "a", "5")]


def test_what_functions_make_and_look_for_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "REPLACED_CHARS_MAX", 100)
    monkeypatch.setattr(functions, "TRIMMED_CHARS_MAX", 2)
    assert "more than 100 characters" in error_of(store, "select replace('aaaaaaaaaaa', 'a', 'bbbbbbbbbb')").message
    assert "more than 2 characters" in error_of(store, "select trim('a', 'abc')").message
    pattern = "x" * (query.LIKE_PATTERN_BYTES_MAX + 1)
    assert "pattern too complex" in error_of(store, f"select 'a' like '{pattern}'").message


# Mistakes that are the asker's


@pytest.mark.parametrize(
    "sql",
    [
        "select date_bin(0, now())",
        "select date_bin(interval '0 seconds', now())",
        "select to_timestamp(1e300)",
        "select to_timestamp('x')",
        "select split_part(1, 2, 3)",
        "select starts_with(1, 2)",
        "select array_length('" + "[" * 100_000 + "')",
        "select arrow_cast('x', 'Int64')",
        "select date_trunc('day', 'never')",
        "select shifted(now(), 1e300)",
        "select " + "9" * 5_000,
        "select now() - interval '" + "9" * 5_000 + " days'",
        "select " + "(" * 10_000 + "1" + ")" * 10_000,
        "select " + "-" * 1 + "(" * 40_000,
        "select case " * 20_000,
        "select '" + "x" * query.SQL_CHARS_MAX + "'",
        "select '\x00'",
        "select 1 where id = '" + "\x00" * 10 + "'",
        "select \ud800",
    ],
    ids=lambda sql: ascii(sql[:40]),
)
def test_what_cannot_be_worked_out_is_the_askers_mistake(store: Store, sql: str) -> None:
    """It was an error 500 that asked for a report."""
    try:
        run_query(store.path.parent, sql)
    except RewakeError as error:
        assert error.code in (ErrorCode.QUERY_INVALID, ErrorCode.QUERY_NOT_READ_ONLY)
        assert len(error.message) < 1_000


# Threads


def ended() -> bool:
    return not [each for each in threading.enumerate() if each.name == "rewake-query"]


async def until_ended() -> None:
    async with asyncio.timeout(20):
        while not ended():
            await asyncio.sleep(0.005)


def ask(queries: QueryThreads, sql: str, deadline_s: float = 20) -> Coroutine[Any, Any, QueryResult]:
    return queries.run(sql, deadline_s=deadline_s, rows_max=10)


def test_a_query_ends_with_its_asker(store: Store) -> None:
    async def main() -> None:
        queries = QueryThreads(store.path.parent)
        asking = [asyncio.ensure_future(ask(queries, ENDLESS)) for _ in range(QUERIES_MAX + 2)]
        await asyncio.sleep(0)
        assert sum(each.name == "rewake-query" for each in threading.enumerate()) == QUERIES_MAX
        for each in asking:
            each.cancel()
        await until_ended()
        assert (await ask(queries, "select 1")).rows == [(1,)]

    asyncio.run(main())


def test_a_query_ends_with_the_engine(store: Store) -> None:
    async def main() -> None:
        queries = QueryThreads(store.path.parent)
        asking = asyncio.ensure_future(ask(queries, ENDLESS))
        await asyncio.sleep(0)
        queries.close()
        with pytest.raises(RewakeError) as caught:
            await asking
        assert caught.value.code is ErrorCode.QUERY_TIMED_OUT
        await until_ended()
        with pytest.raises(RewakeError) as late:
            await ask(queries, "select 1")
        assert late.value.code is ErrorCode.ENGINE_STOPPED

    asyncio.run(main())


def test_a_query_that_does_not_notice_its_deadline_is_answered_without_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its place until it ends. Others wait for one, within their own deadlines."""
    go_on = threading.Event()

    def slow(*_: object, **__: object) -> None:
        go_on.wait(20)

    async def main() -> None:
        queries = QueryThreads(store.path.parent)
        monkeypatch.setattr(threads, "_LEAVES_WITHIN_S", 0.0)
        monkeypatch.setattr(threads, "run_query", slow)
        asked = [ask(queries, "select 1", deadline_s=0.02) for _ in range(QUERIES_MAX + 1)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert {each.code for each in outcomes if isinstance(each, RewakeError)} == {ErrorCode.QUERY_TIMED_OUT}
        assert len(outcomes) == QUERIES_MAX + 1
        monkeypatch.setattr(threads, "run_query", run_query)
        go_on.set()
        assert (await ask(queries, "select 1")).rows == [(1,)]

    asyncio.run(main())


def test_a_query_of_a_store_that_is_not_there(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(RewakeError) as caught:
            await ask(QueryThreads(tmp_path / "nothing"), "select 1")
        assert caught.value.code is ErrorCode.STORE_NOT_WRITABLE

    asyncio.run(main())
