"""Where the engines differ on purpose, each side asserted on its own engine; differences.toml says what and why.

Differences that belong to a subject of their own are asserted there. The last tests hold tests and table together.
"""

from __future__ import annotations

import ast
import socket
import time
import tomllib
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from raw_http import Wire, request
from subject import Subject, outcome, until

HERE = Path(__file__).parent
DIFFERENCES: list[dict[str, str]] = tomllib.loads((HERE / "differences.toml").read_text())["difference"]


def test_a_signal_to_one_that_has_not_started(subject: Subject) -> None:
    invocation_id = subject.send("Waits/named", ["a"], delay="500ms")
    outcome(subject.call("Waits/signaller", {"resolve": "a", "to": invocation_id, "value": "early"}))
    subject.marked(invocation_id, "attempt")
    outcome(subject.call("Waits/signaller", {"resolve": "a", "to": invocation_id, "value": "late"}))
    assert subject.result(invocation_id) == [subject.differs("early-signal", rewake="early", restate="late")]


def test_a_caller_that_ends_its_side_of_the_connection(subject: Subject) -> None:
    with Wire(subject.ingress_port) as wire:
        wire.send(request("POST", "/Steps/nap", {"content-type": "application/json"}, b"100"))
        wire.socket.shutdown(socket.SHUT_WR)
        try:
            said = wire.socket.recv(12)
        except ConnectionResetError:
            said = b""
    assert said == subject.differs("half-closed", rewake=b"HTTP/1.1 200", restate=b"")


def test_attempts_are_counted_over_a_restart_of_the_engine(subject: Subject) -> None:
    """A limit of three: one attempt fails, one is cut off by the restart and does not count."""
    gate = subject.unique()
    invocation_id = subject.send("Retries/fails_around_a_crash", gate)
    subject.marked(invocation_id, "attempt", times=2)
    subject.restart()
    subject.open_gate(gate)
    subject.reaches(invocation_id, "paused")
    assert len(subject.marks(invocation_id)) == subject.differs("counter-restart", rewake=2 + 2, restate=2 + 3)


def test_attempts_are_counted_from_the_last_progress(subject: Subject) -> None:
    if not subject.is_full_duplex:
        pytest.skip("every step is an attempt")
    invocation_id = subject.send("Retries/progresses", 6)
    row = subject.reaches(invocation_id, "paused", "completed")
    assert row["status"] == subject.differs("counter-progress", rewake="completed", restate="paused")
    attempts = subject.marks(invocation_id).count("attempt")
    assert attempts == subject.differs("counter-progress", rewake=6, restate=3)


def test_a_cancellation_that_was_caught_wakes_nobody_again(subject: Subject) -> None:
    invocation_id = subject.send("BriefCancels/catches", 1)
    subject.reaches(invocation_id, "suspended")
    subject.operate(invocation_id, "cancel")
    subject.marked(invocation_id, "ran compensation")
    if subject.differs("caught-cancel", rewake=False, restate=True):
        subject.marked(invocation_id, "attempt", times=8)
    else:
        subject.reaches(invocation_id, "suspended")
    outcome(subject.call("Waits/signaller", {"resolve": "done", "to": invocation_id, "value": "fine"}))
    assert subject.result(invocation_id) == "caught 1, fine"
    attempts = subject.marks(invocation_id).count("attempt")
    assert (attempts > 6) is subject.differs("caught-cancel", rewake=False, restate=True)


def test_the_first_retry_when_a_service_cannot_be_reached(subject: Subject) -> None:
    """The policy says an hour."""
    subject.service.kill()
    try:
        invocation_id = subject.send("Retries/waits_long")
        subject.reaches(invocation_id, "backing-off")
        failures = subject.differs("lost-connection", rewake=2, restate=1)
        row = until(
            lambda: due if (due := _due(subject, invocation_id)).get("retry_count") == failures else None,
            lambda: str(subject.invocation(invocation_id)),
        )
        assert row["last_failure_error_code"] == "RT0010"
    finally:
        subject.service.start()
    assert subject.operate(invocation_id, "kill").status == 200


