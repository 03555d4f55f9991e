"""The SQL operators see: public columns, values by type, ids by primary key, and nothing but reading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from store_samples import (
    ADD,
    GREET,
    NOW_MS,
    RUN,
    deployment,
    entry,
    full_invocation,
    invocation,
    invocation_id,
    service,
    submit,
)

from rewake.core.ids import CompletionId, EntryIndex, InvocationId, invocation_id_to_str
from rewake.core.model import AttemptError, InvokedBy, Status
from rewake.core.writes import Batch, EventRow
from rewake.errors import ErrorCode, RewakeError
from rewake.protocol.codec import encode_message
from rewake.protocol.messages import (
    CallCommand,
    Completion,
    Failure,
    InputCommand,
    InvocationIdResult,
    Message,
    MessageType,
    RunCommand,
    Success,
)
from rewake.sql.catalog import TABLES, ColumnType
from rewake.sql.query import QueryResult, needs_attempts, run_query
from rewake.sql.rewriting import RAW_ID
from rewake.sql.views import AttemptRow, attempt_row
from rewake.store.store import Store

COLUMN_COUNTS = {
    "sys_invocation": 51,
    "sys_invocation_status": 38,
    "sys_invocation_state": 17,
    "sys_journal": 16,
    "sys_effect": 10,
    "sys_journal_events": 6,
    "state": 9,
    "sys_promise": 9,
    "sys_inbox": 6,
    "sys_keyed_service_status": 4,
    "sys_service": 5,
    "sys_deployment": 7,
    "sys_rules": 6,
    "sys_vqueue_meta": 27,
    "sys_vqueues": 20,
    "sys_vqueue_entry_status": 37,
    "sys_scheduler": 15,
    "sys_user_limits": 10,
    "sys_locks": 5,
}


def public(number: int) -> str:
    return invocation_id_to_str(invocation_id(number))


class Queries:
    """Asks a store's directory and gives JSON rows."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.attempts: list[AttemptRow] = []

    def result(self, sql: str, **options: Any) -> QueryResult:
        return run_query(self.store.path.parent, sql, attempts=self.attempts, **options)

    def __call__(self, sql: str, **options: Any) -> list[dict[str, Any]]:
        rows = self.result(sql, **options).json_rows()
        assert json.loads(msgspec.json.encode(rows)) == rows
        return rows

    def error(self, sql: str, **options: Any) -> RewakeError:
        with pytest.raises(RewakeError) as caught:
            self.result(sql, **options)
        return caught.value


@pytest.fixture
def ask(store: Store) -> Queries:
    return Queries(store)


# Columns


def test_there_are_the_public_tables_with_their_number_of_columns() -> None:
    assert {name: len(columns) for name, columns in TABLES.items()} == COLUMN_COUNTS


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_the_columns_of_the_catalog_in_order(ask: Queries, name: str) -> None:
    found = ask.result(f"select * from {name}")
    assert list(found.columns) == list(TABLES[name])
    assert found.rows == []
    assert ask(f"select count(*) from {name}") == [{"count(*)": 0}]
    assert ask(f"select count(1) as n from (select * from {name} t limit 10)") == [{"n": 0}]
    described = ask(f"describe {name}")
    assert [(row["column_name"], row["data_type"]) for row in described] == [
        (column, type_.value) for column, type_ in TABLES[name].items()
    ]


def test_the_order_of_the_columns_tools_read_by_position() -> None:
    invocation_columns = list(TABLES["sys_invocation"])
    assert invocation_columns[:4] == ["id", "vqueue_id", "target", "target_service_name"]
    assert invocation_columns[-4:] == [
        "last_awaiting_on_future_json",
        "status",
        "completion_result",
        "completion_failure",
    ]
    assert list(TABLES["sys_journal"])[:5] == ["partition_key", "id", "index", "entry_type", "name"]


# Rows


