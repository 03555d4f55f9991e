"""A session with the official `restate` CLI, command by command, its output asserted. See official_cli.py."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cli_process import Running
from dialect_samples import SAMPLES
from node_tour import HYPERCORN, Engine, Process, engine_under_test, free_port, make_engine, until
from official_cli import APP, OTHER_APP, Cli, send, status

from rewake.sql.catalog import TABLES

pytestmark = pytest.mark.timeout(180)

ID = r"inv_1\w{33}"
UNKNOWN_ID = "inv_1" + "0" * 33
EDIT = """
file = pathlib.Path(sys.argv[1])
file.write_text(re.sub("4[0-9]", "70", file.read_text()))
"""


@dataclass
class Session:
    """An engine with the app registered by the CLI, and where the app is."""

    engine: Engine
    cli: Cli
    url: str
    deployment_id: str

    def until_status(self, invocation_id: str, *wanted: str | None) -> None:
        until(lambda: status(self.engine, invocation_id) in wanted)


def serve(folder: Path, text: str) -> Process:
    """A process with the app, listening."""
    folder.mkdir()
    (folder / "app.py").write_text(text)
    port = free_port()
    command = [*HYPERCORN, "--bind", f"127.0.0.1:{port}", "app:app"]
    process = Process(command, port, folder=folder, log=folder / "app.log", environment={})
    process.start()
    return process


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("official")
    engine = make_engine(folder)
    cli = Cli(f"http://127.0.0.1:{engine.port}", folder)
    app = serve(folder / "app", APP)
    engine.start()
    try:
        url = f"http://127.0.0.1:{app.port}"
        found = re.search(r"Deployment ID: (dp_1\w{22})", cli("deployments", "register", url))
        assert found is not None
        yield Session(engine, cli, url, found[1])
    finally:
        engine.kill()
        app.kill()


@pytest.fixture
def cli(session: Session) -> Cli:
    return session.cli


@pytest.fixture
def engine(session: Session) -> Engine:
    return session.engine


# About the engine


def test_whoami(session: Session, cli: Cli) -> None:
    said = cli("whoami")
    assert f"Admin base URL http://127.0.0.1:{session.engine.port}/" in said
    assert f"[OK]: Admin Service 'http://127.0.0.1:{session.engine.port}/' is healthy!" in said
    assert f"Advertised ingress address http://127.0.0.1:{session.engine.ingress_port}/" in said


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("rules", "No rules defined."),
        ("vqueues", "No virtual queues found."),
        ("subscriptions", "No subscriptions registered."),
        ("kafka-clusters", "No Kafka clusters registered."),
    ],
)
def test_what_there_is_none_of(cli: Cli, command: str, says: str) -> None:
    assert cli(command, "list") == says


@pytest.mark.skipif(engine_under_test() == "restate", reason="a Restate server can")
def test_what_cannot_be_made(cli: Cli) -> None:
    assert "Flow control (limit rules, virtual queues) is not supported." in cli.fails(
        "rules", "set", "*", "--concurrency", "3"
    )


# Deployments


def test_the_life_of_a_deployment(session: Session, cli: Cli, tmp_path: Path) -> None:
    app = serve(tmp_path / "other", OTHER_APP)
    url = f"http://127.0.0.1:{app.port}"
    try:
        said = cli("deployments", "register", url, "--metadata", "team=tools", "--extra-header", "x-a=b")
        assert "SERVICES THAT WILL BE ADDED:\n- Other\nType: Service\nHANDLER INPUT OUTPUT\necho JSON string" in said
        found = re.search(r"\[OK\]: DEPLOYMENT:\nDeployment ID: (dp_\w+)\nSERVICE REV\nOther 1", said)
        assert found is not None, said
        described = cli("deployments", "describe", found[1])
        assert "x-a: b" in described.replace('"', "")
        again = cli("deployments", "register", url)
        assert f"Deployment already exists with id {found[1]}" in again
        forced = cli("deployments", "register", url, "--force")
        assert "SERVICES THAT WILL BE UPDATED:\n- Other\nType: Service\nRevision: 1 -> 2" in forced
        assert "already known to the server under the ID" in forced
        assert f"Deployment ID: {found[1]}\nSERVICE REV\nOther 2" in forced
        old_protocol = cli("deployments", "register", url, "--force", "--use-http1.1")
        assert "Other 3" in old_protocol
        assert "Protocol Style: Request/Response" in cli("deployments", "describe", found[1])
        refused = cli.fails("deployments", "remove", found[1])
        assert "[ERR]: Deployment is still Active." in refused
        assert "you can use --force to forcefully remove this deployment" in refused
        assert f"[OK]: Deployment {found[1]} removed successfully" in cli("deployments", "remove", found[1], "--force")
        assert found[1] not in cli("deployments", "list")
    finally:
        app.kill()


def test_a_deployment_that_cannot_be_registered(session: Session, cli: Cli) -> None:
    said = cli.fails("deployments", "register", f"http://127.0.0.1:{free_port()}")
    assert said.startswith("Error: META0003 [META0003]")
    assert "onnection refused" in said
    assert "-> Http status code 500 Internal Server Error" in said
    elsewhere = cli.fails("deployments", "register", f"http://127.0.0.1:{session.engine.ingress_port}")
    assert re.match(r"Error: META00(03|14) ", elsewhere)


def test_listing_deployments(session: Session, cli: Cli) -> None:
    listed = cli("deployments", "list")
    head, *rows = listed.splitlines()
    assert head == "DEPLOYMENT TYPE ID CREATED-AT"
    assert re.match(rf"{session.url}/ HTTP {session.deployment_id} \w+ \d+ \w+ \d+ [\d:]+ \+00:00 - \w+ \[1\]", rows[0])
    assert {row.removeprefix("- ") for row in rows[1:]} <= {"Steps [1]", "Flow [1]", "Counter [1]"}
    extra = cli("deployments", "list", "--extra")
    assert extra.startswith("DEPLOYMENT TYPE STATUS ACTIVE-INVOCATIONS ID CREATED-AT SERVICES")
    assert re.search(rf"{session.url}/ HTTP Active \d+ {session.deployment_id}", extra)


def test_describing_a_deployment(session: Session, cli: Cli) -> None:
    said = cli("deployments", "describe", session.deployment_id)
    for line in (
        f"ID: {session.deployment_id}",
        "Transport: HTTP/2.0",
        "Protocol Style: Bidirectional Stream",
        f"Endpoint: {session.url}/",
        "Protocol: [5, 7]",
        "- Flow\nType: Workflow workflow\nRevision: 1 [Latest]\nHANDLER INPUT OUTPUT\nrun JSON string JSON string",
        "hold JSON number none",
    ):
        assert line in said
    assert re.search(r"SDK Version restate-sdk-python/\d", said)
    extra = cli("deployments", "describe", session.deployment_id, "--extra")
    assert re.search(r"Status: Active\nInvocations: \d+", extra)
    assert "HANDLER INPUT OUTPUT ACTIVE-INVOCATIONS" in extra
    assert "does not exist" in cli.fails("deployments", "describe", "dp_1" + "0" * 22)


# Services


def test_services(session: Session, cli: Cli) -> None:
    listed = cli("services", "list")
    assert listed.startswith("NAME REVISION FLAVOR DEPLOYMENT-TYPE DEPLOYMENT-ID")
    assert f"[public] Counter 1 virtual object HTTP {session.deployment_id}" in listed
    assert f"[public] Steps 1 HTTP {session.deployment_id}" in listed
    assert f"{session.url}/" in cli("services", "list", "--extra")
    described = cli("services", "describe", "Counter")
    assert "Name: Counter\nService type: VirtualObject\nRevision: 1\nPublic: true" in described
    assert "HANDLER INPUT OUTPUT\n" in described
    assert "add JSON integer JSON integer" in described
    assert "The requested service 'Nope' does not exist" in cli.fails("services", "describe", "Nope")


def test_the_status_of_services(session: Session, cli: Cli, engine: Engine) -> None:
    assert engine.call("/Steps/two", 3).body >= 5
    holder = send(engine, "/Counter/status/hold/send", 3600)
    queued = send(engine, "/Counter/status/add/send", 1)
    session.until_status(holder, "running")
    session.until_status(queued, "pending")
    said = cli("services", "status")
    assert "PENDING SCHEDULED READY RUNNING BACKING-OFF SUSPENDED OLDEST-NON-SUSPENDED-INVOCATION" in said
    assert re.search(rf"two (\S+ ){{6}}{ID} completed \(invoked now ago\)", said)
    assert "QUEUE LOCKED-BY HANDLER NOTES" in said
    one = cli("services", "status", "Counter")
    assert re.search(rf"hold - - - 1 - - {ID} \w+ \(invoked now ago\)", one)
    assert f"status 1 {holder} (running) hold" in one
    assert re.search(rf"{queued}\nTarget: Counter/status/add\nStatus: pending", one)
    assert "The requested service 'Nope' does not exist" in cli.fails("services", "status", "Nope")
    cli("invocations", "kill", "Counter/status")


def test_the_settings_of_a_service(cli: Cli) -> None:
    said = cli("services", "config", "view", "Flow")
    assert said.startswith("Name: Flow\nService type: Workflow\nPublic: true")
    assert "Workflow retention time: 1d" in said
    assert "Inactivity timeout: 1m" in said
    assert "Abort timeout: 10m" in said
    assert re.search(r"Max attempts: 70\nOn max attempts: Pause\nInitial interval: 500ms", said)
    cli("services", "config", "patch", "Flow", "--workflow-completion-retention", "2h", "--abort-timeout", "3m 20s")
    changed = cli("services", "config", "view", "Flow")
    assert "Workflow retention time: 2h" in changed
    assert "Abort timeout: 3m 20s" in changed
    refused = cli.fails("services", "config", "patch", "Steps", "--workflow-completion-retention", "1h")
    assert "modifying retention time for service type Service is unsupported" in refused


# Invocations


def test_listing_invocations(session: Session, cli: Cli, engine: Engine) -> None:
    done = engine.call("/Steps/two", 3).invocation_id
    refused = engine.call("/Steps/refuse", 3).invocation_id
    later = send(engine, "/Steps/nap/send?delay=1h", 5)
    said = cli("invocations", "list")
    assert re.search(rf"\[[\d-]+ [\d:.]+ \+00:00\] {later}\nTarget: Steps/nap\nStatus: scheduled", said)
    assert re.search(r"Showing \d+/\d+ invocations. Query took [\d.]+ms", said)
    assert done not in said
    all_of_them = cli("invocations", "list", "--all", "--service", "Steps", "--limit", "500")
    assert re.search(rf"{done}\nTarget: Steps/two\nStatus: completed with success", all_of_them)
    assert re.search(
        rf"{refused}\nTarget: Steps/refuse\nStatus: completed with failure\n(.*\n)*?"
        rf"Deployment: {session.deployment_id} \[required\]\nError: \[418\] we do not do that",
        all_of_them,
    )
    called = cli("invocations", "list", "--all", "--service", "Counter", "--key", "two", "--limit", "500")
    assert f"Invoked by: Steps/two {done}" in called
    failed = cli("invocations", "list", "--completion-result", "failure", "--limit", "500")
    assert refused in failed and done not in failed
    by_handler = cli("invocations", "list", "--handler", "nap", "--status", "scheduled,running")
    assert later in by_handler and "refuse" not in by_handler
    assert later not in cli("invocations", "list", "--virtual-objects-only")
    assert "Showing 0/0 invocations." in cli("invocations", "list", "--zombie")
    assert refused in cli("invocations", "list", "--all", "--deployment", session.deployment_id, "--limit", "500")
    oldest = cli("invocations", "list", "--oldest-first", "--all", "--limit", "1")
    assert re.search(r"Showing 1/\d+\+ invocations.", oldest)
    assert "Killed 1 invocations" in cli("invocations", "kill", later)


def test_describing_a_completed_invocation(session: Session, cli: Cli, engine: Engine) -> None:
    said = cli("invocations", "describe", engine.call("/Steps/two", 3).invocation_id)
    assert "Target: Steps/two\nStatus: completed with success" in said
    assert f"This invocation is bound to run on deployment '{session.deployment_id}'" in said
    lines = [re.sub(r"\[[\d-]+ [\d:.]+ \+00:00\]", "AT", line) for line in said.splitlines()]
    journal = [line.partition(" AT ")[2] for line in lines if " AT " in line]
    assert [re.sub(rf"{ID}|until .*", "...", line) for line in journal] == [
        "Command: Input",
        "Command: Run [first]",
        "Notification: Run",
        "Command: Sleep ...",
        "Notification: Sleep",
        "Command: Call Counter/two/add ...",
        "Notification: CallInvocationId",
        "Notification: Call",
        "Command: Output",
    ]
    assert said.endswith("completed")


def test_describing_invocations_that_go_on(session: Session, cli: Cli, engine: Engine) -> None:
    failing, napping = send(engine, "/Steps/fail/send", 1), send(engine, "/Steps/nap/send", 3600)
    session.until_status(failing, "backing-off")
    session.until_status(napping, "running")
    said = cli("invocations", "describe", failing)
    assert re.search(r"Status: (backing-off|running) \(.*\. Retried \d+ time\(s\)\.", said)
    assert "[500 Internal] ValueError('not today')" in said
    assert "ValueError: not today" in said
    assert re.search(r"Sleep until .* \(59 minutes, \d+ seconds", cli("invocations", "describe", napping))
    assert f"Invocation {UNKNOWN_ID} not found!" in cli.fails("invocations", "describe", UNKNOWN_ID)
    assert "[OK]: Killed 1 invocations" in cli("invocations", "kill", failing)
    assert "[OK]: Killed 1 invocations" in cli("invocations", "kill", napping)


def test_pausing_and_resuming(session: Session, cli: Cli, engine: Engine) -> None:
    failing = send(engine, "/Steps/fail/send", 1)
    session.until_status(failing, "backing-off")
    said = cli("invocations", "pause", failing)
    assert f"ID TARGET\n{failing} Steps/fail" in said
    assert "[OK]: Paused 1 invocations" in said
    session.until_status(failing, "paused")
    assert "Status: paused" in cli("invocations", "describe", failing)
    assert "[OK]: Resumed 1 invocations" in cli("invocations", "resume", failing)
    session.until_status(failing, "backing-off", "running")
    assert "[OK]: Killed 1 invocations" in cli("invocations", "kill", failing)
    assert "No invocations found for query" in cli.fails("invocations", "resume", failing)


def test_cancelling_restarting_and_purging(session: Session, cli: Cli, engine: Engine) -> None:
    napping = send(engine, "/Steps/nap/send", 3600)
    session.until_status(napping, "running")
    assert "[OK]: Cancelled 1 invocations" in cli("invocations", "cancel", napping)
    session.until_status(napping, "completed")
    said = cli("invocations", "restart-as-new", napping)
    found = re.search(rf"\[OK\]: Restarted 1 invocations:\nOLD ID NEW ID\n{napping} ({ID})", said)
    assert found is not None, said
    session.until_status(found[1], "running")
    assert "[OK]: Purged 1 invocations" in cli("invocations", "purge", napping)
    session.until_status(napping, None)
    assert "No invocations found for query" in cli.fails("invocations", "purge", found[1])
    assert "[OK]: Killed 1 invocations" in cli("invocations", "cancel", "--kill", found[1])


def test_operations_on_many_by_target(session: Session, cli: Cli, engine: Engine) -> None:
    holder = send(engine, "/Counter/many/hold/send", 3600)
    queued = [send(engine, "/Counter/many/add/send", 1) for _ in range(3)]
    beside = send(engine, "/Counter/manyfold/hold/send", 3600)
    session.until_status(holder, "running")
    session.until_status(beside, "running")
    assert "No invocations found for query counter/many!" in cli.fails("invocations", "cancel", "counter/many")
    said = cli("invocations", "cancel", "Counter/many")
    assert all(f"{name} Counter/many/" in said for name in (holder, *queued))
    assert beside not in said
    assert "[OK]: Cancelled 4 invocations" in said
    session.until_status(holder, "completed")
    assert status(engine, beside) == "running"
    assert "[OK]: Killed 1 invocations" in cli("invocations", "kill", "Counter/manyfold/hold")


# State


def test_state(cli: Cli, engine: Engine, tmp_path: Path) -> None:
    assert engine.call("/Counter/kv/add", 1).body == 1
    assert cli("kv", "get", "Counter", "kv").endswith("KEY VALUE\ncount 1")
    patch = [{"op": "replace", "path": "/count", "value": 41}, {"op": "add", "path": "/note", "value": "h\u00e9"}]
    said = cli("kv", "patch", "Counter", "kv", "--patch", json.dumps(patch))
    assert "Successfully submitted state update." in said
    until(lambda: engine.call("/Counter/kv/add", 1).body > 40)
    assert json.loads(cli.data("kv", "get", "Counter", "kv", "--plain"))["note"] == "h\u00e9"
    editor = tmp_path / "editor"
    editor.write_text(f"#!{sys.executable}\nimport pathlib, re, sys\n" + EDIT)
    editor.chmod(0o755)
    cli("state", "edit", "Counter", "kv", environment={"EDITOR": str(editor)})
    until(lambda: engine.call("/Counter/kv/add", 1).body > 70)
    cleared = cli("kv", "clear", "Counter/kv", "--force")
    assert re.search(r"SERVICE/KEY STATE\nCounter/kv \[(count, note|note, count)\]", cleared)
    until(lambda: not engine.query("select key from state where service_name = 'Counter' and service_key = 'kv'"))
    assert cli("kv", "get", "Counter", "kv").endswith("KEY VALUE")


# SQL


def test_sql(cli: Cli, session: Session) -> None:
    said = cli(
        "sql", "select name, revision, public, ty, deployment_id from sys_service where name != 'Other' order by name"
    )
    assert said.startswith(
        "NAME REVISION PUBLIC TY DEPLOYMENT_ID\n"
        f"Counter 1 true virtual_object {session.deployment_id}\n"
        f"Flow 1 true workflow {session.deployment_id}\n"
        f"Steps 1 true service {session.deployment_id}\n"
        "3 rows. Query took "
    )
    assert "0 rows. Query took" in cli("sql", "select * from sys_rules")
    assert cli("sql", "select count(*) from sys_rules").startswith("COUNT(*)\n0\n1 rows.")
    assert "sys_journal_events BASE TABLE" in cli("sql", "show tables")
    assert "value LargeBinary YES" in cli("sql", "describe state")


def test_sql_as_json(cli: Cli, engine: Engine) -> None:
    done = engine.call("/Steps/two", 3).invocation_id
    sql = (
        "select id, status, created_at, completion_retention, journal_size, partition_key, trace_id, "
        f"suspended_waiting_for_signals from sys_invocation_status where id = '{done}'"
    )
    (row,) = json.loads(cli.data("sql", "--json", sql))
    (same,) = engine.query(sql)
    assert row == same
    assert (row["completion_retention"], row["journal_size"]) == ("PT86400S", 9)
    lines = cli.data("sql", "--jsonl", f"select index, raw from sys_journal where id = '{done}' order by index")
    rows = [json.loads(line) for line in lines.splitlines()]
    assert rows == engine.query(f"select index, raw from sys_journal where id = '{done}' order by index")


@pytest.mark.parametrize(
    ("sql", "says", "code"),
    [
        ("select nope from state", "Schema error: No field named nope. Valid fields are state.partition_key", 500),
        ("select * from nope", "Error during planning: table 'restate.public.nope' not found", 500),
        ("delete from state", "Error during planning: DML not supported: Delete", 400),
        ("selec", "SQL error: ParserError(", 400),
        ("select 1; select 2", "This feature is not implemented", 500),
    ],
)
def test_sql_that_cannot_be_run(cli: Cli, sql: str, says: str, code: int) -> None:
    said = cli.fails("sql", sql)
    assert said.startswith(f"Error: <UNKNOWN> Datafusion error: {says}")
    assert f"-> Http status code {code} " in said


@pytest.mark.parametrize(("sql", "rows"), SAMPLES)
def test_the_dialect(engine: Engine, sql: str, rows: list[dict[str, Any]]) -> None:
    assert engine.query(sql) == rows


@pytest.mark.parametrize("table", TABLES)
def test_the_columns_of_a_table(engine: Engine, table: str) -> None:
    found = engine.query(f"describe {table}")
    assert {row["column_name"]: row["data_type"] for row in found} == {
        name: type_.value for name, type_ in TABLES[table].items()
    }
    assert [row["column_name"] for row in found] == list(TABLES[table])


# An app that `rewake run` runs by itself


def test_beside_rewake_run(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with Running("run", "app.py", cwd=tmp_path) as running:
        cli = Cli(running.admin_url, tmp_path)
        assert "is healthy!" in cli("whoami")
        found = re.search(r"worker:app.py HTTP (dp_1\w{22}) ", cli("deployments", "list"))
        assert found is not None
        assert "Endpoint: worker:app.py" in cli("deployments", "describe", found[1])
        assert f"[public] Steps 1 HTTP {found[1]} worker:app.py" in cli("services", "list", "--extra")
        assert "Endpoint: worker:app.py" in cli("services", "describe", "Steps")
        assert running.call("/Steps/two", 3) == (200, 5)
        listed = cli("invocations", "list", "--all")
        done = re.search(rf"({ID})\nTarget: Steps/two\nStatus: completed with success", listed)
        assert done is not None
        assert "Command: Run [first]" in cli("invocations", "describe", done[1])
        assert "two 0" in cli("services", "status", "Counter")
        assert cli("kv", "get", "Counter", "two").endswith("KEY VALUE\ncount 1")
