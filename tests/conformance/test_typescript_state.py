"""Handlers in TypeScript on both engines and both transports: state, workflows, and the options of the manifest."""

from __future__ import annotations

from pathlib import Path

import pytest
from http_service import ServerKind, Service, typescript
from node_tour import EngineKind, make_engine
from raw_http import fetch
from subject import Subject, outcome, until

from rewake.deployments.http.identity import load_key, new_key


@pytest.fixture
def ts(typescript_subject: Subject) -> Subject:
    return typescript_subject


def last_event(ts: Subject, invocation_id: str) -> str:
    """What happened to it last, as JSON."""
    rows = ts.query(f"SELECT event_json FROM sys_journal_events WHERE id = '{invocation_id}' ORDER BY appended_at")
    event: str = rows[-1]["event_json"]
    return event


# Virtual objects


def test_state_lasts_from_call_to_call(ts: Subject) -> None:
    key = ts.unique()
    assert [outcome(ts.call(f"TsCounter/{key}/add", amount)) for amount in (1, 2, 3)] == [1, 3, 6]
    assert outcome(ts.call(f"TsCounter/{key}/read")) == 6
    assert outcome(ts.call(f"TsCounter/{ts.unique()}/read")) is None


def test_a_key_does_one_thing_at_a_time(ts: Subject) -> None:
    key = ts.unique()
    answers = [ts.calling(f"TsCounter/{key}/add", 1) for _ in range(20)]
    assert sorted(outcome(answer.result()) for answer in answers) == list(range(1, 21))


@pytest.mark.parametrize("service", ["TsCounter", "TsLazyCounter"])
def test_state_of_every_kind(ts: Subject, service: str) -> None:
    """Sent along or asked for, a handler sees the same, and what is stored in the end is the same."""
    key = ts.unique()
    sent = ts.send(f"{service}/{key}/use")
    b = {"deep": ["ä", None]}
    assert ts.result(sent) == [
        [],
        None,
        1,
        b,
        ["a", "b", "bytes"],
        None,
        None,
        [],
    ]
    assert ts.marks(sent).count("attempt") >= 2
    assert ts.state(service, key) == {"c": b"3"}
    assert outcome(ts.call(f"{service}/{key}/see")) == [["c"], 3, None]


def test_lazy_state_is_asked_for(ts: Subject) -> None:
    key = ts.unique()
    ts.call(f"TsLazyCounter/{key}/add", 1)
    sent = ts.send(f"TsLazyCounter/{key}/see")
    assert ts.result(sent) == [["value"], None, None]
    assert ts.commands(sent) == ["Input", "GetLazyStateKeys", "GetLazyState", "GetLazyState", "Output"]
    eager = ts.send(f"TsCounter/{key}/see")
    assert ts.result(eager) == [[], None, None]
    assert ts.commands(eager) == ["Input", "GetEagerStateKeys", "GetEagerState", "GetEagerState", "Output"]


def test_shared_handlers_read_while_the_key_is_held(ts: Subject) -> None:
    key, gate = ts.unique(), ts.unique("gate")
    held = ts.send(f"TsCounter/{key}/hold", gate)
    ts.marked(held, "holds")
    until(lambda: ts.state("TsCounter", key) == {"value": b"100"}, lambda: str(ts.state("TsCounter", key)))
    assert outcome(ts.call(f"TsCounter/{key}/read")) == 100
    waiting = ts.calling(f"TsCounter/{key}/add", 1)
    ts.open_gate(gate)
    assert outcome(waiting.result()) == 102


def test_a_failed_handler_has_changed_the_state(ts: Subject) -> None:
    key = ts.unique()
    assert outcome(ts.call(f"TsCounter/{key}/setsAndFails")) == "409 after all not"
    assert ts.state("TsCounter", key) == {"value": b"7"}


def test_from_key_to_key(ts: Subject) -> None:
    mine, theirs = ts.unique("mine"), ts.unique("theirs")
    assert outcome(ts.call(f"TsCounter/{mine}/addElsewhere", theirs)) == [1, 10, 10]


@pytest.mark.parametrize(
    ("path", "key"),
    [("%D0%BA%D0%BB%D1%8E%D1%87", "ключ"), ("a%2Fb%20c", "a/b c"), ("%F0%9F%A6%80", "🦀"), ("%25", "%")],
)
def test_keys_in_any_script(ts: Subject, path: str, key: str) -> None:
    assert outcome(ts.call(f"TsCounter/{path}/key")) == key


def test_state_outlives_the_engine(ts: Subject) -> None:
    key = ts.unique()
    ts.call(f"TsCounter/{key}/add", 41)
    ts.restart()
    assert outcome(ts.call(f"TsCounter/{key}/add", 1)) == 42


# Workflows


def test_a_workflow_waits_for_its_promise(ts: Subject) -> None:
    key = ts.unique()
    sent = ts.send(f"TsFlow/{key}/run", "claim")
    ts.reaches(sent, "suspended")
    assert outcome(ts.call(f"TsFlow/{key}/peek")) == [None, "waiting"]
    assert outcome(ts.call(f"TsFlow/{key}/approve", "ja")) is None
    assert outcome(ts.call(f"TsFlow/{key}/approve", "again")) == "409 promise was already completed"
    assert ts.result(sent) == "claim: ja"
    assert outcome(ts.call(f"TsFlow/{key}/peek")) == ["ja", "decided"]
    assert ts.marks(sent) == ["attempt"] * 2


def test_a_promise_is_rejected(ts: Subject) -> None:
    key = ts.unique()
    sent = ts.send(f"TsFlow/{key}/run", "claim")
    ts.call(f"TsFlow/{key}/reject", "nein")
    assert ts.result(sent) == "claim: 500 nein"


