"""The tables, as numbered migrations. Append a migration to change them; never edit one that was released.

tests/conformance/frozen has a database of each version, which every later version must open; after a new migration,
tests/conformance/frozen_app.py makes the one of the new version. The file's `user_version` is the number of applied
migrations. All times are milliseconds since the epoch. Small columns come before large ones, so that reading small ones
touches no overflow pages. An index costs about 1 us a write, so each has a comment with the scan that it saves.
"""

from __future__ import annotations

from typing import Final

_INITIAL: Final = """
create table meta (name text primary key, value any) strict, without rowid;

create table invocation (
    id blob primary key,
    status integer not null,
    service text not null,
    handler text not null,
    key text,
    service_type integer not null,
    handler_kind integer not null,
    created_at_ms integer not null,
    invoked_by text not null,
    invoked_by_id blob,
    invoked_by_target text,
    restarted_from blob,
    branch_of text,
    idempotency_key text,
    traceparent text,
    completion_retention_ms integer not null,
    journal_retention_ms integer not null,
    random_seed integer not null,
    modified_at_ms integer not null,
    inbox_sequence integer not null,
    inboxed_at_ms integer,
    scheduled_at_ms integer,
    start_at_ms integer,
    running_at_ms integer,
    completed_at_ms integer,
    purge_at_ms integer,
    journal_purge_at_ms integer,
    sweep_at_ms integer,
    pinned_deployment_id text,
    pinned_version integer,
    retry_count integer not null,
    command_retry_count integer not null,
    loss_count integer not null default 0,
    kill_count integer not null default 0,
    last_start_at_ms integer,
    next_retry_at_ms integer,
    last_deployment_id text,
    awaiting_from integer not null,
    awaiting blob,
    last_error blob,
    result_code integer,
    result_message text,
    result_metadata blob,
    result_value_id integer,
    result_value blob
) strict, without rowid;

create index invocation_result on invocation (result_value_id) where result_value_id is not null;

-- Every invocation that is not completed: holder and queue of a key, and what recovery starts again, without a scan
-- of all that is retained. Status is a column because the index is rewritten with it anyway.
create index invocation_open on invocation (service, key, inbox_sequence, status) where status < 5;

-- What the retention sweep forgets next.
create index invocation_sweep on invocation (sweep_at_ms) where sweep_at_ms is not null;

-- Lists of runs by time: a page of 100 out of a million without a scan, filtered by target without reading rows. Its
-- columns never change, so a run pays for it once.
create index invocation_created on invocation (created_at_ms, service, handler, key);

-- Failed runs among many that succeeded, and how many there are. Others pay nothing.
create index invocation_failed on invocation (created_at_ms) where result_code is not null;

-- Values of 2 KiB and more, apart from their rows: equal ones once, similar ones as what differs (large_values.py). A
-- value is `base` up to `prefix`, then `data`, then `base` from `suffix_at` on; without a base it is `data`.
-- start: hash of its start, to find similar ones by.   weight: bytes of all data that it is put together from.
-- packing: 0 for `data` as it is, 1 for zlib.
create table large_value (
    id integer primary key,
    hash blob not null,
    start integer not null,
    size integer not null,
    base integer,
    prefix integer not null,
    suffix_at integer not null,
    depth integer not null,
    weight integer not null,
    packing integer not null,
    data blob not null
) strict;

create unique index large_value_hash on large_value (hash);

create index large_value_start on large_value (start);

-- Who still needs a value; these replace counters that could drift. Rows without a large value pay nothing.
create index large_value_base on large_value (base) where base is not null;

-- payload: without the value of `value_id`, which belongs in it at `value_at`.
create table journal_entry (
    invocation_id blob not null,
    idx integer not null,
    type integer not null,
    appended_at_ms integer not null,
    completion_id integer,
    signal any,
    is_failure integer not null,
    child blob,
    name text,
    value_id integer,
    value_at integer,
    payload blob not null,
    primary key (invocation_id, idx)
) strict, without rowid;

create index journal_entry_value on journal_entry (value_id) where value_id is not null;

create view journal as
select
    invocation_id, idx, type, appended_at_ms, completion_id, signal, is_failure, child, name,
    length(payload) + coalesce((select size from large_value where id = value_id), 0) as payload_bytes,
    case when value_id is null then payload else whole_payload(payload, value_at, value_id) end as payload
from journal_entry;

create table event (
    invocation_id blob not null,
    position integer not null,
    after_index integer not null,
    appended_at_ms integer not null,
    event_type text not null,
    data text not null,
    primary key (invocation_id, position)
) strict, without rowid;

create table timer (
    fire_at_ms integer not null,
    invocation_id blob not null,
    completion_id integer not null,
    primary key (fire_at_ms, invocation_id, completion_id)
) strict, without rowid;

-- An invocation that ends while it waits takes its timers and its places among listeners with it. Without these three
-- that would read everything anybody waits for.
create index timer_of on timer (invocation_id);

create table listener (
    invocation_id blob not null,
    position integer not null,
    caller_id blob not null,
    completion_id integer not null,
    type integer not null,
    primary key (invocation_id, position)
) strict, without rowid;

create index listener_caller on listener (caller_id);

create table state_value (
    service text not null,
    key text not null,
    name blob not null,
    value_id integer,
    value blob,
    primary key (service, key, name)
) strict, without rowid;

create index state_value_value on state_value (value_id) where value_id is not null;

-- The objects that keep open questions between turns ('rewake.approvals', see ext/kernel/keeping.py), among all that
-- have state. Other values pay nothing.
create index state_value_asking on state_value (service, key) where name = x'726577616b652e617070726f76616c73';

create view state as
select
    service, key, name,
    coalesce(length(value), (select size from large_value where id = value_id)) as value_bytes,
    coalesce(value, large_value(value_id)) as value
from state_value;

create table promise (
    service text not null,
    key text not null,
    name text not null,
    result_code integer,
    result_message text,
    result_metadata blob,
    result_value blob,
    primary key (service, key, name)
) strict, without rowid;

create table promise_listener (
    service text not null,
    key text not null,
    name text not null,
    position integer not null,
    caller_id blob not null,
    completion_id integer not null,
    type integer not null,
    primary key (service, key, name, position)
) strict, without rowid;

create index promise_listener_caller on promise_listener (caller_id);

create table state_mutation (
    sequence integer primary key,
    service text not null,
    key text not null,
    expected_version text,
    new_state blob not null
) strict;

create table deployment (
    id text primary key,
    created_at_ms integer not null,
    data blob not null
) strict, without rowid;

create table service (
    name text primary key,
    data blob not null
) strict, without rowid;
"""

_SOURCE_LINES: Final = """
-- Fields with the lines of the app that made commands, each once (source_lines.py).
create table source_line (
    id integer primary key,
    field blob not null
) strict;

-- The payload is without the field of this line, which belongs at its end. A row has a line or a large value, not both.
alter table journal_entry add column line_id integer;

drop view journal;

create view journal as
select
    invocation_id, idx, type, appended_at_ms, completion_id, signal, is_failure, child, name,
    length(payload) + coalesce((select size from large_value where id = value_id), 0)
        + coalesce((select length(field) from source_line where id = line_id), 0) as payload_bytes,
    case
        when value_id is not null then whole_payload(payload, value_at, value_id)
        when line_id is null then payload
        else cast(payload || (select field from source_line where id = line_id) as blob)
    end as payload
from journal_entry;
"""

MIGRATIONS: Final[tuple[str, ...]] = (_INITIAL, _SOURCE_LINES)

VERSION: Final = len(MIGRATIONS)
"""Version of the databases that this release writes."""
