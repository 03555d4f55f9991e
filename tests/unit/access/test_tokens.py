"""What a token allows, and tokens of the environment."""

from __future__ import annotations

import pytest

from rewake.access.tokens import Role, Token, check_name, digest_of, new_secret, tokens_in
from rewake.errors import ErrorCode, RewakeError

SECRET = "s" * 24


@pytest.mark.parametrize(
    ("held", "allowed"),
    [
        (Role.CALL, {Role.CALL}),
        (Role.READ, {Role.READ}),
        (Role.OPERATE, {Role.CALL, Role.READ, Role.OPERATE}),
        (Role.ADMIN, set(Role)),
    ],
)
def test_what_a_role_allows(held: Role, allowed: set[Role]) -> None:
    assert {role for role in Role if Token("t", held, "").allows(role)} == allowed


def test_a_secret_is_long_and_never_the_same() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert first.startswith("rwt_")
    assert len(first) == 4 + 43
    assert digest_of(first) != digest_of(second)


def test_tokens_of_the_environment() -> None:
    found = tokens_in(f"ops:admin:{SECRET}\n web:call:{SECRET}x:Desk+Billing ada:operate:{SECRET}y:Desk")
    assert found == [
        Token("ops", Role.ADMIN, digest_of(SECRET)),
        Token("web", Role.CALL, digest_of(SECRET + "x"), ("Desk", "Billing")),
        Token("ada", Role.OPERATE, digest_of(SECRET + "y"), ("Desk",)),
    ]
    assert found[1].covers("Billing")
    assert not found[1].covers("Payroll")


@pytest.mark.parametrize(
    "text",
    [
        "ops",
        f"ops:king:{SECRET}",
        "ops:admin:short",
        f":admin:{SECRET}",
        f"a:read:{SECRET} a:read:{SECRET}y",
        f"ops:admin:{SECRET}:Desk",
    ],  # fmt: skip
)
def test_tokens_that_cannot_be_used_are_refused_without_their_secret(text: str) -> None:
    with pytest.raises(RewakeError) as caught:
        tokens_in(text)
    assert caught.value.code is ErrorCode.TOKENS_INVALID
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a\n", "ä:b"])
def test_names_that_cannot_be_written(name: str) -> None:
    with pytest.raises(RewakeError):
        check_name(name)