def test_a_promise_that_many_wait_for(ts: Subject) -> None:
    key = ts.unique()
    ts.call(f"TsFlow/{key}/settle", "before")
    assert outcome(ts.call(f"TsFlow/{key}/wait", "before")) == "settled before"
    waiting = [ts.send(f"TsFlow/{key}/wait", "after") for _ in range(3)]
    for each in waiting:
        ts.reaches(each, "suspended")
    ts.call(f"TsFlow/{key}/settle", "after")
    assert [ts.result(each) for each in waiting] == ["settled after"] * 3


def test_a_workflow_runs_once(ts: Subject) -> None:
    key = ts.unique()
    sent = ts.send(f"TsFlow/{key}/run", "claim")
    again = ts.ingress("POST", f"/TsFlow/{key}/run/send", "other")
    assert (again.json["invocationId"], again.json["status"]) == (sent, "PreviouslyAccepted")
    ts.call(f"TsFlow/{key}/approve", "ja")
    assert outcome(ts.ingress("GET", f"/restate/workflow/TsFlow/{key}/attach")) == "claim: ja"
    assert ts.call(f"TsFlow/{key}/run", "other").status == 409


# Options


def test_options_of_the_manifest(ts: Subject) -> None:
    found = ts.admin("GET", "/services/TsOptions").json
    assert (found["documentation"], found["metadata"]) == ("Every option", {"team": "claims"})
    handlers = {handler["name"]: handler for handler in found["handlers"]}
    own = handlers["overrides"]
    assert (own["documentation"], own["metadata"]) == ("Its own", {"cost": "high"})
    assert (found["public"], handlers["hidden"]["public"]) == (True, False)
    is_http1 = ts.service.server == "node_http1"
    assert found["journal_retention"] == "2d"
    assert found["idempotency_retention"] == "3h"
    assert found["inactivity_timeout"] == ("0s" if is_http1 else "4s")  # there is no connection to be inactive on
    assert found["abort_timeout"] == "5s"
    assert found["retry_policy"] == {
        "initial_interval": "6ms",
        "exponentiation_factor": 3.0,
        "max_interval": "70ms",
        "max_attempts": 8,
        "on_max_attempts": "Kill",
    }
    assert (own["journal_retention"], own["idempotency_retention"], own["abort_timeout"]) == ("1m", "2m", "4m")
    assert own["retry_policy"] == {"max_attempts": 2, "on_max_attempts": "Pause"}


def test_a_private_handler(ts: Subject) -> None:
    assert ts.call("TsOptions/hidden").status == 400
    assert outcome(ts.call("TsOptions/reveals")) == "hidden"


def test_what_is_not_retained(ts: Subject) -> None:
    answer = ts.call("TsOptions/forgotten")
    assert outcome(answer) == "forgotten"
    ts.vanishes(answer.headers["x-restate-id"])


def test_attempts_are_counted_and_then_it_fails(ts: Subject) -> None:
    sent = ts.send("TsOptions/killed")
    assert str(ts.result(sent)).startswith("500 ")
    assert ts.marks(sent) == ["attempt"] * 3


def test_attempts_are_counted_and_then_it_pauses(ts: Subject) -> None:
    sent = ts.send("TsOptions/paused")
    ts.reaches(sent, "paused")
    assert "never works" in last_event(ts, sent)
    assert ts.marks(sent) == ["attempt"] * 2
    assert ts.operate(sent, "resume").status in (200, 202)
    ts.marked(sent, "attempt", times=4)
    ts.reaches(sent, "paused")
    ts.operate(sent, "kill")


def test_a_handler_that_hangs_is_cut_off(ts: Subject) -> None:
    sent = ts.send("TsOptions/hangs")
    assert ts.result(sent) == "went on"
    assert ts.marks(sent) == ["attempt"] * 2


def test_a_step_asks_for_a_pause(ts: Subject) -> None:
    sent = ts.send("TsSteps/stepPauses")
    ts.reaches(sent, "paused")
    assert "look at this" in last_event(ts, sent)
    ts.operate(sent, "resume")
    assert ts.result(sent) == "seen"
    assert ts.marks(sent) == ["ran", "ran"]


def test_a_changed_journal_is_tried_again(ts: Subject) -> None:
    sent = ts.send("TsOptions/changes")
    assert ts.result(sent) == "one"
    assert ts.marks(sent).count("attempt") >= 3


# Identity


@pytest.mark.parametrize("server", ["node", "node_http1"])
def test_signed_requests_are_accepted_by_the_sdk(tmp_path: Path, engine_kind: EngineKind, server: ServerKind) -> None:
    """With the key it was given; without one, discovery is refused."""
    key = tmp_path / "key.pem"
    key.write_bytes(new_key())
    (tmp_path / "marks").mkdir()
    variable = {"rewake": "REWAKE_IDENTITY_KEY", "restate": "RESTATE_REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE"}[
        engine_kind
    ]
    app = typescript("app.ts")
    service = Service(app, server, REWAKE_TEST_STAGE=str(tmp_path), IDENTITY_KEY=load_key(key).public_form)
    signing = make_engine(tmp_path, engine_kind, **{variable: str(key)})
    try:
        signing.start()
        answer = fetch(
            signing.port,
            "POST",
            "/deployments",
            {"content-type": "application/json"},
            b'{"uri":"%s","use_http_11":%s}' % (service.uri.encode(), b"true" if server == "node_http1" else b"false"),
        )
        assert answer.status == 201, answer.body
        assert signing.call("/TsSteps/route", "Ada").body == "pick, ask Ada, check"
    finally:
        signing.kill()
        service.kill()
