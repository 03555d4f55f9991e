"""What is shown of contents while something hides parts of them."""

from __future__ import annotations

import pytest

from rewake import formats
from rewake.disclosure import hiding, is_hiding, require_whole, shown_content, shown_message, shown_text
from rewake.errors import RewakeError
from rewake.protocol import messages as m
from rewake.redaction import REDACTED, by_patterns, on_bytes


def test_patterns_replace_their_groups_or_all() -> None:
    redact = by_patterns(["s3c[a-z]+t", r'"pin": (\d)(\d+)', "(?:x)(y)?"], "redact")
    assert redact is not None
    assert redact('my s3cret, "pin": 123, xyx') == f'my {REDACTED}, "pin": {REDACTED}{REDACTED}, x{REDACTED}{REDACTED}'
    assert by_patterns([], "redact") is None
    assert on_bytes(None) is None


def test_bytes_that_are_no_text_stay_what_they_are() -> None:
    redact = on_bytes(by_patterns(["secret"], "redact"))
    assert redact is not None
    assert redact(b"\xff\xfesecret\x80") == b"\xff\xfe" + REDACTED.encode() + b"\x80"


def test_messages_lines_and_contents() -> None:
    call = m.CallCommand(
        service_name="secret", handler_name="h", parameter=b"a secret", key="secret",
        headers=(("x-a", "secret"),), invocation_id_completion_id=1, result_completion_id=2,
        idempotency_key=None, scope=None, limit_key=None,
    )  # fmt: skip
    assert shown_message(call) is call
    with hiding(lambda text: text.replace("secret", "*")):
        shown = shown_message(call)
        assert (shown.service_name, shown.parameter, shown.headers) == ("secret", b"a *", (("x-a", "*"),))
        assert shown_message(m.OutputCommand(m.Failure(500, "secret"))).result == m.Failure(500, "*")
        assert shown_message(m.OutputCommand(m.Success(b"secret"))).result == m.Success(b"*")
        assert formats.shown(b'{"a": "secret"}').text == '{\n  "a": "*"\n}'
        assert formats.line(b"x" * 115 + b" secret") == "x" * 115 + " *"
        assert formats.safe("secret") == "*"
    assert not is_hiding()
    assert formats.safe("secret") == "secret"


def test_a_function_that_fails_hides_everything() -> None:
    def broken(text: str) -> str:
        raise KeyError(text)

    with hiding(broken):
        assert shown_text("anything") == REDACTED
        assert shown_content(b"\xff") == REDACTED.encode()


def test_what_stands_for_something_hidden_is_not_stored() -> None:
    require_whole(REDACTED.encode())
    with hiding(str), pytest.raises(RewakeError, match="does not show"):
        require_whole(b'"' + REDACTED.encode() + b'"')
