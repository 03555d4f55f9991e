"""Addresses: what a URL means, one spelling of each, and headers that can be sent."""

from __future__ import annotations

import pytest

from rewake.deployments.http.address import checked_headers, parse_address
from rewake.errors import ErrorCode, RewakeError


@pytest.mark.parametrize(
    ("given", "uri", "authority", "discovery"),
    [
        ("http://localhost:9080", "http://localhost:9080/", "localhost:9080", b"/discover"),
        ("http://localhost:9080/", "http://localhost:9080/", "localhost:9080", b"/discover"),
        ("HTTP://LocalHost:9080", "http://localhost:9080/", "localhost:9080", b"/discover"),
        ("http://host:80/v1/", "http://host/v1/", "host", b"/v1/discover"),
        ("https://host:443/a/b", "https://host/a/b/", "host", b"/a/b/discover"),
        ("https://host:8443", "https://host:8443/", "host:8443", b"/discover"),
        ("http://[::1]:9080/x", "http://[::1]:9080/x/", "[::1]:9080", b"/x/discover"),
        ("http://host/fn?code=7", "http://host/fn/?code=7", "host", b"/fn/discover?code=7"),
    ],
)
def test_one_place_has_one_spelling(given: str, uri: str, authority: str, discovery: bytes) -> None:
    address = parse_address(given)
    assert (address.uri, address.authority, address.target(b"/discover")) == (uri, authority, discovery)
    assert parse_address(address.uri) == address


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("localhost:9080", "does not start with http"),
        ("/path", "does not start with http"),
        ("http://", "names no host"),
        ("http://host:0", "Port 0"),
        ("http://host:99999", "out of range"),
        ("http://user:secret@host", "user name or password"),
        ("http://host/a b", "spaces"),
        ("http://höst", "not ASCII"),
        ("http://[::1", "Invalid IPv6"),
    ],
)
def test_what_is_no_address(given: str, reason: str) -> None:
    with pytest.raises(RewakeError, match=reason) as caught:
        parse_address(given)
    assert caught.value.code is ErrorCode.DEPLOYMENT_ADDRESS_INVALID
    assert repr(given) in caught.value.message


def test_header_names_become_lower_case() -> None:
    assert checked_headers({"X-Team": "claims, motor", "authorization": "Bearer x"}) == {
        "x-team": "claims, motor",
        "authorization": "Bearer x",
    }
    assert checked_headers({"x-empty": ""}) == {"x-empty": ""}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x y", "a"),
        ("", "a"),
        (":path", "/"),
        ("x", "a\r\nb: c"),
        ("x", " a"),
        ("x", "ü"),
        ("Content-Length", "0"),
        ("host", "other"),
        ("transfer-encoding", "chunked"),
    ],
)
def test_headers_that_would_break_a_request(name: str, value: str) -> None:
    with pytest.raises(RewakeError) as caught:
        checked_headers({name: value})
    assert caught.value.code is ErrorCode.DEPLOYMENT_HEADER_INVALID
