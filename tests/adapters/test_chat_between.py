"""A chat whose questions wait between turns: nothing is open meanwhile.

REWAKE_ALL_CRASHES=1 runs it on the real restate-server, too; test_between.py always does.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_kit import Desk, approval_of, desk_of, outputs_of, read, text_of
from node_tour import EngineKind
from subject import until
from test_chat import RULES
from tests.warm import run_warm
from tour import ALL

pytest.importorskip("agents", reason="the chat of these tests speaks with OpenAI agents")

ENGINES: list[EngineKind] = ["rewake", "restate"] if ALL else ["rewake"]


@pytest.fixture(scope="module", params=ENGINES)
def desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    from chat_served import kept as chat

    yield from desk_of(request.param, chat, "chat_served:app", RULES, Path(tmp_path_factory.mktemp("between")))


def refused(desk: Desk, chat_id: str, approval: str) -> str:
    """The code that an answer is refused with."""
    response = desk.client.post(f"/api/chat/{chat_id}/approvals/{approval}", json={"approved": True})
    assert response.status_code == 409, response.text
    return str(response.json()["message"])[:6]


def rewake(desk: Desk, *words: str) -> subprocess.CompletedProcess[str]:
    """A subcommand on the desk's engine."""
    admin = f"http://127.0.0.1:{desk.subject.admin_port}"
    ingress = ["--ingress", f"http://127.0.0.1:{desk.subject.ingress_port}"] if words[1] in ("approve", "deny") else []
    command = [sys.executable, "-m", "rewake", *words, *ingress, "--admin", admin]
    return run_warm(command)


def test_a_nested_specialist_asks_and_everything_is_killed(desk: Desk) -> None:
    """No model is asked again, nothing is paid twice, and the turn is one turn for the reader."""
    approval = approval_of(desk.say("one", "m1", "I was charged twice, nested"))
    assert desk.get("one")["status"] == "waiting"
    before = {name: count.asked for name, count in desk.models.counts.items()}
    desk.subject.service.restart()
    desk.subject.restart()
    until(lambda: desk.client.get("/api/chat/one").status_code == 200, lambda: "the engine")
    assert approval_of(read(desk.client.get("/api/chat/one/stream"))) == approval
    rest = desk.answer("one", approval, approved=True)
    assert set(outputs_of(rest)) == {"moved", "40 EUR are on their way"}
    assert text_of(rest) == "You get it back."
    asked = {name: count.asked - before[name] for name, count in desk.models.counts.items()}
    assert {name: count for name, count in asked.items() if count} == {"bank end": 1, "billing end": 1}
    assert (desk.folder / "marks").read_text().splitlines().count("refund 40") == 1
    assert [message["role"] for message in desk.get("one")["messages"]] == ["user", "assistant"]
    assert refused(desk, "one", approval) == "RW4027"


def test_the_commands_list_and_answer_it(desk: Desk) -> None:
    """Over the public API, on any server; the second answer is refused in words."""
    approval = approval_of(desk.say("two", "m1", "I was charged twice"))
    listed = rewake(desk, "approvals", "list")
    assert (approval in listed.stdout, "KeptDesk/two" in listed.stdout) == (True, True), listed
    done = rewake(desk, "approvals", "deny", approval, "--who", "Ada", "--why", "no way")
    assert (done.returncode, "Denied" in done.stdout + done.stderr) == (0, True), done
    until(lambda: desk.get("two")["status"] == "ended", lambda: str(desk.get("two")))
    heard = [
        item for item in desk.models.exchanges[-1].request.body["input"] if item.get("type") == "function_call_output"
    ]
    assert heard[-1]["output"] == "no way"
    again = rewake(desk, "approvals", "approve", approval)
    assert (again.returncode, "RW4027" in again.stderr, "by Ada" in again.stderr) == (5, True, True), again


def test_a_message_meanwhile_waits_for_the_turn(desk: Desk) -> None:
    """In the inbox, and answered when the turn has ended."""
    approval = approval_of(desk.say("three", "m1", "I was charged twice"))
    body = {"id": "m2", "text": "My box is broken"}
    assert desk.client.post("/api/chat/three/messages", json=body).status_code == 202
    assert (desk.get("three")["turn"], desk.get("three")["queued"]) == ("m1", [body])
    desk.answer("three", approval, approved=True)
    until(lambda: desk.get("three")["turn"] == "m2", lambda: str(desk.get("three")))
    until(lambda: desk.get("three")["status"] == "ended", lambda: str(desk.get("three")))
    assert desk.get("three", "?format=ag-ui")["messages"][-1]["content"] == "Switch it off and on."


def test_a_turn_that_waits_is_stopped(desk: Desk) -> None:
    """Its question can no longer be answered, and the conversation goes on."""
    approval = approval_of(desk.say("four", "m1", "I was charged twice"))
    assert desk.client.post("/api/chat/four/stop", json={}).json() == {"stopped": True}
    until(lambda: desk.get("four")["status"] == "stopped", lambda: str(desk.get("four")))
    assert refused(desk, "four", approval) == "RW4031"
    assert text_of(desk.say("four", "m2", "My box is broken")) == "Switch it off and on."
