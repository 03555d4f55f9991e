"""Questions between turns over HTTP: listed, answered and refused like those of open runs, on state alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import restate
from click.testing import CliRunner
from tests.browser.stage import HOSTILE, Stage, staged
from tests.unit.ui.test_approvals import api, form, link, visit
from tests.unit.ui.test_pages import ask as page

from rewake.cli.main import main
from rewake.clients.admin import AdminClient
from rewake.core.ids import awakeable_id_parse
from rewake.disclosure import opening
from rewake.ext.kernel import ApprovalRequest, Approvals, BetweenTurns, Decision, between, keeping
from rewake.ext.sealed import Keyring, Sealer, Values, sealing
from rewake.protocol.messages import Success
from rewake.runs import kept, listing
from rewake.runs.elsewhere.reading import ReadingElsewhere
from rewake.runs.inbox import inbox
from rewake.runs.local.database import local_reading

SENT: list[ApprovalRequest] = []
LINKS: list[str] = []


async def mail(request: ApprovalRequest) -> None:
    SENT.append(request)
    LINKS.append(request.link("Ada") or "")


def desk_of(name: str, **options: Any) -> tuple[restate.VirtualObject, BetweenTurns]:
    """An object that leaves questions, and remembers what was decided."""
    service = restate.VirtualObject(name)
    questions = BetweenTurns(service, **options)

    @service.handler()
    async def pay(ctx: restate.ObjectContext, args: Any) -> None:
        await questions.leave("Pay it?", args)

    @service.handler()
    async def give_up(ctx: restate.ObjectContext) -> None:
        await questions.withdraw()

    @service.handler()
    async def hold(ctx: restate.ObjectContext) -> None:
        name, held = ctx.awakeable(type_hint=Any)
        ctx.set("held", name)
        await held

    @questions.next_turn
    async def decided(ctx: restate.ObjectContext, args: Any, decision: Decision) -> None:
        done = await ctx.get("done", type_hint=list[Any]) or []
        ctx.set("done", [*done, [args, decision.outcome, decision.who, decision.why]])

    return service, questions


desk, questions = desk_of("Desk", approvals=Approvals(who="finance", notify=mail))
board, _ = desk_of("Board", approvals=Approvals(quorum=2))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("kept") / "data", restate.app([desk, board])) as stage:
        yield stage


def left(stage: Stage, key: str, args: Any, service: str = "Desk") -> dict[str, Any]:
    """A question left by a run that has ended, as the list has it."""
    stage.call(service, "pay", args, key)
    _, found = api(stage, "GET", f"/approvals?service={service}")
    return next(dict(each) for each in found["approvals"] if each["target"] == f"{service}/{key}")


def done(stage: Stage, key: str, count: int = 1, service: str = "Desk") -> list[Any]:
    """What the next turns of an object got, once they ran."""
    while len(found := value_of(stage, service, key, "done")) < count:
        time.sleep(0.01)
    return list(found)


def value_of(stage: Stage, service: str, key: str, name: str) -> Any:
    """A value of an object's state, once it is there."""
    where = f"service_name = '{service}' and service_key = '{key}' and key = '{name}'"
    while not (rows := stage.run(stage.engine.query(f"select value_utf8 from state where {where}")).rows):
        time.sleep(0.01)
    return json.loads(rows[0][0])


def test_the_api_lists_shows_and_takes_one_answer(stage: Stage) -> None:
    """Found in state alone: the run that asked has ended. The next turn runs once."""
    told = left(stage, "one", {"amount": 7})
    assert (told["question"], told["arguments"], told["who"], told["state"]) == (
        "Pay it?", '{"amount": 7}', ["finance"], "waiting",
    )  # fmt: skip
    statement = f"select status from sys_invocation where id = '{told['invocation_id']}'"
    assert stage.run(stage.engine.query(statement)).rows == [("completed",)]
    assert api(stage, "GET", f"/approvals/{told['id']}")[1] == told
    for query, count in (("who=finance", 1), ("who=nobody", 0), ("service=Board", 0), ("agent=Claims", 0)):
        assert len(api(stage, "GET", f"/approvals?{query}")[1]["approvals"]) == count, query
    path = f"/approvals/{told['id']}"
    status, problem = api(stage, "POST", f"{path}/approve", {"digest": "0" * 64})
    assert (status, problem["code"]) == (409, "RW4029")
    status, after = api(stage, "POST", f"{path}/approve", {"who": "Ada", "why": "fine", "digest": told["digest"]})
    assert (status, after["state"], after["answers"][0]["who"]) == (200, "approved", "Ada")
    status, problem = api(stage, "POST", f"{path}/deny", {"who": "Bob"})
    assert (status, problem["code"], "by Ada" in problem["message"]) == (409, "RW4027", True)
    assert done(stage, "one") == [[{"amount": 7}, "approved", "Ada", "fine"]]
    assert api(stage, "GET", path)[1]["state"] == "approved"
    assert api(stage, "GET", "/approvals")[1]["approvals"] == []


