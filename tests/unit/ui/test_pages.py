"""The pages over HTTP: headers, JSON twins, forms that only our own pages can send."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from tests.browser.stage import HOSTILE, Stage, staged

from rewake.agents import prices
from rewake.ui.web import FORM_BYTES_MAX


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("pages") / "data") as stage:
        yield stage


class Answer:
    """Status, headers and text of a response."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.text = response.read().decode()


class _Plain(HTMLParser):
    """Asserts that nothing is inline and nothing is loaded from elsewhere."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("style", "iframe", "object", "base")
        assert tag != "script" or dict(attrs).get("src")
        for name, value in attrs:
            assert name != "style"
            assert not name.startswith("on")
            assert name not in ("src", "href", "action") or (value or "").startswith(("/", "#"))


def ask(stage: Stage, method: str, path: str, fields: Any = None, **headers: str) -> Answer:
    connection = http.client.HTTPConnection(urlsplit(stage.url).netloc, timeout=20)
    try:
        connection.request(
            method,
            f"/ui{path}",
            None if fields is None else urlencode(fields),
            {name.replace("_", "-"): value for name, value in headers.items()},
        )
        return Answer(connection.getresponse())
    finally:
        connection.close()


def done(stage: Stage, handler: str, body: str) -> str:
    run_id = stage.send("Router", handler, body)
    stage.run(stage.engine.result(run_id))
    return run_id


def token(stage: Stage) -> str:
    found = re.search(r'name="token" value="([0-9a-f]+)"', ask(stage, "GET", "/services/Router/ask").text)
    assert found is not None
    return found.group(1)


PAGES = ("/", "/sessions", "/sessions/Desk?key=a", "/services", "/services/Router", "/services/Router/ask",
         "/deployments", "/patterns", "/help")  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_html_and_json(stage: Stage, path: str) -> None:
    page = ask(stage, "GET", path)
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    _Plain().feed(page.text)
    twin = ask(stage, "GET", f"{path}{'&' if '?' in path else '?'}format=json")
    assert (twin.status, twin.headers["content-type"]) == (200, "application/json")
    assert isinstance(json.loads(twin.text), dict)
    assert json.loads(ask(stage, "GET", path, accept="application/json").text).keys() == json.loads(twin.text).keys()


def test_a_run_and_its_steps_as_json(stage: Stage) -> None:
    run_id = done(stage, "ask", "Hello?")
    page = json.loads(ask(stage, "GET", f"/runs/{run_id}?format=json").text)
    assert [row["title"] for row in page["rows"]] == ["Input", "Pick specialist", "Ask billing", "Output"]
    step = json.loads(ask(stage, "GET", f"/runs/{run_id}/steps/3?format=json").text)
    assert step["output"]["text"] == '"billing answers"'
    agents = json.loads(ask(stage, "GET", f"/runs/{run_id}/agents?format=json").text)
    assert agents["trace"]["handoffs"][0]["target"] == "billing"


@pytest.mark.parametrize(
    ("path", "status"),
    [("/nothing", 404), ("/runs/x", 404), ("/runs/inv_10BnVMHtxjjO0HyUJWli0aN6NpK3xqX1zy", 404), ("/services/No", 404),
     ("/services/Router/no", 404), ("/sessions/Desk", 404), ("/static/x/..%2f..%2fweb.py", 404), ("/static/x/no", 404),
     ("/confirm", 404)],
)  # fmt: skip
def test_what_is_not_there(stage: Stage, path: str, status: int) -> None:
    page = ask(stage, "GET", path)
    assert page.status == status
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_an_unchanged_page_is_not_sent_again(stage: Stage) -> None:
    first = ask(stage, "GET", "/services")
    assert ask(stage, "GET", "/services", if_none_match=first.headers["etag"]).status == 304


@pytest.mark.parametrize(
    ("false_token", "headers"),
    [("0" * 64, {}), ("é", {}), (None, {"origin": "https://evil.example"}), (None, {"sec_fetch_site": "cross-site"}),
     (None, {"origin": "null"}), (None, {"origin": "http://["})],
)  # fmt: skip
def test_forms_of_others_are_refused(stage: Stage, false_token: str | None, headers: dict[str, str]) -> None:
    run_id = done(stage, "ask", "Hello?")
    fields = {"action": "purge", "run": run_id, "token": false_token or token(stage)}
    assert ask(stage, "POST", "/actions", fields, **headers).status == 403
    assert ask(stage, "GET", f"/runs/{run_id}?scale=time").status == 200


def test_a_purge(stage: Stage) -> None:
    run_id = done(stage, "ask", "Hello?")
    fields = {"action": "purge", "run": run_id, "token": token(stage), "back": "https://evil.example/ui/"}
    answer = ask(stage, "POST", "/actions", fields)
    assert (answer.status, answer.headers["location"]) == (303, "/ui/?notice=1+run+purged.")
    assert ask(stage, "GET", f"/runs/{run_id}?scale=time").status == 404


@pytest.mark.parametrize(
    "back", ["//evil.example/ui/", "https://evil.example/ui/", "/ui/\\evil", "javascript:1", "//[", "/x"]
)
def test_the_way_back_stays_here(stage: Stage, back: str) -> None:
    run_id = done(stage, "ask", "Hello?")
    fields = {"action": "pause", "run": run_id, "token": token(stage), "back": back}
    assert ask(stage, "POST", "/actions", fields).headers["location"].startswith("/ui/?notice=")


def test_a_restart_leads_to_the_new_run(stage: Stage) -> None:
    run_id = done(stage, "ask", "Hello?")
    answer = ask(stage, "POST", "/actions", {"action": "restart-as-new", "run": run_id, "token": token(stage)})
    assert answer.headers["location"].startswith("/ui/runs/inv_")
    assert run_id not in answer.headers["location"]


def test_state_that_has_changed_is_not_overwritten(stage: Stage) -> None:
    fields = {"key": "a", "name": "x", "value": "1", "version": "old", "token": token(stage)}
    answer = ask(stage, "POST", "/sessions/Desk/state", fields)
    assert answer.status == 409
    assert "nothing was saved" in answer.text


@pytest.mark.parametrize("value", ["{", "'x'", "nul", "[" * 50_000])
def test_a_value_must_be_json(stage: Stage, value: str) -> None:
    run_id = done(stage, "ask", "Hello?")
    fields = {"from": "1", "replace": "yes", "value": value, "token": token(stage)}
    assert ask(stage, "POST", f"/runs/{run_id}/fork", fields).status == 400


def test_only_a_step_can_be_replaced(stage: Stage) -> None:
    run_id = done(stage, "ask", "Hello?")
    fields = {"from": "0", "replace": "yes", "value": "1", "token": token(stage)}
    assert ask(stage, "POST", f"/runs/{run_id}/fork", fields).status == 409


def test_an_open_run_is_forked_from_what_it_has_done(stage: Stage) -> None:
    """Not from its input, and not where an answer to the first one would be missing."""
    run_id = stage.send("Desk", "approve", 7, key="open fork")
    while len(stage.run(stage.engine.query(f"select index from sys_journal where id = '{run_id}'")).rows) < 3:
        time.sleep(0.01)
    assert "Fork from here" not in ask(stage, "GET", f"/runs/{run_id}?step=0").text
    step = ask(stage, "GET", f"/runs/{run_id}?step=1").text
    assert "Fork from here" in step
    assert "This run goes on by itself." in step
    answer = ask(stage, "POST", f"/runs/{run_id}/fork", {"from": "1", "token": token(stage)})
    assert answer.status == 409
    assert "holds the id of an awakeable" in answer.text


def test_hostile_content_is_escaped(stage: Stage) -> None:
    run_id = done(stage, "repeat", HOSTILE)
    for path in (
        "/",
        f"/runs/{run_id}",
        f"/runs/{run_id}?step=1",
        f"/runs/{run_id}/agents",
        "/?" + urlencode({"text": HOSTILE}),
    ):
        page = ask(stage, "GET", path).text
        assert "<img" not in page
        assert "<script>" not in page
        assert "{{7*7}}" in page
        assert "\u202e" not in page or "text=" in path


def test_10_000_entries(stage: Stage, tmp_path: Path) -> None:
    """A window of them, and a way to the others."""
    from tests.unit.ui.long_run import make_long

    run_id = make_long(stage, 5_000)
    page = ask(stage, "GET", f"/runs/{run_id}?row=4900")
    assert page.status == 200
    assert "Steps 4,801 to 5,000" in page.text or "Steps 4801 to 5000" in page.text
    assert len(page.text) < 1_000_000
    assert ask(stage, "GET", f"/runs/{run_id}/agents").status == 200


def test_a_deployment_in_use_stays(stage: Stage) -> None:
    (deployment_id,) = stage.engine.deployments
    answer = ask(stage, "POST", f"/deployments/{deployment_id}/remove", {"token": token(stage)})
    assert answer.status == 409
    assert deployment_id in stage.engine.deployments


def test_nothing_to_compare(stage: Stage) -> None:
    assert ask(stage, "GET", f"/runs/{done(stage, 'ask', 'Hello?')}/compare").status == 404


def test_where_no_price_list_is_installed_the_models_table_names_the_package(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    hint = "pip install genai-prices"
    assert hint not in ask(stage, "GET", "/patterns").text
    prices.has_list.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(prices, "_PACKAGE", "no_such_price_list")
        shown = ask(stage, "GET", "/patterns").text
    prices.has_list.cache_clear()
    assert hint in shown


def test_a_form_has_a_size(stage: Stage) -> None:
    connection = http.client.HTTPConnection(urlsplit(stage.url).netloc, timeout=20)
    for more, status in ((0, 403), (1, 413)):  # without the token of one of our pages
        connection.request("POST", "/ui/actions", b"x" * (FORM_BYTES_MAX + more))
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    connection.close()