def test_a_suspended_invocation_with_everything_set(store: Store, ask: Queries) -> None:
    item = full_invocation()
    item.completed_at_ms = None
    submit(store, Batch(inserts=[item], entries=[entry(1, 0), entry(1, 1, MessageType.SLEEP_COMPLETION)]))
    (row,) = ask("select * from sys_invocation")
    assert row == {
        "id": public(1),
        "target": "Signup/w1/run",
        "target_service_name": "Signup",
        "target_service_key": "w1",
        "target_handler_name": "run",
        "target_service_ty": "workflow",
        "idempotency_key": "",
        "invoked_by": "service",
        "invoked_by_service_name": "Greeter",
        "invoked_by_id": public(900),
        "invoked_by_target": "Greeter/greet",
        "restarted_from": public(901),
        "pinned_deployment_id": "dp_1abc",
        "pinned_service_protocol_version": 6,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "journal_size": 2,
        "journal_commands_size": 1,
        "created_at": "2026-11-22T13:20:33.731Z",
        "modified_at": "2026-11-22T13:20:33.731Z",
        "inboxed_at": "2026-11-22T13:20:33.732Z",
        "scheduled_at": "2026-11-22T13:20:33.733Z",
        "scheduled_start_at": "2026-11-22T13:20:33.734Z",
        "running_at": "2026-11-22T13:20:33.735Z",
        "completion_retention": "PT86400S",
        "journal_retention": "PT3600S",
        "suspended_waiting_for_completions": [1, 2, 3],
        "suspended_waiting_for_signals": [17],
        "suspended_waiting_future_json": (
            '{"Unknown":[{"Single":{"CompletionId":1}},{"Single":{"CompletionId":2}},{"Single":{"SignalIndex":17}},'
            '{"Single":{"SignalName":"go"}},{"AllCompleted":[{"Single":{"CompletionId":3}}]}]}'
        ),
        "status": "suspended",
    }


@pytest.mark.parametrize(
    ("retention_ms", "shown"), [(0, "P0D"), (2, "PT0.002S"), (5000, "PT5S"), (1500, "PT1.5S"), (86_400_000, "PT86400S")]
)
def test_durations(store: Store, ask: Queries, retention_ms: int, shown: str) -> None:
    submit(store, Batch(inserts=[invocation(completion_retention_ms=retention_ms)]))
    assert ask("select completion_retention from sys_invocation") == [{"completion_retention": shown}]


def test_the_status_of_an_invocation_knows_the_engines_memory(store: Store, ask: Queries) -> None:
    statuses = [*Status, Status.INVOKED, Status.INVOKED]
    submit(store, Batch(inserts=[invocation(number, ADD, status) for number, status in enumerate(statuses)]))
    error = AttemptError(500, "broken", "RT0007", "at line 1", 2, "charge", "Run")
    ask.attempts = [
        AttemptRow(invocation_id(6), in_flight=True, retry_count=1, last_start_at_ms=NOW_MS),
        AttemptRow(
            invocation_id(7),
            in_flight=False,
            retry_count=3,
            last_start_at_ms=NOW_MS,
            next_retry_at_ms=NOW_MS + 1000,
            last_deployment_id="dp_1abc",
            last_server="restate-sdk-python/1.3.0",
            last_error=error,
        ),
    ]
    found = ask("select id, status from sys_invocation")
    assert {row["id"]: row["status"] for row in found} == {
        public(0): "scheduled",
        public(1): "pending",
        public(2): "ready",
        public(3): "suspended",
        public(4): "paused",
        public(5): "completed",
        public(6): "running",
        public(7): "backing-off",
    }
    stored = {row["status"] for row in ask("select status from sys_invocation_status")}
    assert stored == {"scheduled", "inboxed", "invoked", "suspended", "paused", "completed"}
    partition_key = int.from_bytes(invocation_id(7)[:8], "big")
    assert ask(f"select * from sys_invocation_state where id = '{public(7)}'") == [
        {
            "partition_key": partition_key,
            "id": public(7),
            "in_flight": False,
            "retry_count": 3,
            "last_start_at": "2026-11-22T13:20:33.731Z",
            "next_retry_at": "2026-11-22T13:20:34.731Z",
            "last_attempt_deployment_id": "dp_1abc",
            "last_attempt_server": "restate-sdk-python/1.3.0",
            "last_failure": "[500 Internal] broken\nat line 1",
            "last_failure_error_code": "RT0007",
            "last_failure_related_command_index": 2,
            "last_failure_related_command_name": "charge",
            "last_failure_related_command_type": "Run",
        }
    ]
    assert needs_attempts("select * from SYS_INVOCATION") and not needs_attempts("select * from state")


