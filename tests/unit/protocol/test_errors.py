"""What a violation carries."""

from __future__ import annotations

from rewake.protocol.errors import AWAIT_TREE_TOO_DEEP, PROTOCOL_VIOLATION, ProtocolViolation


def test_a_violation_has_the_code_that_says_least_unless_it_has_its_own() -> None:
    plain, own = ProtocolViolation("no"), ProtocolViolation("too deep", AWAIT_TREE_TOO_DEEP)
    assert (plain.code, plain.message, str(plain)) == (PROTOCOL_VIOLATION, "no", "[RT0012] no")
    assert (own.code, str(own)) == ("RT0025", "[RT0025] too deep")