def _due(subject: Subject, invocation_id: str) -> dict[str, Any]:
    """Its row while it waits for its next attempt; nothing otherwise."""
    row = subject.invocation(invocation_id)
    return row if row is not None and "next_retry_at" in row else {}


def test_pause_of_a_suspended_invocation(subject: Subject) -> None:
    invocation_id = subject.send("BriefWaits/named", ["a"])
    subject.reaches(invocation_id, "suspended")
    assert subject.operate(invocation_id, "pause").status == 200
    outcome(subject.call("Waits/signaller", {"resolve": "a", "to": invocation_id, "value": "x"}))
    row = subject.reaches(invocation_id, "paused", "completed")
    assert row["status"] == subject.differs("pause-suspended", rewake="paused", restate="completed")
    if row["status"] == "paused":
        assert subject.operate(invocation_id, "resume").status == 200
    assert subject.result(invocation_id) == ["x"]


def test_a_result_that_is_past_its_retention(surfaces: Subject) -> None:
    """The next sweep is an hour away."""
    key = surfaces.unique()
    first = surfaces.call("Greeter/brief", "first", idempotency_key=key)
    again = surfaces.call("Greeter/brief", "again", idempotency_key=key)
    if expires := again.headers.get("idempotency-expires"):
        time.sleep(max(0, datetime.fromisoformat(expires).timestamp() - time.time()) + 0.001)
    later = surfaces.call("Greeter/brief", "later", idempotency_key=key)
    expected = surfaces.differs("past-retention", rewake="hi later", restate="hi first")
    assert (outcome(first), outcome(later)) == ("hi first", expected)


def test_http2_of_callers(surfaces: Subject) -> None:
    for port, path in ((surfaces.ingress_port, "/restate/health"), (surfaces.admin_port, "/health")):
        with httpx2.Client(http1=False, http2=True) as client:
            try:
                told = client.get(f"http://127.0.0.1:{port}{path}").http_version
            except httpx2.HTTPError:
                told = "none"
        assert told == surfaces.differs("http2-of-callers", rewake="none", restate="HTTP/2")


def test_what_only_one_of_them_has(surfaces: Subject) -> None:
    rules = surfaces.admin("PUT", "/limits/rules", [{"pattern": "nothing/*", "limits": {"concurrency": 1000}}])
    assert rules.status == surfaces.differs("flow-control", rewake=501, restate=200)
    assert surfaces.admin("GET", "/metrics").status == surfaces.differs("metrics", rewake=200, restate=404)
    version = surfaces.admin("GET", "/version").json
    assert ("rewake_version" in version) is surfaces.differs("version", rewake=True, restate=False)


def test_a_fork_with_another_result(subject: Subject) -> None:
    """The public server does not know the parameter, and copies the result as it is."""
    invocation_id = subject.send("Steps/route", "Ada")
    subject.result(invocation_id)
    path = f"/invocations/{invocation_id}/restart-as-new?from={subject.journal(invocation_id).index('Run pick')}"
    answer = subject.admin("PATCH", path, {"result": "forked"})
    new_id = answer.json["new_invocation_id"]
    expected = subject.differs("fork", rewake="forked, ask Ada, check", restate="pick, ask Ada, check")
    assert subject.result(new_id) == expected


# The table


def test_every_difference_is_asserted_or_says_how_it_was_measured() -> None:
    used: Counter[str] = Counter(name for file in HERE.glob("test_*.py") for name in _named(file))
    named = {each["name"] for each in DIFFERENCES}
    assert len(named) == len(DIFFERENCES)
    assert set(used) <= named
    assert {each["name"] for each in DIFFERENCES if "measured" not in each} <= set(used)
    assert not {each["name"] for each in DIFFERENCES if "measured" in each} & set(used)


@pytest.mark.parametrize("each", DIFFERENCES, ids=lambda each: each["name"])
def test_a_difference_says_what_both_do(each: dict[str, str]) -> None:
    assert set(each) - {"measured", "why"} == {"name", "subject", "restate", "rewake"}
    assert all(text and "\n" not in text and "|" not in text for text in each.values())


def _named(file: Path) -> list[str]:
    """The names that calls of `differs` in a file say."""
    calls: list[Any] = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    return [call.args[0].value for call in calls if getattr(call.func, "attr", "") == "differs"]