def test_a_paused_invocation_shows_what_paused_it(store: Store, ask: Queries) -> None:
    error = AttemptError(500, "broken", "RT0007", "at line 1", 2, "charge", "Run")
    rows = [(Status.PAUSED, error), (Status.PAUSED, None), (Status.COMPLETED, error)]
    inserts = [invocation(number, ADD, status, last_error=cause) for number, (status, cause) in enumerate(rows)]
    submit(store, Batch(inserts=inserts))
    columns = "last_failure, last_failure_error_code, last_failure_related_command_index"
    assert ask(f"select {columns} from sys_invocation where id = '{public(0)}'") == [
        {
            "last_failure": "[500 Internal] broken\nat line 1",
            "last_failure_error_code": "RT0007",
            "last_failure_related_command_index": 2,
        }
    ]
    failures = ask("select id, last_failure from sys_invocation where last_failure is not null")
    assert [row["id"] for row in failures] == [public(0)]


def test_an_attempt_row_counts_attempts_from_one() -> None:
    waiting = invocation(retry_count=2, next_retry_at_ms=NOW_MS)
    assert attempt_row(waiting, "sdk").retry_count == 2
    assert not attempt_row(waiting, "sdk").in_flight


def test_results(store: Store, ask: Queries) -> None:
    done: dict[str, Any] = {"status": Status.COMPLETED}
    submit(
        store,
        Batch(
            inserts=[
                invocation(1, result=Success(b"1"), **done),
                invocation(2, result=Failure(409, "killed"), **done),
                invocation(3),
            ]
        ),
    )
    assert ask("select completion_result, completion_failure from sys_invocation order by id") == [
        {"completion_result": "success"},
        {"completion_result": "failure", "completion_failure": "[409] killed"},
        {},
    ]


def test_the_journal_shows_entries_as_json_and_whom_a_call_reached(store: Store, ask: Queries) -> None:
    call = CallCommand("Counter", "add", b"1", (), "k7", None, None, None, 1, 2, "ask")
    id_known = Completion(
        MessageType.CALL_INVOCATION_ID_COMPLETION, 1, InvocationIdResult(invocation_id_to_str(invocation_id(2)))
    )
    messages: list[Message] = [InputCommand((), b"in"), RunCommand(9, "charge"), call, id_known]
    types = [MessageType.INPUT, MessageType.RUN, MessageType.CALL, MessageType.CALL_INVOCATION_ID_COMPLETION]
    rows = [
        entry(1, index, type_, encode_message(message, 6), name=getattr(message, "name", None))
        for index, (type_, message) in enumerate(zip(types, messages, strict=True))
    ]
    rows[3].completion_id, rows[3].child = CompletionId(1), invocation_id(2)
    submit(store, Batch(inserts=[invocation(1), invocation(2, ADD, completion_retention_ms=5000)], entries=rows))
    found = ask(f"select index, entry_type, name, raw, version, entry_json from sys_journal where id = '{public(1)}'")
    assert [(row["index"], row["entry_type"], row.get("name")) for row in found] == [
        (0, "Command: Input", ""),
        (1, "Command: Run", "charge"),
        (2, "Command: Call", "ask"),
        (3, "Notification: CallInvocationId", None),
    ]
    assert found[1]["raw"] == rows[1].payload.hex()
    assert {row["version"] for row in found} == {2}
    assert json.loads(found[1]["entry_json"]) == {"Command": {"Run": {"completion_id": 9, "name": "charge"}}}
    request = json.loads(found[2]["entry_json"])["Command"]["Call"]["request"]
    assert request["invocation_id"] == public(2)
    assert request["invocation_target"] == {
        "VirtualObject": {"name": "Counter", "key": "k7", "handler": "add", "handler_ty": "Exclusive", "scope": None}
    }
    assert request["completion_retention_duration"] == {"secs": 5, "nanos": 0}