def test_what_nobody_asked_is_unknown(stage: Stage) -> None:
    told = left(stage, "unknown", 1)
    for name in ("ask_1", "ask_1AAAA", told["id"][:-1], told["id"] + "AA"):
        status, problem = api(stage, "POST", f"/approvals/{name}/approve")
        assert (status, problem["code"]) == (404, "RW4026"), name
    assert api(stage, "POST", f"/approvals/{told['id']}/deny")[0] == 200


def test_an_approval_for_other_code_is_refused_until_people_look_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RW4034; the press of before no longer counts, a denial always does, and people hear of it anew."""
    told, denied = left(stage, "stale", 1), left(stage, "stale-denied", 1)
    SENT.clear()
    monkeypatch.setattr(questions, "version", "2")
    path = f"/approvals/{told['id']}"
    status, problem = api(stage, "POST", f"{path}/approve", {"digest": told["digest"]})
    assert (status, problem["code"]) == (409, "RW4034")
    status, problem = api(stage, "POST", f"{path}/approve", {"digest": told["digest"]})
    assert (status, problem["code"]) == (409, "RW4029")
    again = api(stage, "GET", path)[1]
    assert (again["state"], again["arguments"], again["digest"] == told["digest"]) == ("waiting", "1", False)
    assert (SENT[0].digest, SENT[0].refused) == (again["digest"], again["refused"])
    assert again["refused"] in page(stage, "GET", path).text
    assert api(stage, "POST", f"{path}/approve", {"digest": again["digest"]})[1]["state"] == "approved"
    assert done(stage, "stale")[0][:2] == [1, "approved"]
    assert api(stage, "POST", f"/approvals/{denied['id']}/deny", {"why": "no"})[1]["state"] == "denied"
    assert done(stage, "stale-denied")[0][1:] == ["denied", None, "no"]


def test_a_question_that_is_withdrawn(stage: Stage) -> None:
    told = left(stage, "withdrawn", 1)
    stage.call("Desk", "give_up", None, "withdrawn")
    status, problem = api(stage, "POST", f"/approvals/{told['id']}/approve")
    assert (status, problem["code"]) == (410, "RW4031")
    assert api(stage, "GET", f"/approvals/{told['id']}")[1]["state"] == "ended"


def test_several_people(stage: Stage) -> None:
    told = left(stage, "both", 1, "Board")
    path = f"/approvals/{told['id']}/approve"
    assert (api(stage, "POST", path)[1]["code"], told["missing"]) == ("RW4030", 2)
    assert api(stage, "POST", path, {"who": "Ada"})[1]["missing"] == 1
    assert api(stage, "POST", path, {"who": " ADA"})[1]["code"] == "RW4030"
    assert api(stage, "POST", path, {"who": "Bob"})[1]["state"] == "approved"
    assert done(stage, "both", service="Board")[0][1:3] == ["approved", "Bob"]


def test_pages_show_and_answer_them(stage: Stage) -> None:
    told = left(stage, "a/b c", HOSTILE)
    listed = page(stage, "GET", "/approvals?service=Desk")
    assert (listed.status, HOSTILE in listed.text, "Desk/a/b c" in listed.text) == (200, False, True)
    session = page(stage, "GET", "/sessions/Desk?key=a%2Fb+c")
    assert f'href="/ui/approvals/{told["id"]}"' in session.text
    shown = page(stage, "GET", f"/approvals/{told['id']}")
    assert (shown.status, told["digest"] in shown.text) == (200, True)
    sent = {**form(stage, listed.text), "who": "Grace", "only": f"approve {told['id']} {told['digest']}"}
    answer = page(stage, "POST", "/approvals", sent)
    assert (answer.status, answer.headers["location"]) == (303, "/ui/approvals?notice=1+approved.")
    assert done(stage, "a/b c") == [[HOSTILE, "approved", "Grace", None]]
    again = page(stage, "POST", "/approvals", sent)
    assert (again.status, "RW4027" in again.text, "by Grace" in again.text) == (409, True, True)


def test_the_list_of_runs_and_the_run_that_asked_lead_to_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted beside the runs that wait, on a server elsewhere too; on both pages of the ended run, while it waits."""

    def found(path: str) -> Any:
        return json.loads(page(stage, "GET", path, accept="application/json").text)

    before = found("/")["asking_count"]
    told = left(stage, "counted", 1)
    assert (found("/")["asking_count"], found("/")["waiting_count"]) == (before + 1, 0)
    elsewhere = ReadingElsewhere(AdminClient(stage.url), 0, is_rewake=True)
    assert [elsewhere.asking_count(limit) for limit in (before + 9, 1)] == [before + 1, 1]
    assert "</span> asking between turns</a>" in page(stage, "GET", "/").text
    with monkeypatch.context() as patch:
        patch.setattr(listing, "ASKING_MAX", before)
        assert found("/")["asking_count"] is None
        assert '">asking between turns</a>' in page(stage, "GET", "/").text
    paths = [f"/runs/{told['invocation_id']}{tab}" for tab in ("", "/agents")]
    for path in paths:
        assert [each["approval"] for each in found(path)["left"]] == [told["id"]]
        shown = page(stage, "GET", path).text
        assert ("This run has ended" in shown, f'href="/ui/approvals/{told["id"]}"' in shown) == (True, True)
        assert 'data-live="3000"' in shown  # the question goes away by itself
    shown = CliRunner().invoke(main, ["invocations", "show", told["invocation_id"], "--admin", stage.url]).output
    assert ("asks between turns" in shown, f"rewake approvals approve {told['id']}" in shown) == (True, True), shown
    assert api(stage, "POST", f"/approvals/{told['id']}/deny")[0] == 200
    assert [found(path)["left"] for path in paths] == [[], []]


