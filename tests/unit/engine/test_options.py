"""What an engine's options keep of what comes from outside."""

from __future__ import annotations

from rewake.engine.options import EngineOptions


def test_everything_is_kept_by_default_but_credentials() -> None:
    options = EngineOptions()
    assert options.kept_body(b"body", "Desk", "ada") == b"body"
    assert not options.changes_values
    assert options.kept_headers((("cookie", "a=b"), ("x-a", "b"))) == (("cookie", "[redacted]"), ("x-a", "b"))


def test_values_are_redacted_then_sealed() -> None:
    class Sealing:
        def seal(self, content: bytes, service: str, key: str | None) -> bytes:
            return f"{service}/{key}:".encode() + content

        def open(self, content: bytes) -> bytes | None:
            return None

    options = EngineOptions(redact_body=lambda body: body.replace(b"secret", b"*"), encryption=Sealing())
    assert options.kept_body(b"a secret", "Desk", "ada") == b"Desk/ada:a *"
    assert options.kept_value(b"a secret", "Desk", None) == b"Desk/None:a secret"
    assert options.changes_values