def test_an_entry_that_cannot_be_decoded_hides_only_itself(store: Store, ask: Queries) -> None:
    submit(store, Batch(entries=[entry(1, 0, MessageType.RUN, b"\xff\xff"), entry(1, 1, MessageType.RUN, b"")]))
    found = ask("select index, entry_json from sys_journal order by index")
    assert [sorted(row) for row in found] == [["index"], ["entry_json", "index"]]


def test_events(store: Store, ask: Queries) -> None:
    submit(
        store,
        Batch(events=[EventRow(invocation_id(1), EntryIndex(3), NOW_MS, "Paused", '{"ty":"Paused"}')]),
    )
    (row,) = ask(f"select * from sys_journal_events where id = '{public(1)}'")
    assert (row["after_journal_entry_index"], row["event_type"], row["event_json"]) == (3, "Paused", '{"ty":"Paused"}')


def test_state_and_promises(store: Store, ask: Queries) -> None:
    submit(
        store,
        Batch(
            state={("Counter", "k7", b"v"): b'"done"', ("Counter", "k7", b"w"): b"\xff"},
            promises={
                ("Signup", "w1", "a"): None,
                ("Signup", "w1", "b"): Success(b"1"),
                ("Signup", "w1", "c"): Failure(409, "no"),
            },
        ),
    )
    assert ask("select key, value, value_utf8, value_length from state where service_name = 'Counter'") == [
        {"key": "v", "value": "22646f6e6522", "value_utf8": '"done"', "value_length": 6},
        {"key": "w", "value": "ff", "value_length": 1},
    ]
    columns = "key, completed, completion_success_value, completion_success_value_utf8, completion_failure"
    assert ask(f"select {columns} from sys_promise order by key") == [
        {"key": "a", "completed": False},
        {"key": "b", "completed": True, "completion_success_value": "31", "completion_success_value_utf8": "1"},
        {"key": "c", "completed": True, "completion_failure": "[409 Aborted] no"},
    ]
    assert ask("select key from sys_promise where completed = true and key = 'b'") == [{"key": "b"}]


def test_keys_their_holders_and_their_queues(store: Store, ask: Queries) -> None:
    submit(
        store,
        Batch(
            inserts=[
                invocation(1, ADD, Status.SUSPENDED),
                invocation(2, ADD, Status.INBOXED, inbox_sequence=4),
                invocation(3, RUN, Status.INVOKED),
                invocation(4, GREET, Status.INVOKED),
            ]
        ),
    )
    holders = ask("select service_name, service_key, invocation_id from sys_keyed_service_status")
    assert holders == [{"service_name": "Counter", "service_key": "k7", "invocation_id": public(1)}]
    (queued,) = ask("select * from sys_inbox")
    assert (queued["id"], queued["sequence_number"], queued["service_key"]) == (public(2), 4, "k7")


def test_services_and_deployments(store: Store, ask: Queries) -> None:
    submit(store, Batch(deployments={"dp_1abc": deployment()}, services={"Counter": service()}))
    assert ask("select * from sys_service") == [
        {"name": "Counter", "revision": 2, "public": False, "ty": "virtual_object", "deployment_id": "dp_1abc"}
    ]
    (row,) = ask("select id, created_at, min_service_protocol_version, services from sys_deployment")
    assert row == {
        "id": "dp_1abc",
        "created_at": "2026-11-22T13:20:33.731Z",
        "min_service_protocol_version": 5,
        "services": ["Greeter", "Counter"],
    }


def test_a_partition_key_is_unsigned(store: Store, ask: Queries) -> None:
    item = invocation()
    item.id = InvocationId(b"\xff" * 24)
    submit(store, Batch(inserts=[item]))
    assert ask("select partition_key from sys_invocation_status") == [{"partition_key": 2**64 - 1}]


# Types of computed columns


def test_types(store: Store, ask: Queries) -> None:
    submit(store, Batch(inserts=[invocation()]))
    found = ask.result(
        "select count(*), sum(1.5) as s, created_at, x'00' as b, 'a' as t, null as n from sys_invocation"
    )
    assert found.columns == ("count(*)", "s", "created_at", "b", "t", "n")
    assert found.types == (
        ColumnType.INT64,
        ColumnType.FLOAT64,
        ColumnType.TIMESTAMP,
        ColumnType.BINARY,
        ColumnType.TEXT,
        ColumnType.TEXT,
    )


