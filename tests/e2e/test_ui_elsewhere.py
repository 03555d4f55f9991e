"""`rewake ui` in front of a server elsewhere: every page and action, on Rewake and on the real restate-server.

In front of Rewake its pages are compared with those of the engine's own UI, field by field. Without npm the tests of
the real server are skipped. See ui_stage.py.
"""

from __future__ import annotations

import http.server
import itertools
import json
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cli_process import Running, rewake
from node_tour import HYPERCORN, Process, free_port, make_engine, until
from ui_stage import Pages, UiStage, ui_staged

pytestmark = pytest.mark.timeout(120)

RUNS = ("tree", "failed", "retried", "killed", "paused", "approval", "queued", "noted", "long", "napping", "scheduled",
        "promised", "kept")  # fmt: skip
REST_S = 10.0
PASSING = """
import restate

passing = restate.Service("Passing")


@passing.handler()
async def by(ctx: restate.Context) -> None:
    return None


app = restate.app([passing])
"""
OPEN = ("paused", "approval", "queued", "napping", "scheduled", "promised")
MOVING = {"end_ms", "ticks", "gaps", "bar", "took_ms", "overview"}
"""What goes on with the clock while a run is open."""


@pytest.fixture(scope="module")
def rewake_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UiStage]:
    with ui_staged(tmp_path_factory.mktemp("rewake"), "rewake") as stage:
        yield stage


@pytest.fixture(scope="module")
def restate_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UiStage]:
    with ui_staged(tmp_path_factory.mktemp("restate"), "restate") as stage:
        yield stage


@pytest.fixture(params=["rewake", "restate"])
def stage(request: pytest.FixtureRequest) -> UiStage:
    found: UiStage = request.getfixturevalue(f"{request.param}_stage")
    return found


def without(value: Any, names: set[str]) -> Any:
    """A page's data without some fields, at any depth."""
    if isinstance(value, dict):
        return {name: without(item, names) for name, item in value.items() if name not in names}
    return [without(item, names) for item in value] if isinstance(value, list) else value


