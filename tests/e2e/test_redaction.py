"""What patterns of the user's hide: nothing that is shown, logged or answered by SQL has it, and what is not kept is
in no file."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import Running
from raw_http import fetch

from rewake.sql.catalog import TABLES

HIDDEN = "078-05-1120"
NOT_KEPT = "4111111111111111"

JSON = {"content-type": "application/json", "accept": "application/json"}
APP = """
import restate

desk = restate.VirtualObject("Desk")
tries = []


@desk.handler()
async def ask(ctx: restate.ObjectContext, who: dict) -> str:
    ctx.set("person", who)
    ctx.set("card_length", len(who["card"]))
    await ctx.run_typed("look up", lambda: {"number": who["number"], "city": "Ghent"})
    if not tries:
        tries.append(1)
        raise ValueError("no such person: " + who["number"])
    await ctx.object_call(tell, "other", who["number"])
    raise restate.TerminalError("cannot help " + who["number"])


@desk.handler()
async def tell(ctx: restate.ObjectContext, number: str) -> str:
    return "I know " + number


app = restate.app(services=[desk])
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("redaction")
    (folder / "app.py").write_text(APP)
    patterns = {"redact": [r"\b\d{3}-\d{2}-\d{4}\b"], "redact-bodies": [r'"card": ?"(\d+)"']}
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in patterns.items()]
    (folder / "rewake.toml").write_text("".join(lines))
    with Running("run", "app.py", "--log-level", "debug", cwd=folder) as running:
        status, answer = running.call("/Desk/ada/ask", {"number": HIDDEN, "card": NOT_KEPT})
        assert (status, HIDDEN in answer["message"]) == (500, True), answer
        yield running


def query(engine: Running, sql: str) -> str:
    """The answer to a query as it comes over HTTP."""
    answer = fetch(engine.admin_port, "POST", "/query", JSON, json.dumps({"query": sql}).encode())
    assert answer.status == 200, answer.body
    return answer.body.decode()


def _run(engine: Running) -> str:
    (run,) = engine.rows("select id from sys_invocation where target_handler_name = 'ask'")
    return str(run["id"])


def get(engine: Running, path: str, accept: str, status: int = 200) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", engine.admin_port, timeout=30)
    try:
        connection.request("GET", path, headers={"accept": accept})
        response = connection.getresponse()
        assert response.status == status, (path, response.status)
        return response.read().decode()
    finally:
        connection.close()


def test_no_page_shows_it(engine: Running) -> None:
    seen = {"/ui/", "/ui/sessions/Desk?key=ada", "/ui/sessions/Desk?key=other"}
    open_pages = list(seen)
    shown = ""
    while open_pages:
        path = open_pages.pop()
        shown += (page := get(engine, path, "text/html"))
        for link in re.findall(r'(?:href|data-\w+|hx-get)="(/ui/(?:runs|sessions)[^"#]*)', page):
            link = link.replace("&amp;", "&")
            if link not in seen and len(seen) < 60 and "stream" not in link:
                seen.add(link)
                open_pages.append(link)
        shown += get(engine, path, "application/json")
    assert len(seen) > 10
    assert HIDDEN not in shown
    assert shown.count("[redacted]") > 10
    assert "Ghent" in shown


def test_no_query_shows_it(engine: Running) -> None:
    told = "".join(query(engine, f"select * from {table}") for table in TABLES)
    assert HIDDEN not in told
    assert HIDDEN.encode().hex() not in told
    assert b"[redacted]".hex() in told
    assert b"Ghent".hex() in told
    assert get(engine, f"/invocations/{_run(engine)}/stream", "text/event-stream", status=501)
    assert '"n":0' in query(engine, "select count(*) as n from state where value_utf8 like '%078%'")


def test_no_command_and_no_log_line_shows_it(engine: Running) -> None:
    told = [
        engine.cli("invocations", "show", _run(engine)),
        engine.cli("invocations", "list"),
        engine.cli("state", "get", "Desk", "ada"),
    ]
    assert [result.returncode for result in told] == [0, 0, 0]
    assert "[redacted]" in told[0].stdout
    assert not [line for line in (*engine.lines, *(result.stdout for result in told)) if HIDDEN in line]


def test_what_is_hidden_is_not_written_back(engine: Running) -> None:
    for args in (("set", "Desk", "ada", "more", "1", "--force"), ("export", "out.jsonl")):
        refused = engine.cli("state", *args)
        assert refused.returncode != 0
        assert "--redact" in refused.stderr


def test_what_is_not_kept_is_in_no_file(engine: Running) -> None:
    """What is only hidden is there, and the handler saw the other replaced."""
    stored = b"".join(path.read_bytes() for path in (engine.cwd / ".rewake").rglob("*") if path.is_file())
    assert HIDDEN.encode() in stored
    assert NOT_KEPT.encode() not in stored
    assert engine.rows("select value_utf8 from state where key = 'card_length'") == [{"value_utf8": "10"}]


def test_a_pattern_that_is_none_is_refused(tmp_path: Path) -> None:
    from cli_process import rewake

    for pattern in ("(", "x*"):
        refused = rewake("server", "--redact", pattern, cwd=tmp_path)
        assert refused.returncode == 2
        assert f"redact has {pattern!r}" in refused.stderr