def test_a_count_named_like_a_boolean_stays_a_count(store: Store, ask: Queries) -> None:
    submit(store, Batch(promises={("Signup", "w1", "a"): Success(b"")}))
    assert ask("select sum(completed) as completed from sys_promise") == [{"completed": 1}]


# Ids


@pytest.mark.parametrize(
    "condition",
    [
        "id = '{0}'",
        "id == '{0}'",
        "'{0}' = i.id",
        "\"id\" = '{0}'",
        "i.id in ('{0}')",
        "(i.id IN ('{0}', '{0}') and 1 = 1)",
    ],
)
@pytest.mark.parametrize("table", ["sys_invocation", "sys_invocation_status", "sys_journal", "sys_journal_events"])
def test_a_lookup_by_id_uses_the_primary_key(store: Store, ask: Queries, table: str, condition: str) -> None:
    event = EventRow(invocation_id(1), EntryIndex(0), NOW_MS, "Paused", "{}")
    submit(store, Batch(inserts=[invocation(1), invocation(2)], entries=[entry(1, 0), entry(2, 0)], events=[event]))
    sql = f"select id from {table} i where {condition.format(public(1))}"
    assert ask(sql) == [{"id": public(1)}]
    plan = " ".join(row["detail"] for row in ask(f"explain query plan {sql}"))
    assert "SCAN" not in plan and "PRIMARY KEY" in plan, plan


def test_a_join_by_id_uses_the_primary_key(store: Store, ask: Queries) -> None:
    submit(store, Batch(inserts=[invocation(1), invocation(2)], entries=[entry(1, 0)]))
    sql = "select i.id, j.index from sys_invocation i join sys_journal j on j.id = i.id"
    assert ask(sql) == [{"id": public(1), "index": 0}]
    plan = [row["detail"] for row in ask(f"explain query plan {sql}")]
    assert sum("SCAN" in step for step in plan) == 1, plan


def test_an_id_from_a_subquery_or_another_table_still_works(store: Store, ask: Queries) -> None:
    submit(store, Batch(inserts=[invocation(1, pinned_deployment_id="dp_1abc")], deployments={"dp_1abc": deployment()}))
    assert ask(f"select x.id from (select id from sys_invocation) x where x.id = '{public(1)}'") == [{"id": public(1)}]
    sql = (
        "select inv.id, dp.id is not null as found from sys_invocation inv "
        f"left join sys_deployment dp on dp.id = inv.pinned_deployment_id where inv.id in ('{public(1)}')"
    )
    assert ask(sql) == [{"id": public(1), "found": True}]
    assert ask("select count(*) from sys_deployment where id = 'dp_1abc'") == [{"count(*)": 1}]


def test_text_that_looks_like_an_id_is_left_alone(ask: Queries) -> None:
    assert ask(f"select 'id = ''{public(1)}''' as text") == [{"text": f"id = '{public(1)}'"}]
    assert ask("select count(*) from sys_invocation where id = 'inv_1nonsense'") == [{"count(*)": 0}]


def test_the_raw_id_is_never_shown(store: Store, ask: Queries) -> None:
    submit(store, Batch(inserts=[invocation()]))
    assert RAW_ID not in ask.result("select * from (select *, 1 as one from sys_invocation)").columns


# The dialect


def test_what_the_public_command_line_asks(store: Store, ask: Queries) -> None:
    submit(
        store,
        Batch(inserts=[invocation(1), invocation(2, created_at_ms=NOW_MS - 1), invocation(3, ADD, Status.INBOXED)]),
    )
    sql = """
        SELECT target_service_name, COUNT(1) AS num_invocations, MIN(created_at) AS oldest_at,
               FIRST_VALUE(id ORDER BY created_at ASC) AS oldest_invocation
        FROM sys_invocation_status WHERE status == 'invoked' -- a comment
        GROUP BY target_service_name ;
    """
    assert ask(sql) == [
        {
            "target_service_name": "Greeter",
            "num_invocations": 2,
            "oldest_at": "2026-11-22T13:20:33.730Z",
            "oldest_invocation": public(2),
        }
    ]
    sql = (
        "SELECT COUNT(*) FROM information_schema.columns "
        "WHERE table_name = 'sys_journal' AND column_name IN ('version','entry_json','appended_at')"
    )
    assert ask(sql) == [{"count(*)": 3}]
    assert ask("select count(*) from restate.public.sys_inbox sj") == [{"count(*)": 1}]
    assert {row["table_name"] for row in ask("SHOW TABLES")} == set(TABLES)
    running = "(select * from sys_invocation_state where in_flight)"
    sql = f"select ss.id from sys_invocation_status ss left join {running} sis on ss.id = sis.id"
    assert len(ask(sql)) == 3


