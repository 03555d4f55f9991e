"""Content encrypted at rest, with real processes: in no file as it is, read with the key, forgotten by its key."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import Running, rewake

APP = """
import restate
from restate.exceptions import TerminalError

desk = restate.VirtualObject("Desk")
clerk = restate.Service("Clerk")


@desk.handler()
async def ask(ctx: restate.ObjectContext, name: str) -> str:
    heard = await ctx.get("heard", type_hint=list) or []
    ctx.set("heard", [*heard, name])
    found = await ctx.run_typed("look up", lambda: "clearly " + name)
    _, answer = ctx.awakeable(type_hint=str)
    ctx.set("waits", True)
    return await ctx.service_call(look, found) + " and " + await answer


@desk.handler(kind="shared")
async def recall(ctx: restate.ObjectSharedContext) -> list:
    return await ctx.get("heard", type_hint=list) or []


@clerk.handler()
async def look(ctx: restate.Context, text: str) -> str:
    return await ctx.run_typed("note", lambda: text.upper())
"""
SECRETS = (b"Ada Lovelace", b"ADA LOVELACE", b"a secret answer")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encryption")
    (folder / "app.py").write_text(APP)
    (folder / "keys").write_text(rewake("encryption", "new-key", "first", cwd=folder).stdout)
    (folder / "keys").chmod(0o600)
    return folder


QUICK = ("--inactivity-timeout", "100ms")
OPTIONS = ("--encryption-keys", "keys", "--subject-keys", "subjects")


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Running]:
    with Running("run", "app.py", *OPTIONS, *QUICK, cwd=folder) as running:
        run = running.send("/Desk/ada/ask", "Ada Lovelace")
        awakeable = _awakeable(running, run)
        assert running.call(f"/restate/awakeables/{awakeable}/resolve", "a secret answer")[0] == 202
        status, answer = running.call(f"/restate/invocation/{run}/attach", method="GET")
        assert (status, answer) == (200, "CLEARLY ADA LOVELACE and a secret answer")
        yield running


def _awakeable(engine: Running, run: str) -> str:
    from rewake.core.ids import awakeable_id_format, invocation_id_from_str

    engine.until(f"select 1 from sys_invocation where id = '{run}' and status = 'suspended'")
    return awakeable_id_format(invocation_id_from_str(run), 17)


def page(engine: Running, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", engine.admin_port, timeout=30)
    try:
        connection.request("GET", path, headers={"accept": "text/html"})
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def ask_run(engine: Running) -> str:
    (row,) = engine.rows(
        "select id from sys_invocation where target_handler_name = 'ask' and target_service_key = 'ada'"
    )
    return str(row["id"])


def test_nothing_is_on_the_disk_as_it_is(engine: Running, folder: Path) -> None:
    stored = b"".join(path.read_bytes() for path in (folder / ".rewake").rglob("*") if path.is_file())
    assert not [secret for secret in SECRETS if secret in stored]
    assert b"look up" in stored
    assert engine.call("/Desk/ada/recall") == (200, ["Ada Lovelace"])


def test_pages_of_the_engine_open_it_and_sql_does_not(engine: Running) -> None:
    shown = page(engine, f"/ui/runs/{ask_run(engine)}") + page(engine, "/ui/sessions/Desk?key=ada")
    assert "Ada Lovelace" in shown
    assert "encrypted" not in shown
    assert not engine.rows("select * from sys_journal where entry_json like '%Lovelace%'")


def test_commands_open_it_with_the_keys_and_say_so_without(engine: Running, folder: Path) -> None:
    run, state = ("invocations", "show", ask_run(engine)), ("state", "get", "Desk", "ada")
    without = engine.cli(*run).stdout + engine.cli(*state).stdout
    assert "(encrypted)" in without
    assert "Lovelace" not in without
    opened = engine.cli(*run, *OPTIONS).stdout + engine.cli(*state, *OPTIONS).stdout
    assert "Ada Lovelace" in opened
    assert "(encrypted)" not in opened
    closed = engine.cli(*state, "heard")
    assert "RW1025" in closed.stderr
    assert engine.cli(*state, "heard", *OPTIONS).stdout == '["Ada Lovelace"]\n'


def test_a_command_writes_it_encrypted(engine: Running, folder: Path) -> None:
    assert engine.cli("state", "set", "Desk", "bob", "heard", '["Bob Secretly"]', *OPTIONS).returncode == 0
    engine.until("select 1 from state where service_key = 'bob'")
    (row,) = engine.rows("select value from state where service_key = 'bob'")
    assert row["value"].startswith("0052575301")
    assert engine.call("/Desk/bob/recall") == (200, ["Bob Secretly"])


def test_another_ui_opens_it_with_the_keys(engine: Running, folder: Path) -> None:
    for options, text in ((OPTIONS, "Ada Lovelace"), ((), "(encrypted)")):
        with Running("ui", *options, cwd=folder, REWAKE_ADMIN=engine.admin_url) as ui:
            ui.admin_port = ui.port
            assert text in page(ui, "/ui/sessions/Desk?key=ada")


def test_an_export_has_it_open_with_the_keys(engine: Running, folder: Path) -> None:
    assert engine.cli("state", "export", "open.jsonl", *OPTIONS).returncode == 0
    assert engine.cli("state", "export", "sealed.jsonl").returncode == 0
    records = [json.loads(line) for line in (folder / "open.jsonl").read_text().splitlines()[1:-1]]
    assert {record["key"] for record in records} >= {"ada"}
    assert (folder / "open.jsonl").read_bytes() != (folder / "sealed.jsonl").read_bytes()
    again = engine.cli("state", "import", "open.jsonl", *OPTIONS)
    assert "unchanged" in again.stdout, again.stderr
    assert "RW1025" in engine.cli("state", "import", "open.jsonl").stderr


def test_keys_are_rotated_missed_and_deleted(folder: Path, tmp_path: Path) -> None:
    """A worker without the key fails attempts, which go on once it is there; what is forgotten is gone for good."""
    (tmp_path / "app.py").write_text(APP)
    old = (folder / "keys").read_text()
    new = rewake("encryption", "new-key", "second", cwd=tmp_path).stdout
    (tmp_path / "keys").write_text(old)
    with Running("run", "app.py", *OPTIONS, *QUICK, cwd=tmp_path) as engine:
        run = engine.send("/Desk/eve/ask", "Eve")
        plain = engine.send("/Clerk/look", "Plain")
        assert engine.call(f"/restate/invocation/{plain}/attach", method="GET") == (200, "PLAIN")
        awakeable = _awakeable(engine, run)
    (tmp_path / "keys").write_text(new)
    with Running("run", "app.py", *OPTIONS, *QUICK, cwd=tmp_path) as engine:
        status, refused = engine.call(f"/restate/awakeables/{awakeable}/resolve", "yes")
        assert (status, "'first'" in refused["message"]) == (500, True)
        assert engine.cli("invocations", "resume", run).returncode == 0
        (row,) = engine.until(f"select last_failure from sys_invocation where id = '{run}' and retry_count > 1")
        assert "There is no encryption key 'first' here" in row["last_failure"]
    (tmp_path / "keys").write_text(new + old)
    with Running("run", "app.py", *OPTIONS, *QUICK, cwd=tmp_path) as engine:
        assert engine.call(f"/restate/awakeables/{awakeable}/resolve", "yes")[0] == 202
        assert engine.call(f"/restate/invocation/{run}/attach", method="GET") == (200, "CLEARLY EVE and yes")
        assert rewake("encryption", "forget", "Desk", "eve", *OPTIONS[2:], cwd=tmp_path).returncode == 0
        show = engine.cli("invocations", "show", run, *OPTIONS)
        assert not [word for word in ("Eve", "EVE", "clearly") if word in show.stdout]
        assert "(encrypted)" in show.stdout
        called = engine.rows("select id from sys_invocation where target_service_name = 'Clerk'")
        texts = [engine.cli("invocations", "show", row["id"], *OPTIONS).stdout for row in called]
        assert sum("PLAIN" in text for text in texts) == 1
        assert not [text for text in texts if "CLEARLY" in text]


def test_keys_that_are_none_stop_the_start(tmp_path: Path) -> None:
    result = rewake("server", "--encryption-keys", "nowhere", cwd=tmp_path)
    assert (result.returncode != 0, "RW1025" in result.stderr) == (True, True)
    result = rewake("server", "--subject-keys", "folder", cwd=tmp_path)
    assert (result.returncode, "--encryption-keys" in result.stderr) == (2, True)
