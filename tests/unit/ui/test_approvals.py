"""Approvals over HTTP: the admin API and the pages, each refusal with its own code and status."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import restate
from tests.browser.stage import HOSTILE, Stage, staged
from tests.unit.ui.test_pages import Answer
from tests.unit.ui.test_pages import ask as page

from rewake.core import ids
from rewake.engine.approval_links import Link
from rewake.ext.kernel import ApprovalRequest, ask
from rewake.ui.approvals import ANSWERS_MAX

SENT: list[str] = []
teller = restate.Service("Teller")


@teller.handler()
async def pay(ctx: restate.Context, args: dict[str, Any]) -> str:
    notify = mail if args.get("is_mailed") else None
    found = await ask("Pay it?", args, who=args.get("who", ()), quorum=args.get("quorum", 1), notify=notify)
    return found.outcome


async def mail(request: ApprovalRequest) -> None:
    SENT.append(request.link("Ada") or "")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("approvals") / "data", restate.app([teller])) as stage:
        yield stage


def api(stage: Stage, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(stage.url).netloc, timeout=20)
    try:
        headers = {} if body is None else {"content-type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def asked(stage: Stage, **args: Any) -> tuple[str, dict[str, Any]]:
    """A run that waits, and what the list says of it."""
    run_id = stage.send("Teller", "pay", args)
    while True:
        _, found = api(stage, "GET", "/approvals")
        for each in found["approvals"]:
            if each["invocation_id"] == run_id:
                return run_id, each


def outcome(stage: Stage, run_id: str) -> Any:
    return stage.run(stage.engine.result(run_id))


def test_the_api_lists_shows_and_takes_one_answer(stage: Stage) -> None:
    run_id, told = asked(stage, amount=7, who="finance")
    assert (told["question"], told["arguments"], told["who"]) == (
        "Pay it?", '{"amount": 7, "who": "finance"}', ["finance"],
    )  # fmt: skip
    assert api(stage, "GET", f"/approvals/{told['id']}")[1] == told
    assert [each["id"] for each in api(stage, "GET", "/approvals?who=finance")[1]["approvals"]] == [told["id"]]
    assert api(stage, "GET", "/approvals?who=nobody")[1]["approvals"] == []
    status, problem = api(stage, "POST", f"/approvals/{told['id']}/approve", {"digest": "0" * 64})
    assert (status, problem["code"]) == (409, "RW4029")
    status, after = api(stage, "POST", f"/approvals/{told['id']}/approve", {"who": "Ada", "digest": told["digest"]})
    assert (status, after["answers"][0]["who"]) == (200, "Ada")
    assert outcome(stage, run_id) == "approved"
    status, problem = api(stage, "POST", f"/approvals/{told['id']}/deny")
    assert (status, problem["code"], "by Ada" in problem["message"]) == (409, "RW4027", True)
    assert api(stage, "GET", f"/approvals/{told['id']}")[1]["state"] == "approved"


def test_the_api_refuses_each_in_its_own_words(stage: Stage) -> None:
    for name in ("perhaps", "sign_1AAAA"):
        status, problem = api(stage, "POST", f"/approvals/{name}/approve")
        assert (status, problem["code"]) == (404, "RW4026")
    run_id, told = asked(stage, quorum=2)
    status, problem = api(stage, "POST", f"/approvals/{told['id']}/approve")
    assert (status, problem["code"]) == (400, "RW4030")
    assert api(stage, "POST", f"/approvals/{told['id']}/approve", {"who": "Ada"})[1]["missing"] == 1
    status, problem = api(stage, "POST", f"/approvals/{told['id']}/approve", {"who": "ADA"})
    assert (status, problem["code"]) == (409, "RW4030")
    stage.run(stage.engine.cancel(ids.invocation_id_from_str(run_id)))
    with pytest.raises(Exception, match="cancelled"):
        outcome(stage, run_id)
    status, problem = api(stage, "POST", f"/approvals/{told['id']}/approve", {"who": "Bob"})
    assert (status, problem["code"]) == (410, "RW4031")


def form(stage: Stage, text: str) -> dict[str, str]:
    found = re.search(r'name="token" value="([0-9a-f]+)"', text)
    assert found is not None
    return {"token": found[1]}


def test_pages_show_exact_arguments_and_answer_many_at_once(stage: Stage) -> None:
    runs = [asked(stage, note=HOSTILE, number=number) for number in range(2)]
    listed = page(stage, "GET", "/approvals")
    assert listed.status == 200
    assert HOSTILE not in listed.text
    keys = [f"{told['id']} {told['digest']}" for _, told in runs]
    assert all(key in listed.text for key in keys)
    shown = page(stage, "GET", f"/approvals/{runs[0][1]['id']}")
    assert (shown.status, runs[0][1]["digest"] in shown.text) == (200, True)
    sent: list[tuple[str, str]] = [*form(stage, listed.text).items(), ("outcome", "deny"), ("who", "Grace Höpper")]
    answer: Answer = page(stage, "POST", "/approvals", [*sent, *(("item", key) for key in keys)])
    assert (answer.status, answer.headers["location"]) == (303, "/ui/approvals?notice=2+denied.")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert [outcome(stage, run_id) for run_id, _ in runs] == ["denied", "denied"]
    cookie = answer.headers["set-cookie"].partition(";")[0]
    run_id, told = asked(stage, amount=8)
    assert 'value="Grace Höpper"' in page(stage, "GET", f"/approvals/{told['id']}", Cookie=cookie).text
    api(stage, "POST", f"/approvals/{told['id']}/deny")
    assert outcome(stage, run_id) == "denied"


def test_a_form_of_another_site_or_for_other_arguments_changes_nothing(stage: Stage) -> None:
    run_id, told = asked(stage, amount=9)
    fields = form(stage, page(stage, "GET", "/approvals").text)
    only = {"only": f"approve {told['id']} {told['digest']}"}
    assert page(stage, "POST", "/approvals", only).status == 403
    assert page(stage, "POST", "/approvals", fields | only, Origin="http://evil.example").status == 403
    changed = page(stage, "POST", "/approvals", fields | {"only": f"approve {told['id']} {'0' * 64}"})
    assert (changed.status, "RW4029" in changed.text) == (409, True)
    assert page(stage, "POST", "/approvals", fields | {"outcome": "approve"}).status == 400
    assert page(stage, "POST", "/approvals", fields | {"only": "perhaps x"}).status == 400
    many = [("item", f"x{number} {'0' * 64}") for number in range(ANSWERS_MAX + 1)]
    assert page(stage, "POST", "/approvals", [*fields.items(), ("outcome", "approve"), *many]).status == 400
    assert page(stage, "GET", "/approvals/perhaps").status == 404
    assert page(stage, "POST", "/approvals", fields | only).status == 303
    assert outcome(stage, run_id) == "approved"
    again = page(stage, "POST", "/approvals", fields | only)
    assert (again.status, "RW4027" in again.text) == (409, True)


def test_a_paused_run_says_so_and_its_answer_waits(stage: Stage) -> None:
    run_id, told = asked(stage, amount=11)
    run = ids.invocation_id_from_str(run_id)
    stage.run(stage.engine.pause(run))
    while (now := api(stage, "GET", f"/approvals/{told['id']}")[1]).get("paused") is None:
        time.sleep(0.01)
    assert now == told | {"paused": True}
    assert now in api(stage, "GET", "/approvals")[1]["approvals"]
    for path in ("/approvals", f"/approvals/{told['id']}"):
        shown = page(stage, "GET", path).text
        assert "run is paused</a>: an answer waits until it is resumed" in shown
    status, after = api(stage, "POST", f"/approvals/{told['id']}/approve", {"who": "Ada"})
    assert (status, after["state"], after["paused"]) == (200, "answered", True)
    assert told["id"] not in {each["id"] for each in api(stage, "GET", "/approvals")[1]["approvals"]}
    stage.run(stage.engine.resume(run))
    assert outcome(stage, run_id) == "approved"


def test_the_runs_page_leads_to_the_question(stage: Stage) -> None:
    run_id, told = asked(stage, amount=1)
    for view in ("?scale=time", "/agents"):
        assert f'href="/ui/approvals/{told["id"]}"' in page(stage, "GET", f"/runs/{run_id}{view}").text, view
    api(stage, "POST", f"/approvals/{told['id']}/deny", {"why": "no"})
    assert outcome(stage, run_id) == "denied"


def link(stage: Stage, approval_id: str, **given: Any) -> str:
    """The path of a signed link, as `rewake approvals link` gets it."""
    status, made = api(stage, "POST", f"/approvals/{approval_id}/link", given)
    assert status == 200, made
    assert made["url"].startswith(f"{stage.url}/approve/")
    return str(made["url"].removeprefix(stage.url))


def visit(stage: Stage, path: str, fields: Any = None, method: str | None = None) -> Answer:
    connection = http.client.HTTPConnection(urlsplit(stage.url).netloc, timeout=20)
    try:
        body = None if fields is None else urlencode(fields)
        connection.request(method or ("GET" if fields is None else "POST"), path, body)
        return Answer(connection.getresponse())
    finally:
        connection.close()


def test_a_link_asks_first_and_is_used_once(stage: Stage) -> None:
    """A scanner that follows it approves nothing; a second press is refused in words."""
    run_id, told = asked(stage, note=HOSTILE)
    path = link(stage, told["id"], who="Ada")
    for method in ("GET", "HEAD", "GET"):
        shown = visit(stage, path, method=method)
        assert shown.status == 200
    assert "You answer as <strong>Ada</strong>" in shown.text
    assert HOSTILE not in shown.text
    assert (shown.headers["referrer-policy"], shown.headers["cache-control"]) == ("no-referrer", "no-store")
    assert api(stage, "GET", f"/approvals/{told['id']}")[1]["state"] == "waiting"
    assert visit(stage, path, {"outcome": "perhaps"}).status == 400
    done = visit(stage, path, {"outcome": "approve", "who": "Mallory", "why": "fine"})
    assert (done.status, "Approved." in done.text) == (200, True)
    assert outcome(stage, run_id) == "approved"
    again = visit(stage, path, {"outcome": "deny"})
    assert (again.status, "RW4027" in again.text, "by Ada" in again.text) == (409, True, True)
    assert visit(stage, path).status == 409


def test_links_that_are_over_cut_or_of_another_question(stage: Stage) -> None:
    run_id, told = asked(stage, amount=5)
    over = visit(stage, link(stage, told["id"], lasts="0s"))
    assert (over.status, "RW4033" in over.text) == (410, True)
    path = link(stage, told["id"])
    cut = visit(stage, path[:-2], {"outcome": "approve"})
    assert (cut.status, "RW4032" in cut.text) == (404, True)
    links = stage.engine.approval_links
    assert links is not None
    changed = links.link(Link(told["id"], "0" * 64, "", 1 << 45)).removeprefix(stage.url)
    for fields in (None, {"outcome": "approve"}):
        answer = visit(stage, changed, fields)
        assert (answer.status, "RW4029" in answer.text) == (409, True)
    stage.run(stage.engine.cancel(ids.invocation_id_from_str(run_id)))
    with pytest.raises(Exception, match="cancelled"):
        outcome(stage, run_id)
    gone = visit(stage, path, {"outcome": "approve"})
    assert (gone.status, "RW4031" in gone.text) == (410, True)


def test_two_people_with_links_of_their_own(stage: Stage) -> None:
    run_id, told = asked(stage, quorum=2)
    ada, bob = (link(stage, told["id"], who=who) for who in ("Ada", "Bob"))
    assert "1 more must approve" in visit(stage, ada, {"outcome": "approve"}).text
    assert "RW4030" in visit(stage, ada, {"outcome": "approve"}).text
    assert visit(stage, bob, {"outcome": "approve"}).status == 200
    assert outcome(stage, run_id) == "approved"


def test_a_handler_sends_links_itself(stage: Stage) -> None:
    SENT.clear()
    run_id, _ = asked(stage, is_mailed=True)
    while not SENT:
        time.sleep(0.01)
    assert visit(stage, SENT[0].removeprefix(stage.url), {"outcome": "deny", "why": "no"}).status == 200
    assert outcome(stage, run_id) == "denied"