# Refusals


@pytest.mark.parametrize(
    "sql",
    [
        "delete from state",
        "insert into state (key) values ('a')",
        "update sys_invocation set status = 'completed'",
        "with a as (select 1) delete from state",
        "create table a (b)",
        "create temp table a (b)",
        "drop table invocation",
        "pragma user_version",
        "pragma query_only = off",
        "attach 'other.db' as other",
        "vacuum into 'other.db'",
        "begin",
        "select load_extension('x')",
    ],
)
def test_only_reading_is_possible(store: Store, ask: Queries, sql: str, tmp_path: Path) -> None:
    submit(store, Batch(state={("a", "b", b"c"): b"d"}))
    assert ask.error(sql).code is ErrorCode.QUERY_NOT_READ_ONLY
    assert store.reader.state("a", "b") == {b"c": b"d"}
    assert not list(tmp_path.glob("other*"))


@pytest.mark.parametrize(
    ("sql", "reason", "says"),
    [
        ("selec 1", "syntax", "selec"),
        ("select * from sys_invocations", "unknown_table", "Did you mean sys_invocation?"),
        ("select * from invocation", "unknown_table", "'invocation'"),
        ("select * from main.state", "unknown_table", "'main.state'"),
        ("select * from sqlite_schema", "unknown_table", "SHOW TABLES"),
        ("select valu from state", "unknown_column", "Did you mean value"),
        ("select 1; select 2", "several_statements", "one by one"),
        (" ; ", "empty", "empty"),
        ("select ?", "syntax", ""),
        ("select array_length('x')", "syntax", ""),
        ("select 'open", "syntax", ""),
        ("select (1", "syntax", "parentheses"),
        ("select 1)", "syntax", "parentheses"),
        ("select " + "(" * 60 + "1" + ")" * 60, "syntax", "nested"),
        ("select " + "1, " * 30_000 + "1", "syntax", "50,000 words"),
    ],
)
def test_mistakes_are_named(ask: Queries, sql: str, reason: str, says: str) -> None:
    error = ask.error(sql)
    assert (error.code, error.facts["reason"]) == (ErrorCode.QUERY_INVALID, reason)
    assert says in str(error)


def test_a_query_ends_at_its_deadline(ask: Queries) -> None:
    error = ask.error(
        "with recursive n(x) as (select 1 union all select x + 1 from n) select count(*) from n", deadline_s=0.05
    )
    assert error.code is ErrorCode.QUERY_TIMED_OUT
    assert "0.05 s" in error.message


def test_a_query_has_a_limit_of_rows(ask: Queries) -> None:
    sql = "with recursive n(x) as (select 1 union all select x + 1 from n) select x from n limit {}"
    assert len(ask(sql.format(10), rows_max=10)) == 10
    assert ask.error(sql.format(11), rows_max=10).code is ErrorCode.QUERY_TOO_LARGE


def test_a_directory_without_a_database(tmp_path: Path) -> None:
    with pytest.raises(RewakeError) as caught:
        run_query(tmp_path / "nothing", "select 1")
    assert caught.value.code is ErrorCode.STORE_NOT_WRITABLE


def test_it_sees_one_committed_state_while_others_write(store: Store, ask: Queries) -> None:
    store._connection.execute("begin immediate")
    store._writer.write(Batch(inserts=[invocation(1, invoked_by=InvokedBy.INGRESS)]))
    assert ask("select count(*) from sys_invocation") == [{"count(*)": 0}]
    store._connection.execute("commit")
    assert ask("select count(*) from sys_invocation") == [{"count(*)": 1}]