def in_one_order(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those created in the same millisecond by id: one UI has ids as bytes, the other as text."""
    moments = itertools.groupby(runs, lambda run: run["created_at_ms"])
    return [run for _, same in moments for run in sorted(same, key=lambda run: str(run["id"]))]


def assert_alike(stage: UiStage, path: str, query: dict[str, str], untold: set[str]) -> Any:
    """The page of the engine's own UI and ours show the same, once other tests' runs have come to rest."""
    pages: list[Any] = []

    def is_alike() -> bool:
        pages[:] = [without(ui.page(path, **query), untold) for ui in (stage.local, stage.elsewhere)]
        for page in pages:
            if "runs" in page:
                page["runs"] = in_one_order(page["runs"])
        return bool(pages[0] == pages[1])

    with suppress(AssertionError):
        until(is_alike, REST_S)
    assert pages[1] == pages[0]
    return pages[0]


# The pages of Rewake, seen from elsewhere


@pytest.mark.parametrize("name", RUNS)
def test_a_run_looks_as_in_the_engines_own_ui(rewake_stage: UiStage, name: str) -> None:
    # The tables do not have the failures and the last start of a run without an attempt.
    untold = {"retry_count", *(MOVING if name in OPEN else ())}
    run_id = rewake_stage.runs[name]
    assert_alike(rewake_stage, f"/runs/{run_id}/agents", {}, untold)
    page = assert_alike(rewake_stage, f"/runs/{run_id}", {"step": "0"}, untold | {"attempts"})
    assert page["run"]["id"] == run_id
    attempts = [pages.page(f"/runs/{run_id}")["attempts"] for pages in (rewake_stage.local, rewake_stage.elsewhere)]
    assert [[item["error"] for item in each] for each in attempts[:1]] == [[item["error"] for item in attempts[1]]]


def test_a_long_run_looks_as_in_the_engines_own_ui(rewake_stage: UiStage) -> None:
    run_id = rewake_stage.runs["long"]
    for query in ({"row": "200"}, {"row": "1000", "step": "1102"}, {"step": "700", "scale": "work"}):
        page = assert_alike(rewake_stage, f"/runs/{run_id}", query, {"retry_count"})
        assert (page["row_count"], page["entry_count"]) == (1_103, 1_104)
    assert page["step"]["input"]["text"] == "699"


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/sessions", {}),
        ("/sessions", {"service": "Flow"}),
        ("/sessions", {"text": "b"}),
        ("/sessions/Desk", {"key": "a"}),
        ("/sessions/Desk", {"key": "b"}),
        ("/sessions/Flow", {"key": "w"}),
        ("/sessions/Flow", {"key": "k"}),
        ("/sessions/Flow", {"key": "nobody"}),
        ("/services", {}),
        ("/services/Router", {}),
        ("/services/Desk/approve", {}),
        ("/deployments", {}),
    ],
)
def test_a_page_looks_as_in_the_engines_own_ui(rewake_stage: UiStage, path: str, query: dict[str, str]) -> None:
    assert_alike(rewake_stage, path, query, {"retry_count"})


FILTERS: tuple[dict[str, str], ...] = (
    {},
    {"status": "failed"},
    {"status": "suspended,paused"},
    {"service": "Desk", "key": "a"},
    {"handler": "broken", "order": "oldest"},
    {"text": "my car"},
    {"text": "no such account"},
    {"failure": "gone"},
    {"failure": "404"},
    {"waiting": "person"},
    {"agent": "Specialist"},
    {"within": "1h", "order": "target"},
    {"order": "changed"},
    {"order": "status"},
    {"since": "2001-01-01", "until": "2001-01-02"},
)


@pytest.mark.parametrize("query", FILTERS, ids=json.dumps)
def test_a_list_looks_as_in_the_engines_own_ui(rewake_stage: UiStage, query: dict[str, str]) -> None:
    # The agents to choose from are learned as runs are seen; cursors are each UI's own.
    made = {"as_of": str(rewake_stage.made_at_ms)}
    page = assert_alike(rewake_stage, "/", query | made, {"retry_count", "agents", "next_cursor"})
    assert page["runs"] or "since" in query


# What any server shows


def test_the_list_finds_by_every_filter(stage: UiStage) -> None:
    names = {run_id: name for name, run_id in stage.runs.items()}

    def found(**query: str) -> list[str]:
        # A page looks into journals for a while only, so on a busy machine the answer may take several.
        page = stage.elsewhere.page("/", **query)
        runs = page["runs"]
        while page["next_cursor"]:
            page = stage.elsewhere.page("/", **query, cursor=page["next_cursor"])
            runs += page["runs"]
        return [names.get(run["id"], run["handler"]) for run in runs]

    def some(**query: str) -> set[str]:
        return set(found(**query)) & set(RUNS)

    assert some(order="oldest") == set(RUNS)
    assert some(status="failed") == {"failed", "killed"}
    assert some(status="scheduled") == {"scheduled"}
    newest = found(service="Desk", key="a")
    assert sorted(newest) == ["approval", "queued"]
    assert found(service="Desk", key="a", order="oldest") == newest[::-1]
    assert some(text="my car") == {"tree"}
    assert some(text="no such account") == {"failed"}
    assert found(text=stage.runs["noted"]) == ["noted"]
    assert some(failure="the provider is gone") == {"paused"}
    assert some(failure="404") == {"failed"}
    assert some(waiting="person") == {"approval", "promised"}
    assert some(agent="Specialist") == {"tree"}
    assert some(within="1h", handler="ask") == {"tree", "scheduled"}
    assert found(until="2001-01-01") == []
    assert found(text="no such text anywhere") == []


def test_a_list_goes_on_where_its_page_ends(stage: UiStage) -> None:
    runs = [stage.send("/Desk/page/note/send", str(number)) for number in range(120)]
    stage.until_status(runs[-1], "completed")
    seen: dict[str, list[str]] = {}
    for order in ("newest", "oldest", "target"):
        first = stage.elsewhere.page("/", service="Desk", key="page", order=order)
        rest = stage.elsewhere.page("/", service="Desk", key="page", order=order, cursor=first["next_cursor"])
        assert (len(first["runs"]), len(rest["runs"]), rest["next_cursor"]) == (100, 20, None)
        seen[order] = [run["id"] for page in (first, rest) for run in page["runs"]]
    assert seen["newest"] == seen["oldest"][::-1]
    assert set(seen["target"]) == set(seen["newest"]) == set(runs)


def test_runs_are_read_as_what_they_are(stage: UiStage) -> None:
    def page(name: str, **query: str) -> Any:
        return stage.elsewhere.page(f"/runs/{stage.runs[name]}", **query)

    tree = page("tree", step="1")
    assert [(row["depth"], row["kind"], row["title"]) for row in tree["rows"]] == [
        (0, "input", "Input"),
        (0, "step", "Pick specialist"),
        (0, "sleep", "Sleep"),
        (0, "call", "Specialist/answer_it"),
        (1, "step", "Look up"),
        (0, "send", "Send Specialist/note"),
        (0, "output", "Output"),
    ]
    assert tree["result"]["text"] == '"cover in full"'
    assert json.loads(tree["step"]["output"]["text"])["specialist"] == "Specialist"
    assert page("failed")["run"]["problem"] == "[404] no such account"
    retried = page("retried")
    assert ["overloaded" in str(attempt["error"]) for attempt in retried["attempts"]] == [True, False]
    assert page("killed")["run"]["status"] == "failed"
    paused = page("paused")
    assert paused["run"]["status"] == "paused"
    assert "the provider is gone" in paused["run"]["problem"]
    assert paused["errors"]
    (approval,) = [item for item in page("approval")["waiting"] if item["awakeable"]]
    assert json.loads(approval["asked"])["amount"] == 12
    assert [item["kind"] for item in page("queued")["waiting"]] == ["queue"]
    assert [item["kind"] for item in page("napping")["waiting"]] == ["sleep"]
    assert [item["title"] for item in page("promised")["waiting"]] == ["Wait for promise go"]
    assert page("kept")["result"]["text"] == '"now"'
    agents = stage.elsewhere.page(f"/runs/{stage.runs['tree']}/agents")["trace"]
    assert agents["agents"] == ["Router", "Specialist"]
    (decision,) = [turn for turn in agents["turns"] if turn["kind"] == "decision"]
    assert (decision["choice"], decision["candidates"]) == ("Specialist", ["Specialist", "Billing"])


def test_sessions_and_services_are_read_as_what_they_are(stage: UiStage) -> None:
    session = stage.elsewhere.page("/sessions/Desk", key="a")
    assert session["holder"]["id"] == stage.runs["approval"]
    assert [run["id"] for run in session["queue"]] == [stage.runs["queued"]]
    assert session["last_agent"] == "Approver"
    assert stage.elsewhere.page("/sessions/Flow", key="w")["promises"] == [{"name": "go", "status": "open", "text": ""}]
    assert stage.elsewhere.page("/sessions/Flow", key="k")["promises"][0]["status"] == "resolved"
    (deployment,) = stage.elsewhere.page("/deployments")["deployments"]
    assert set(deployment["services"]) == {"Router", "Specialist", "Desk", "Flow"}
    assert deployment["open_run_count"] >= 3
    services = {service["name"]: service for service in stage.elsewhere.page("/services")["services"]}
    assert services["Router"]["handlers"][0]["documentation"]
    assert services["Flow"]["kind"] == "workflow"


def test_every_page_is_html_and_names_its_server(stage: UiStage) -> None:
    run = f"/runs/{stage.runs['tree']}"
    views = (f"{run}?scale=time", f"{run}?step=1", f"{run}/agents", f"{run}/steps/1")
    for path in ("/", *views, "/sessions", "/sessions/Desk?key=a", "/services", "/services/Desk",
                 "/services/Desk/approve", "/deployments", "/help"):  # fmt: skip
        assert f"http://127.0.0.1:{stage.engine.port}" in stage.elsewhere.html(path), path
    assert stage.elsewhere.ask("GET", "/runs/inv_1aDcgkwRzurf63EjxyzWlE7fxLFXQM1sVg")[0] == 404
    assert stage.elsewhere.ask("GET", "/services/Nobody")[0] == 404


def test_what_the_server_cannot_do_is_not_offered(stage: UiStage) -> None:
    step = stage.elsewhere.html(f"/runs/{stage.runs['tree']}?step=1")
    assert "Fork from here" in step
    assert ('name="replace"' in step) is (stage.kind == "rewake")
    forged = {"from": "1", "replace": "yes", "value": "{}"}
    status, text, _ = stage.elsewhere.send(f"/runs/{stage.runs['tree']}/fork", **forged)
    assert status == (303 if stage.kind == "rewake" else 409), text


# Actions


def test_a_run_is_paused_resumed_killed_and_restarted(stage: UiStage) -> None:
    run_id = stage.send("/Router/broken/send", "steered")
    stage.until_status(run_id, "backing-off")
    assert "1+run+paused" in stage.elsewhere.act("pause", run_id)
    stage.until_status(run_id, "paused")
    assert "1+run+resumed" in stage.elsewhere.act("resume", run_id)
    stage.until_status(run_id, "backing-off", "running", "ready")
    assert "1+run+killed" in stage.elsewhere.act("kill", run_id)
    until(lambda: stage.elsewhere.status(run_id) == "failed")
    assert "already+completed" in stage.elsewhere.act("kill", run_id)
    place = stage.elsewhere.act("restart-as-new", run_id)
    found = re.match(r"/ui/runs/(inv_\w+)\?", place)
    assert found is not None
    new_id = found[1]
    assert new_id != run_id
    assert stage.elsewhere.page(f"/runs/{new_id}")["family"]["origin"]["id"] == run_id
    assert [run["id"] for run in stage.elsewhere.page(f"/runs/{run_id}")["family"]["restarts"]] == [new_id]
    stage.elsewhere.act("kill", new_id)
    until(lambda: stage.elsewhere.status(new_id) == "failed")
    assert stage.elsewhere.act("purge", new_id).startswith("/ui/?")
    until(lambda: stage.elsewhere.ask("GET", f"/runs/{new_id}")[0] == 404)


def test_runs_are_cancelled_together_after_a_question(stage: UiStage) -> None:
    runs = [stage.send(f"/Desk/together-{number}/nap/send", 3600) for number in range(3)]
    for run_id in runs:
        stage.until_status(run_id, "suspended")
    chosen = {"action": "cancel", "all": "yes", "filter": "service=Desk&status=suspended&within=1h&text=together-"}
    status, text, _ = stage.elsewhere.send("/confirm", **chosen)
    assert status == 200, text
    assert "Cancel 3 runs" in text
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', text))
    fields = {name: value.replace("&amp;", "&") for name, value in fields.items() if name != "token"}
    status, text, place = stage.elsewhere.send("/actions", **fields)
    assert (status, "3+runs+cancelled" in place) == (303, True), (text, place)
    for run_id in runs:
        until(lambda run_id=run_id: stage.elsewhere.status(run_id) == "failed")  # type: ignore[misc]


def test_an_approval_is_answered(stage: UiStage) -> None:
    for key, outcome, answer in (("yes", "resolve", "succeeded"), ("no", "reject", "failed")):
        run_id = stage.send(f"/Desk/{key}/approve/send", 5)
        stage.until_status(run_id, "suspended")
        waiting = stage.elsewhere.page(f"/runs/{run_id}")["waiting"]
        path = f"/runs/{run_id}/awakeables/{waiting[0]['awakeable']}"
        status, text, _ = stage.elsewhere.send(path, outcome=outcome, value="true", reason="too much")
        assert status == 303, text
        until(lambda run_id=run_id, answer=answer: stage.elsewhere.status(run_id) == answer)  # type: ignore[misc]
        run = stage.elsewhere.page(f"/runs/{run_id}")
        assert (run["result"] or {}).get("text") == ('"paid"' if outcome == "resolve" else None)
        assert (run["run"]["problem"] or "").endswith("" if outcome == "resolve" else "too much")


def test_a_promise_is_answered_where_the_server_can(stage: UiStage) -> None:
    run_id = stage.send("/Flow/answered/run/send", "n")
    stage.until_status(run_id, "suspended")
    html = stage.elsewhere.html(f"/runs/{run_id}")
    assert ('action="/ui/sessions/Flow/promises"' in html) is (stage.kind == "rewake")
    fields = {"key": "answered", "name": "go", "outcome": "resolve", "value": '"word"'}
    status, text, _ = stage.elsewhere.send("/sessions/Flow/promises", **fields)
    if stage.kind == "restate":
        assert status == 409, text
        assert stage.engine.call("/Flow/answered/go", "word").status == 200
    else:
        assert status == 303, text
        assert stage.elsewhere.send("/sessions/Flow/promises", **fields)[0] == 409
    until(lambda: stage.elsewhere.status(run_id) == "succeeded")
    assert stage.elsewhere.page(f"/runs/{run_id}")["result"]["text"] == '"word"'


def test_state_is_edited_unless_it_has_changed(stage: UiStage) -> None:
    assert stage.engine.call("/Desk/edited/note", "first").status == 200
    seen = stage.elsewhere.page("/sessions/Desk", key="edited")
    edit = {"key": "edited", "version": seen["version"], "name": "note", "value": '"second"'}
    status, text, _ = stage.elsewhere.send("/sessions/Desk/state", **edit)
    assert status == 303, text

    def values() -> dict[str, str]:
        page = stage.elsewhere.page("/sessions/Desk", key="edited")
        return {item["name"]: item["raw"] for item in page["state"]}

    until(lambda: values() == {"note": '"second"'})
    status, text, _ = stage.elsewhere.send("/sessions/Desk/state", **edit)
    assert status == 409
    assert "has changed" in text


def test_the_playground_calls_and_sends(stage: UiStage) -> None:
    status, text, _ = stage.elsewhere.send("/services/Desk/note", how="call", key="played", **{"field.": "hello"})
    assert status == 200
    assert "See the run" in text
    status, text, _ = stage.elsewhere.send("/services/Router/refuse", how="call", **{"field.": "x"})
    assert (status, "[404] no such account" in text) == (200, True)
    status, text, place = stage.elsewhere.send("/services/Desk/note", how="send", key="played", **{"field.": "again"})
    assert status == 303, text
    assert re.match(r"/ui/runs/inv_\w+\?notice=Sent", place)
    status, text, _ = stage.elsewhere.send("/services/Nobody/note", how="send")
    assert status == 404


def test_a_deployment_in_use_stays(stage: UiStage) -> None:
    (deployment,) = stage.elsewhere.page("/deployments")["deployments"]
    assert "/remove" not in stage.elsewhere.html("/deployments")
    status, text, _ = stage.elsewhere.send(f"/deployments/{deployment['id']}/remove")
    assert status == 409
    assert "in use" in text or "still" in text
    assert len(stage.elsewhere.page("/deployments")["deployments"]) == 1


def test_a_deployment_that_nothing_needs_is_removed(stage: UiStage, tmp_path: Path) -> None:
    (tmp_path / "passing.py").write_text(PASSING)
    old, new = free_port(), free_port()
    binds = ["--bind", f"127.0.0.1:{old}", "--bind", f"127.0.0.1:{new}"]
    command = [*HYPERCORN, *binds, "passing:app"]
    app = Process(command, new, folder=tmp_path, log=tmp_path / "app.log", environment={})
    app.start()
    try:
        stage.engine.register(old)
        stage.engine.register(new)
        found = {item["uri"]: item for item in stage.elsewhere.page("/deployments")["deployments"]}
        drained, latest = found[f"http://127.0.0.1:{old}/"], found[f"http://127.0.0.1:{new}/"]
        assert (drained["latest"], latest["latest"]) == ([], ["Passing"])
        html = stage.elsewhere.html("/deployments")
        assert f"/ui/deployments/{drained['id']}/remove" in html
        assert f"/ui/deployments/{latest['id']}/remove" not in html
        status, text, place = stage.elsewhere.send(f"/deployments/{drained['id']}/remove")
        assert (status, "Removed" in place) == (303, True), text
        left = [item["id"] for item in stage.elsewhere.page("/deployments")["deployments"]]
        assert drained["id"] not in left
        assert latest["id"] in left
        assert stage.elsewhere.send(f"/deployments/{latest['id']}/remove")[0] == 409
        assert "not+there" in stage.elsewhere.send(f"/deployments/{drained['id']}/remove")[2]
    finally:
        for item in stage.elsewhere.page("/deployments")["deployments"]:
            if "Passing" in item["services"]:
                stage.engine.forget(item["id"])
        app.kill()


# The command


def test_without_an_ingress_nothing_can_be_sent_and_the_pages_say_so(rewake_stage: UiStage, tmp_path: Path) -> None:
    ingress = f"http://127.0.0.1:{free_port()}"
    admin = f"http://127.0.0.1:{rewake_stage.engine.port}"
    with Running("ui", "--admin", admin, "--ingress", ingress, cwd=tmp_path) as ui:
        pages = Pages(ui.port)
        for path in ("/services/Desk/note", f"/runs/{rewake_stage.runs['approval']}"):
            html = pages.html(path)
            assert f"Could not reach the ingress at &#39;{ingress}&#39;" in html
            assert '<form class="playground"' not in html
            assert '<form class="answer"' not in html
        status, text, _ = pages.send("/services/Desk/note", how="send", key="a", **{"field.": "x"})
        assert (status, "RW1017" in text) == (503, True)
        assert ui.stop(signal.SIGINT) == 0
        ui.wait_for("stopped")


def test_a_server_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    engine = make_engine(tmp_path, "rewake")
    engine.start()
    try:
        with Running("ui", "--admin", f"http://127.0.0.1:{engine.port}", cwd=tmp_path) as ui:
            pages = Pages(ui.port)
            assert pages.page("/")["runs"] == []
            engine.kill()
            status, text, _ = pages.ask("GET", "/")
            assert (status, "RW1009" in text) == (503, True)
            engine.start()
            assert pages.page("/")["runs"] == []
    finally:
        engine.kill()


def test_an_address_that_is_no_admin_api(rewake_stage: UiStage, tmp_path: Path) -> None:
    def told(admin: str, *more: str) -> tuple[int, str]:
        ended = rewake("ui", "--admin", admin, "--port", "0", *more, cwd=tmp_path)
        return ended.returncode, ended.stderr

    code, text = told(f"http://127.0.0.1:{free_port()}")
    assert (code, "RW1009" in text) == (4, True)
    code, text = told(f"http://127.0.0.1:{rewake_stage.engine.ingress_port}")
    assert (code, "RW1015" in text) == (1, True)
    code, text = told(f"http://127.0.0.1:{rewake_stage.engine.port}", "--ingress", "localhost:8080")
    assert (code, "RW1004" in text) == (2, True)
    with old_server() as admin:
        code, text = told(admin)
    assert (code, "RW1016" in text, "1.1.6" in text) == (1, True, True)


@contextmanager
def old_server() -> Iterator[str]:
    """A server that has a version, and none of the columns."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, {"version": "1.1.6", "min_admin_api_version": 1, "max_admin_api_version": 2})

        def do_POST(self) -> None:
            self._answer(500, {"message": "Schema error: No field named running_at."})

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
