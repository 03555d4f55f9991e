"""Which pages and names a door lets in."""

from __future__ import annotations

import pytest

from rewake.errors import ErrorCode
from rewake.http_server.origins import NAMES_REMEMBERED_MAX, Door, is_loopback_address

EVIL = "https://evil.example"


def code(door: Door, **headers: str) -> ErrorCode | None:
    refusal = door.refusal({name.replace("_", "-"): value for name, value in headers.items()})
    return None if refusal is None else refusal.code


@pytest.mark.parametrize(
    "host",
    ["", "localhost", "LOCALHOST:8080", "app.localhost:1", "127.0.0.1:8080", "[::1]:8080", "10.0.0.7", "rewake:8080"],
)
def test_addresses_and_names_no_public_dns_gives_are_ours(host: str) -> None:
    assert code(Door(), host=host) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example.",
        "a.b]",
        "[::1.x",
        "[::1].x.example",
        "[::1]x:1",
    ],
)
def test_other_names_are_refused_on_loopback(host: str) -> None:
    assert code(Door(), host=host) is ErrorCode.HOST_REFUSED
    assert code(Door(is_local=False), host=host) is None
    assert code(Door(frozenset({"*"})), host=host) is None


def test_names_that_are_allowed_are_the_only_ones() -> None:
    for is_local in (True, False):
        door = Door(frozenset({"Claims.example"}), is_local=is_local)
        assert code(door, host="claims.EXAMPLE.:443") is None
        assert code(door, host="other.example") is ErrorCode.HOST_REFUSED


def test_a_name_that_was_let_in_is_remembered_and_not_without_bound() -> None:
    door = Door()
    for number in range(NAMES_REMEMBERED_MAX * 2):
        assert code(door, host=f"name{number}") is None
        assert code(door, host=f"name{number}") is None
    assert len(door._known) == NAMES_REMEMBERED_MAX


@pytest.mark.parametrize("origin", [EVIL, "http://localhost:3000", "null", "http://127.0.0.1", "x", ""])
def test_pages_of_other_sites_and_ports_are_refused(origin: str) -> None:
    assert code(Door(), host="127.0.0.1:8080", origin=origin) is ErrorCode.ORIGIN_REFUSED
    assert code(Door(is_local=False), host="127.0.0.1:8080", origin=origin) is ErrorCode.ORIGIN_REFUSED
    assert code(Door(is_local=False), host="10.0.0.7:8080", origin=origin) is None


def test_its_own_pages_may_call_it() -> None:
    assert code(Door(), host="LocalHost:9070", origin="http://localhost:9070") is None
    proxied = Door(frozenset({"claims.example"}))
    assert code(proxied, host="127.0.0.1:9070", origin="https://claims.example") is None


def test_pages_that_are_allowed_may_call_it_and_read() -> None:
    door = Door(origins=frozenset({"https://App.example/", "http://localhost:3000"}))
    for origin in ("https://app.example", "http://localhost:3000"):
        assert code(door, host="localhost:8080", origin=origin, sec_fetch_site="cross-site") is None
        assert door.allows_reading(origin)
    assert code(door, host="localhost:8080", origin=EVIL) is ErrorCode.ORIGIN_REFUSED
    assert not door.allows_reading(EVIL)
    every = Door(origins=frozenset({"*"}))
    assert code(every, host="localhost", origin=EVIL) is None
    assert every.allows_reading(EVIL)


def test_what_another_site_makes_a_browser_fetch_is_refused() -> None:
    assert code(Door(), host="localhost", sec_fetch_site="cross-site") is ErrorCode.ORIGIN_REFUSED
    for site in ("same-origin", "none"):
        assert code(Door(), host="localhost", sec_fetch_site=site) is None


def test_a_link_may_be_followed_where_that_does_no_harm() -> None:
    followed = {"host": "localhost", "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    for destination, is_let_in in (("document", True), ("iframe", False)):
        refusal = Door().refusal({**followed, "sec-fetch-dest": destination}, is_navigation_safe=True)
        assert (refusal is None) is is_let_in
    assert Door().refusal({**followed, "sec-fetch-dest": "document"}) is not None


def test_a_refusal_says_what_to_allow() -> None:
    refusal = Door().refusal({"host": "localhost", "origin": EVIL})
    assert refusal is not None
    assert refusal.message == f"A page of '{EVIL}' sent the request."
    assert (
        refusal.hint == f"If the page is yours, allow its origin: --allowed-origins {EVIL} (or REWAKE_ALLOWED_ORIGINS)"
    )
    refusal = Door().refusal({"host": "evil.example:1"})
    assert refusal is not None
    assert refusal.hint == "If the name is yours, allow it: --allowed-hosts evil.example (or REWAKE_ALLOWED_HOSTS)"


def test_addresses_that_only_this_machine_reaches() -> None:
    for host in ("127.0.0.1", "127.1.2.3", "localhost", "::1"):
        assert is_loopback_address(host)
    for host in ("0.0.0.0", "::", "10.0.0.7", "claims.example"):
        assert not is_loopback_address(host)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_picture_on_a_page_of_another_port_runs_nothing(site: str) -> None:
    """It comes without an origin; the same site is any port of this machine."""
    picture = {"host": "localhost:8080", "sec_fetch_site": site, "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"}
    assert code(Door(), **picture) is ErrorCode.ORIGIN_REFUSED
    for own in ("same-origin", "none"):
        assert code(Door(), **{**picture, "sec_fetch_site": own}) is None
