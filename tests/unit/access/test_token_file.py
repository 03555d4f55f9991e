"""The file of tokens: what is written, who may read it, and a change while it is in use."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from rewake.access.token_file import TokenFile, add_token, read_tokens, remove_token
from rewake.access.tokens import Role, Token
from rewake.errors import ErrorCode, RewakeError

OPS, WEB = Token("ops", Role.ADMIN, "1" * 64), Token("web", Role.CALL, "2" * 64, ("Desk",), 5, 9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "tokens.json"


def test_tokens_are_kept_for_the_owner_alone(path: Path) -> None:
    assert read_tokens(path) == []
    add_token(path, OPS)
    add_token(path, WEB)
    assert read_tokens(path) == [OPS, WEB]
    assert path.stat().st_mode & 0o777 == 0o600
    assert remove_token(path, "ops") == OPS
    assert read_tokens(path) == [WEB]
    assert [each.name for each in path.parent.iterdir()] == ["tokens.json"]


def test_the_stored_form_is_pinned(path: Path) -> None:
    add_token(path, WEB)
    assert (
        path.read_text().split()
        == (
            '{ "tokens": [ { "name": "web", "role": "call", "digest": "' + "2" * 64 + '", "services": [ "Desk" ],'
            ' "created_at_ms": 5, "expires_at_ms": 9 } ], "version": 1 }'
        ).split()
    )


def test_what_is_refused(path: Path) -> None:
    add_token(path, OPS)
    with pytest.raises(RewakeError, match="already"):
        add_token(path, OPS)
    with pytest.raises(RewakeError, match="no token named 'web'"):
        remove_token(path, "web")
    path.with_name("tokens.json.new").touch()
    with pytest.raises(RewakeError, match="Another command is changing it"):
        add_token(path, WEB)
    assert read_tokens(path) == [OPS]


@pytest.mark.parametrize("content", ["", "{", '{"tokens": [{}]}', '{"tokens": [], "version": 2}'])
def test_a_file_that_cannot_be_read(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(RewakeError) as caught:
        TokenFile(path).refresh()
    assert caught.value.code is ErrorCode.TOKENS_INVALID


def test_a_file_that_others_may_write_is_refused(path: Path) -> None:
    add_token(path, OPS)
    path.chmod(0o666)
    with pytest.raises(RewakeError, match="chmod 600"):
        read_tokens(path)


def test_a_change_is_seen_and_a_broken_file_changes_nothing(path: Path) -> None:
    tokens = TokenFile(path, [OPS])
    tokens.refresh()
    assert not tokens.is_empty
    add_token(path, WEB)
    tokens.refresh_if_readable()
    assert tokens.find(WEB.digest) == WEB
    path.write_text("{ broken")
    with capture_logs() as logs:
        tokens.refresh_if_readable()
        tokens.refresh_if_readable()
    assert [each["event"] for each in logs] == ["tokens_not_read"]
    assert (tokens.find(WEB.digest), tokens.find(OPS.digest)) == (WEB, OPS)
    path.unlink()
    tokens.refresh_if_readable()
    assert (tokens.find(WEB.digest), tokens.find(OPS.digest)) == (None, OPS)
