"""The subcommands that read and change a running engine, each over real HTTP against `rewake run`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import APP, Running, rewake

UNKNOWN_ID = "inv_1" + "0" * 33


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("clients")
    (folder / "app.py").write_text(APP)
    with Running("run", "app.py", cwd=folder) as running:
        yield running


# Invocations


def test_list_and_its_filters(engine: Running) -> None:
    assert engine.call("/Steps/two", 3)[0] == 200
    assert engine.call("/Steps/refuse", 1)[0] == 418
    result = engine.cli("invocations", "list")
    assert result.returncode == 0
    head, *lines = result.stdout.splitlines()
    assert head.split() == ["id", "target", "status", "created", "took", "about"]
    assert any(re.search(r"Steps/two +completed .* ok$", line) for line in lines)
    assert any(re.search(r"Steps/refuse +completed .*\[418\] we do not do that", line) for line in lines)
    only = json.loads(engine.cli("invocations", "list", "--service", "Counter", "--json").stdout)
    assert {row["target"].partition("/")[0] for row in only} == {"Counter"}
    assert engine.cli("invocations", "list", "--status", "paused").stdout == ""
    assert len(json.loads(engine.cli("invocations", "list", "--limit", "1", "--json").stdout)) == 1
    assert engine.cli("invocations", "list", "--status", "asleep").returncode == 2


def test_show_prints_the_journal(engine: Running) -> None:
    invocation_id = engine.send("/Steps/two", 3)
    engine.until(f"select id from sys_invocation where id = '{invocation_id}' and status = 'completed'")
    text = engine.cli("invocations", "show", invocation_id).stdout
    assert text.startswith("Steps/two  completed\n")
    assert re.search(r"\n0 +\+0.000 s +Input +3\n", text)
    assert re.search(r"\n1 +\+\d\.\d{3} s +\d+ ms +Run +first +1\n", text)
    assert re.search(r"Call +Counter/k/add +\d+\n", text)
    assert re.search(r"Output +\d+$", text.rstrip())
    told = json.loads(engine.cli("invocations", "show", invocation_id, "--json").stdout)
    assert told["id"] == invocation_id
    assert told["journal"][0]["entry_type"] == "Command: Input"
    assert told["effects"] == []


def test_show_prints_failures(engine: Running) -> None:
    invocation_id = engine.send("/Steps/fail", 3)
    engine.until(f"select id from sys_journal_events where id = '{invocation_id}'")
    text = engine.cli("invocations", "show", invocation_id).stdout
    assert "last failure" in text
    assert "RT0007" in text
    assert "not today" in text
    assert engine.cli("invocations", "kill", invocation_id).stdout == f"{invocation_id} killed\n"


def test_cancel_then_restart_then_purge(engine: Running) -> None:
    invocation_id = engine.send("/Steps/nap", 3600)
    engine.until(f"select id from sys_invocation where id = '{invocation_id}' and status = 'running'")
    assert engine.cli("invocations", "cancel", invocation_id).stdout == f"{invocation_id} is being cancelled\n"
    engine.until(f"select id from sys_invocation where id = '{invocation_id}' and status = 'completed'")
    restarted = json.loads(engine.cli("invocations", "restart", invocation_id, "--json").stdout)
    new_id = restarted[0]["new_invocation_id"]
    engine.until(f"select id from sys_invocation where id = '{new_id}' and restarted_from = '{invocation_id}'")
    refused = engine.cli("invocations", "purge", new_id)
    assert refused.returncode == 5
    assert "not yet completed" in refused.stderr
    assert engine.cli("invocations", "kill", new_id).returncode == 0
    assert engine.cli("invocations", "purge", invocation_id, new_id).returncode == 0
    assert engine.rows(f"select id from sys_invocation where id in ('{invocation_id}', '{new_id}')") == []


def test_pause_and_resume(engine: Running) -> None:
    invocation_id = engine.send("/Steps/fail", 1)
    engine.until(f"select id from sys_invocation where id = '{invocation_id}' and status = 'backing-off'")
    assert engine.cli("invocations", "pause", invocation_id).returncode == 0
    engine.until(f"select id from sys_invocation where id = '{invocation_id}' and status = 'paused'")
    assert engine.cli("invocations", "resume", invocation_id).stdout == f"{invocation_id} resumed\n"
    engine.until(f"select id from sys_invocation where id = '{invocation_id}' and status in ('running', 'backing-off')")
    assert engine.cli("invocations", "kill", invocation_id).returncode == 0


@pytest.mark.parametrize(
    ("subcommand", "invocation_id"),
    [
        *((each, UNKNOWN_ID) for each in ("show", "cancel", "kill", "pause", "purge", "restart", "resume")),
        ("show", "nonsense"),
        ("cancel", "nonsense"),
    ],
)
def test_an_unknown_invocation(engine: Running, subcommand: str, invocation_id: str) -> None:
    result = engine.cli("invocations", subcommand, invocation_id)
    assert result.returncode == 3
    assert invocation_id in result.stderr
    assert result.stdout == ""


def test_of_several_ids_the_good_ones_go_through(engine: Running) -> None:
    invocation_id = engine.send("/Steps/nap", 3600)
    result = engine.cli("invocations", "kill", UNKNOWN_ID, invocation_id, "--json")
    assert result.returncode == 3
    told = json.loads(result.stdout)
    assert "error" in told[0]
    assert told[1]["done"] == "killed"


# Services and deployments


def test_services(engine: Running) -> None:
    result = engine.cli("services", "list")
    assert re.search(r"Counter +VirtualObject +1 +yes +dp_\w+ +add\n", result.stdout)
    shown = engine.cli("services", "show", "Steps").stdout
    assert re.search(r"two +- +yes +JSON integer +JSON integer +Two steps and a call\.", shown)
    assert "70 attempts, then pause" in shown
    told = json.loads(engine.cli("services", "show", "Steps", "--json").stdout)
    assert told["ty"] == "Service"
    missing = engine.cli("services", "show", "Nope")
    assert (missing.returncode, missing.stdout) == (3, "")
    assert "Nope" in missing.stderr


def test_deployments(engine: Running) -> None:
    listed = engine.cli("deployments", "list").stdout
    assert "worker:app.py" in listed
    (deployment,) = json.loads(engine.cli("deployments", "list", "--json").stdout)
    shown = engine.cli("deployments", "show", deployment["id"]).stdout
    assert "restate-sdk-python" in shown
    assert re.search(r"Steps +Service +1", shown)
    assert engine.cli("deployments", "show", "dp_1" + "0" * 22).returncode == 3


# State


def test_state(engine: Running) -> None:
    assert engine.call("/Counter/s/add", 2) == (200, 2)
    assert re.search(r"count +2\n", engine.cli("state", "get", "Counter", "s").stdout)
    assert engine.cli("state", "set", "Counter", "s", "count", "41").returncode == 0
    assert engine.cli("state", "set", "Counter", "s", "note", '"hello"').returncode == 0
    assert engine.call("/Counter/s/add", 1) == (200, 42)
    assert engine.cli("state", "get", "Counter", "s", "count").stdout == "42\n"
    assert json.loads(engine.cli("state", "get", "Counter", "s", "--json").stdout) == {"count": 42, "note": "hello"}
    assert engine.cli("state", "clear", "Counter", "s", "note").returncode == 0
    engine.call("/Counter/s/add", 0)
    assert json.loads(engine.cli("state", "get", "Counter", "s", "--json").stdout) == {"count": 42}
    assert engine.cli("state", "clear", "Counter", "s").returncode == 0
    assert engine.call("/Counter/s/add", 1) == (200, 1)


def test_state_that_is_not_there(engine: Running) -> None:
    engine.call("/Counter/t/add", 2)
    result = engine.cli("state", "get", "Counter", "t", "cuont")
    assert result.returncode == 3
    assert "Did you mean count?" in result.stderr
    assert engine.cli("state", "get", "Countr", "t").returncode == 3
    assert engine.cli("state", "get", "Counter", "nobody").returncode == 0
    unquoted = engine.cli("state", "set", "Counter", "t", "note", "hello")
    assert unquoted.returncode == 2
    assert "'\"hello\"'" in unquoted.stderr


# SQL


def test_sql(engine: Running) -> None:
    result = engine.cli("sql", "select name, ty from sys_service order by name")
    assert result.stdout.splitlines() == ["name     ty", "Counter  virtual_object", "Steps    service"]
    assert result.stderr == "2 rows\n"
    assert engine.rows("select 1 as one") == [{"one": 1}]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("select statu from sys_invocation", "Did you mean status"),
        ("select nope from sys_service", "information_schema.columns where table_name = 'sys_service'"),
        ("delete from state", "not a SELECT"),
        ("selekt", "selekt"),
    ],
)
def test_sql_that_cannot_be_run(engine: Running, query: str, says: str) -> None:
    """In our words: the public server's are for its own clients."""
    result = engine.cli("sql", query)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("RW50")
    assert says in result.stderr
    assert "Datafusion" not in result.stderr
    assert len(result.stderr) < 500


# Without an engine


def test_nobody_is_there(tmp_path: Path) -> None:
    result = rewake("services", "list", "--admin", "http://127.0.0.1:9", cwd=tmp_path)
    assert result.returncode == 4
    assert result.stderr.startswith("RW1009  Could not reach the admin API at 'http://127.0.0.1:9'.")
    assert "rewake run" in result.stderr


def test_an_address_that_is_none(tmp_path: Path) -> None:
    result = rewake("services", "list", "--admin", "localhost", cwd=tmp_path)
    assert result.returncode == 2
    assert "RW1004" in result.stderr


def test_the_settings_file_says_where_the_engine_is(tmp_path: Path) -> None:
    (tmp_path / "rewake.toml").write_text("admin-port = 9")
    result = rewake("services", "list", cwd=tmp_path)
    assert "'http://127.0.0.1:9'" in result.stderr
