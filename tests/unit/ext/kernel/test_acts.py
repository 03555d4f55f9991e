"""One act on the world: what its failure says, what its body does with it, and the stored form."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final, get_args

import httpx2
import pytest
from restate import TerminalError

from rewake.agents.effects import STATES, effect_in
from rewake.ext.kernel import Done, NotDone
from rewake.ext.kernel.acts import Act, State, verdict_on
from rewake.ext.kernel.envelope import Envelope, encode

REQUEST: Final = httpx2.Request("POST", "http://bank/pay")
ABOUT: Final = Envelope(kind="effect", framework="kernel", tool="pay")


def answered(status: int) -> httpx2.HTTPStatusError:
    return httpx2.HTTPStatusError("no", request=REQUEST, response=httpx2.Response(status, request=REQUEST))


def caused(problem: Exception) -> Exception:
    wrapped = RuntimeError("the client says")
    wrapped.__cause__ = problem
    return wrapped


@pytest.mark.parametrize(
    ("problem", "verdict"),
    [
        (TerminalError("declined"), "refused"),
        (answered(400), "refused"),
        (answered(402), "refused"),
        (answered(429), "not_done"),
        (ConnectionRefusedError(), "not_done"),
        (httpx2.ConnectError("nobody listens"), "not_done"),
        (httpx2.ConnectTimeout("no answer to SYN"), "not_done"),
        (caused(ConnectionRefusedError()), "not_done"),
        (NotDone("sold out"), "not_done"),
        (httpx2.ReadTimeout("no answer"), "unknown"),
        (httpx2.RemoteProtocolError("hung up"), "unknown"),
        (ConnectionResetError(), "unknown"),
        (TimeoutError(), "unknown"),
        (answered(408), "unknown"),
        (answered(409), "unknown"),
        (answered(500), "unknown"),
        (answered(503), "unknown"),
        (KeyError("receipt"), "unknown"),
    ],
)
def test_what_a_failure_says(problem: Exception, verdict: str) -> None:
    """Whatever may have left this machine is unknown."""
    assert verdict_on(problem) == verdict


def act(function: Any, **fields: Any) -> Act:
    return Act(name="pay", key="k-1", about=ABOUT, function=function, **fields)


def state_of(body: Any) -> str:
    return str(asyncio.run(body()).value["state"])


def test_one_that_may_have_been_sent_is_not_sent_again() -> None:
    sent: list[str] = []
    assert state_of(act(lambda: sent.append("x")).once) == "unknown"
    assert sent == []
    assert state_of(act(lambda: sent.append("x"), is_fresh=True).once) == "done"
    assert sent == ["x"]


def test_verify_is_asked_again_after_what_is_under_way_has_come() -> None:
    answers: list[Done[str] | None] = [None, Done("it came late")]
    late = act(lambda: "sent twice", verify=lambda: answers.pop(0), settle_s=0.001)
    assert asyncio.run(late.once()).value["result"] == "it came late"


@pytest.mark.parametrize("says", [True, "found", {"receipt": 1}])
def test_a_verify_that_says_something_else_leaves_it_unknown(says: Any) -> None:
    found = asyncio.run(act(lambda: "sent twice", verify=lambda: says).once()).value
    assert (found["state"], "must return Done(value)" in found["why"]) == ("unknown", True)


def test_the_stored_form() -> None:
    """Stored data: both readings of it are held to this."""
    stored = act(lambda: None).told("verified", result={"receipt": 7}, who="Ada", why="it is in the book")
    told = json.loads(encode(stored))
    told["value"]["at_ms"] = 5
    assert told == {
        "rewake": 1,
        "kind": "effect",
        "framework": "kernel",
        "tool": "pay",
        "value": {
            "effect": "pay",
            "key": "k-1",
            "state": "verified",
            "at_ms": 5,
            "result": {"receipt": 7},
            "who": "Ada",
            "why": "it is in the book",
        },
    }
    read = effect_in(encode(stored))
    assert read is not None
    assert (read.name, read.key, read.state, read.who, read.why) == (
        "pay",
        "k-1",
        "verified",
        "Ada",
        "it is in the book",
    )
    assert {*STATES} == {*get_args(State)}


@pytest.mark.parametrize("value", [{}, [], {"state": "done"}, {"state": "odd", "key": "k"}, {"state": 1, "key": "k"}])
def test_another_value_is_no_effect(value: Any) -> None:
    assert effect_in(encode(ABOUT.with_value(value))) is None
