"""The token our commands show: from the environment, or from the file of `rewake login`."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewake.access.credentials import bearer, credentials_file, forget_token, keep_token, token_for
from rewake.errors import RewakeError

URL = "http://rewake.internal:9070"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("REWAKE_TOKEN", raising=False)


def test_a_token_is_kept_for_all_ports_of_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    assert token_for(URL) is None
    assert keep_token(URL, "one").stat().st_mode & 0o777 == 0o600
    keep_token("http://127.0.0.1:9070", "two")
    assert (token_for("https://rewake.internal"), token_for("http://127.0.0.1:8080")) == ("one", "two")
    monkeypatch.setenv("REWAKE_TOKEN", "three")
    assert token_for(URL) == "three"
    monkeypatch.delenv("REWAKE_TOKEN")
    assert (forget_token(URL), forget_token(URL), token_for(URL)) == (True, False, None)


@pytest.mark.parametrize(("content", "mode"), [("{}", 0o644), ("not JSON", 0o600)])
def test_a_file_that_cannot_be_used(content: str, mode: int) -> None:
    credentials_file().parent.mkdir()
    credentials_file().write_text(content)
    credentials_file().chmod(mode)
    with pytest.raises(RewakeError) as caught:
        token_for(URL)
    assert caught.value.code.value == "RW1023"


def test_the_header() -> None:
    assert bearer("x") == {"authorization": "Bearer x"}
    assert bearer(None) == {}
