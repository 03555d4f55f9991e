"""The token that a request shows: how it is written, when it is not taken any more, and cookies of people."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewake.access import gate as gates
from rewake.access import sign_ins
from rewake.access.gate import REMEMBERED_MAX, Gate, without_token
from rewake.access.token_file import TokenFile, add_token, remove_token
from rewake.access.tokens import Role, Token, digest_of

SECRET = "rwt_secret"
TOKEN = Token("ops", Role.OPERATE, digest_of(SECRET), expires_at_ms=1_000)


class Stage:
    """A gate, its file and its clocks."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tokens.json"
        self.now_ms = 0
        self.monotonic_s = 100.0
        add_token(self.path, TOKEN)
        tokens = TokenFile(self.path)
        tokens.refresh()
        self.gate = Gate(tokens, lambda: self.now_ms)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    here = Stage(tmp_path)
    for module in (gates, sign_ins):
        monkeypatch.setattr(module.time, "monotonic", lambda: here.monotonic_s)
    return here


@pytest.mark.parametrize(
    ("headers", "is_known"),
    [
        ({"authorization": f"Bearer {SECRET}"}, True),
        ({"authorization": f"bearer {SECRET}"}, True),
        ({"authorization": "Bearer of another", "x-rewake-token": SECRET}, True),
        ({"authorization": f"Basic {SECRET}"}, False),
        ({"authorization": SECRET}, False),
        ({"authorization": "Bearer rwt_other"}, False),
        ({"authorization": "Bearer \udcff"}, False),
        ({"x-rewake-token": "", "authorization": f"Bearer {SECRET}"}, False),
        ({}, False),
    ],
)
def test_how_a_token_is_shown(stage: Stage, headers: dict[str, str], is_known: bool) -> None:
    assert stage.gate.holder(headers) == (TOKEN if is_known else None)


def test_a_token_is_taken_out_of_what_goes_on() -> None:
    both = {"authorization": "Bearer user", "x-rewake-token": SECRET, "accept": "*/*"}
    without_token(both)
    assert both == {"authorization": "Bearer user", "accept": "*/*"}
    one = {"authorization": f"Bearer {SECRET}"}
    without_token(one)
    assert one == {}


def test_a_token_ends_when_it_expires(stage: Stage) -> None:
    shown = {"x-rewake-token": SECRET}
    stage.now_ms = 999
    assert stage.gate.holder(shown) == TOKEN
    stage.now_ms = 1_000
    assert stage.gate.holder(shown) is None


def test_a_token_that_is_revoked_is_taken_for_a_second_at_most(stage: Stage) -> None:
    shown = {"x-rewake-token": SECRET}
    cookie = f"other=1; rewake_session={stage.gate.sign_ins.begin(TOKEN)}"
    assert stage.gate.holder(shown) == stage.gate.sign_ins.holder(cookie) == TOKEN
    remove_token(stage.path, "ops")
    stage.monotonic_s += 1.0
    assert stage.gate.holder(shown) is None
    assert stage.gate.sign_ins.holder(cookie) is None


def test_a_sign_in_ends_by_itself_and_by_its_holder(stage: Stage) -> None:
    kept, ended = (f"rewake_session={stage.gate.sign_ins.begin(TOKEN)}" for _ in range(2))
    stage.gate.sign_ins.end(ended)
    assert (stage.gate.sign_ins.holder(kept), stage.gate.sign_ins.holder(ended)) == (TOKEN, None)
    stage.monotonic_s += sign_ins.SIGN_IN_S
    assert stage.gate.sign_ins.holder(kept) is None


@pytest.mark.parametrize("header", ["", "rewake_session", "rewake_session=nobody", 'x="; rewake_session=', "\0"])
def test_cookies_of_nobody(stage: Stage, header: str) -> None:
    assert stage.gate.sign_ins.holder(header) is None


def test_what_is_remembered_is_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_ins, "SIGN_INS_MAX", 2)
    first, *others = (f"rewake_session={stage.gate.sign_ins.begin(TOKEN)}" for _ in range(3))
    assert [stage.gate.sign_ins.holder(cookie) for cookie in (first, *others)] == [None, TOKEN, TOKEN]
    for padding in range(REMEMBERED_MAX + 1):  # white space around a secret is not part of it
        assert stage.gate.holder({"x-rewake-token": SECRET + " " * padding}) == TOKEN
    assert len(stage.gate._remembered) <= REMEMBERED_MAX