def test_links_of_handlers_and_of_the_api(stage: Stage) -> None:
    """Asks first, is used once, for its arguments alone; one of another object does not open it."""
    LINKS.clear()
    told, other = left(stage, "linked", 1), left(stage, "linked-too", 2)
    path = LINKS[0].removeprefix(stage.url)
    assert "You answer as <strong>Ada</strong>" in visit(stage, path).text
    assert api(stage, "GET", f"/approvals/{told['id']}")[1]["state"] == "waiting"
    done_ = visit(stage, path, {"outcome": "approve"})
    assert (done_.status, "Approved." in done_.text) == (200, True)
    assert done(stage, "linked") == [[1, "approved", "Ada", None]]
    again = visit(stage, path, {"outcome": "deny"})
    assert (again.status, "RW4027" in again.text) == (409, True)
    assert "RW4032" in visit(stage, path[:-2]).text
    assert visit(stage, link(stage, other["id"], who="Bob"), {"outcome": "deny"}).status == 200
    assert done(stage, "linked-too")[0][1:3] == ["denied", "Bob"]


def test_a_busy_object_takes_the_answer_after_its_turn(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page says so, and does not wait for the turn."""
    from rewake.admin import answering

    told = left(stage, "busy", 1)
    stage.send("Desk", "hold", None, "busy")
    name = value_of(stage, "Desk", "busy", "held")
    monkeypatch.setattr(answering, "SEEN_S", 0.05)
    sent = {**form(stage, page(stage, "GET", "/approvals").text), "only": f"approve {told['id']} {told['digest']}"}
    assert "takes+the+answer+after+its+turn" in page(stage, "POST", "/approvals", sent).headers["location"]
    assert api(stage, "GET", f"/approvals/{told['id']}")[1]["state"] == "waiting"
    stage.run(stage.engine.complete_awakeable(*awakeable_id_parse(name), Success(b"null")))
    assert done(stage, "busy")[0][1] == "approved"


def test_state_that_says_something_else_shows_nothing(stage: Stage) -> None:
    """Questions of another object, as a branch of a key has them, and what is no question at all."""
    told = left(stage, "origin", 1)

    def reading() -> Any:
        return local_reading(stage.engine.path, stage.engine.now_ms())

    with reading() as found:
        value = found.state_value("Desk", "origin", b"rewake.approvals")
        assert [each.id for each in kept.kept_of(found, "Desk", "origin")] == [told["id"]]
    for number, other in enumerate((value, b"[]", b'{"rewake":1,"open":[1,{"id":"ask_1AA"},{"id":2}]}', b"\xff")):
        stage.run(stage.engine.mutate_state("Desk", f"copy-{number}", {b"rewake.approvals": other or b""}))
    with reading() as found:
        assert all(not kept.kept_of(found, "Desk", f"copy-{number}") for number in range(4))
        assert told["id"] in {each.id for each in inbox(found).approvals}
    assert api(stage, "POST", f"/approvals/{told['id']}/deny")[0] == 200


def test_the_inbox_reads_many_objects_by_pages(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """KEYS_MAX objects a page, then those of runs."""
    ids = {left(stage, f"many-{number}", number)["id"] for number in range(3)}
    monkeypatch.setattr(kept, "KEYS_MAX", 2)
    found, query = list[list[str]](), "?service=Desk"
    while query:
        _, listed = api(stage, "GET", f"/approvals{query}")
        found.append([each["id"] for each in listed["approvals"]])
        query = f"?service=Desk&cursor={listed['next_cursor']}" if "next_cursor" in listed else ""
    assert max(map(len, found)) == 2
    assert ids <= {id_ for each in found for id_ in each}
    assert all(api(stage, "POST", f"/approvals/{each}/deny")[0] == 200 for each in ids)


def test_an_object_keeps_a_bounded_number(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """OPEN_MAX open ones, and DECIDED_MAX decided ones for who comes late."""
    monkeypatch.setattr(between, "OPEN_MAX", 3)
    monkeypatch.setattr(keeping, "DECIDED_MAX", 2)
    for number in range(3):
        stage.call("Desk", "pay", number, "full")
    with pytest.raises(Exception, match="More than 3 questions"):
        stage.call("Desk", "pay", 4, "full")
    with local_reading(stage.engine.path, stage.engine.now_ms()) as found:
        waiting = [each.id for each in kept.kept_of(found, "Desk", "full")]
    for each in waiting:
        assert stage.call("Desk", "answer_approval", {"id": each, "approved": False}, "full")["state"] == "denied"
    codes = [api(stage, "POST", f"/approvals/{each}/deny")[1]["code"] for each in waiting]
    assert codes == ["RW4026", "RW4027", "RW4027"]


def test_encrypted_questions(tmp_path: Path) -> None:
    """Without the key it is shown that they are, and whose; with it people read and answer them."""
    sealer = Sealer(values := Values(ring := Keyring({"test": b"k" * 32})))
    app = restate.app([desk_of("Vault")[0]], journal_value_codec=sealing(ring))
    with staged(tmp_path / "data", app) as stage:
        stage.run(stage.engine.attach(stage.send("Vault", "pay", "a secret", "ada")))
        assert api(stage, "GET", "/approvals") == (200, {"approvals": [], "encrypted": ["Vault/ada"]})
        shown = page(stage, "GET", "/approvals").text
        assert ('href="/ui/sessions/Vault?key=ada"' in shown, "--encryption-keys" in shown) == (True, True)
        listed = CliRunner().invoke(main, ["approvals", "list", "--admin", stage.url]).output
        assert ("questions of Vault/ada" in listed, "No approval" in listed) == (True, False)
        with opening(sealer):
            (told,) = api(stage, "GET", "/approvals")[1]["approvals"]
            assert (told["target"], told["arguments"]) == ("Vault/ada", "a secret")
            shown = page(stage, "GET", "/approvals").text
            assert ("a secret" in shown, "--encryption-keys" in shown) == (True, False)
        path = f"/approvals/{told['id']}"
        for method, of in (("GET", path), ("POST", f"{path}/approve")):
            status, problem = api(stage, method, of)
            assert (status, problem["code"], "Vault/ada" in problem["message"]) == (409, "RW1025", True)
        assert page(stage, "GET", path).status == 409
        with opening(sealer):
            answer = {"who": "Ada", "digest": told["digest"]}
            assert api(stage, "POST", f"{path}/approve", answer)[1]["state"] == "approved"
            assert api(stage, "POST", f"{path}/deny")[1]["code"] == "RW4027"
        where = "service_name = 'Vault' and key = 'done'"
        while not (rows := stage.run(stage.engine.query(f"select value from state where {where}")).rows):
            time.sleep(0.01)
        assert page(stage, "GET", "/").text.count("asking between turns") == 0
        assert json.loads(values.open(rows[0][0])) == [["a secret", "approved", "Ada", None]]
