"""Calls and sends through the ingress, on both engines, byte by byte; where they differ on purpose, a test says so."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from raw_http import Answer, Wire, fetch, request
from subject import JSON, Subject

from rewake.core.ids import (
    idempotent_invocation_id,
    invocation_id_to_str,
)

INVOCATION_ID = re.compile(r"inv_1[0-9A-Za-z]{33}")
SHOWN_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}000000)?Z")
"""A time; on the full second the public server leaves the fraction out."""


@pytest.fixture
def port(surfaces: Subject) -> int:
    return surfaces.ingress_port


# Calls that succeed

RESULTS: list[tuple[str, str, dict[str, str], bytes | None, bytes, str | None]] = [
    ("POST", "/Greeter/greet", JSON, b'"bob"', b'"hi bob"', "application/json"),
    ("POST", "/Greeter/greet/", JSON, b'"bob"', b'"hi bob"', "application/json"),
    ("POST", "/restate/call/Greeter/greet", JSON, b'"bob"', b'"hi bob"', "application/json"),
    ("POST", "/Greeter/greet?unknown=1", JSON, b'"bob"', b'"hi bob"', "application/json"),
    (
        "POST",
        "/Greeter/greet",
        {"content-type": "application/json; charset=utf-8"},
        b'"x"',
        b'"hi x"',
        "application/json",
    ),
    ("GET", "/Greeter/greet", {}, None, b'"hi None"', "application/json"),
    ("POST", "/Greeter/greet", {}, b"", b'"hi None"', "application/json"),
    ("GET", "/Greeter/nothing", {}, None, b"", None),
    ("POST", "/Greeter/nothing", {}, b"", b"", None),
    ("POST", "/Greeter/text", {"content-type": "text/html"}, b"<p>", b"<p>", "text/plain"),
    ("POST", "/Greeter/raw", {"content-type": "a/b"}, b"\x00\xff", b"\x00\xff", "application/x"),
    ("GET", "/Counter//key", {}, None, b'""', "application/json"),
    ("GET", "/Counter/a%20b+c%2Fd/key", {}, None, b'"a b+c/d"', "application/json"),
    ("GET", "/Counter/%zz/key", {}, None, b'"%zz"', "application/json"),
    ("GET", "/Counter/%C3%A9/key", {}, None, b'"\\u00e9"', "application/json"),
    ("GET", "/restate/call/Counter/k1/key", {}, None, b'"k1"', "application/json"),
    ("POST", "/Greeter/greet", {**JSON, "x-restate-limit-key": ""}, b'"x"', b'"hi x"', "application/json"),
]


@pytest.mark.parametrize(("method", "path", "headers", "body", "result", "content_type"), RESULTS)
def test_a_call_answers_with_the_result(
    port: int,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes | None,
    result: bytes,
    content_type: str | None,
) -> None:
    answer = fetch(port, method, path, headers, body)
    assert (answer.status, answer.reason, answer.body) == (200, "OK", result)
    assert answer.headers.get("content-type") == content_type
    assert INVOCATION_ID.fullmatch(answer.headers["x-restate-id"])
    assert answer.headers["content-length"] == str(len(result))
    assert "idempotency-expires" not in answer.headers
    assert "date" in answer.headers


# What the handler sees


def test_the_handler_sees_the_callers_headers_and_the_path_but_not_the_connections(port: int) -> None:
    headers = [
        ("X-One", "1"),
        ("x-one", "2"),
        ("X-Tab", "a\tb"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("idempotency-expires", "x"),
        ("idempotency-key", "headers"),
        ("connection", "keep-alive"),
    ]
    seen = fetch(port, "GET", "/Greeter/headers?a=b%20c", headers).json
    assert seen == {
        "x-restate-ingress-path": "/Greeter/headers?a=b%20c",
        "x-one": "1",
        "x-tab": "a\tb",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }


# What the handler decides


@pytest.mark.parametrize(("code", "status"), [(418, 418), (200, 200), (409, 409), (999, 999), (42, 500), (1000, 500)])
def test_a_terminal_error_chooses_the_status(port: int, code: int, status: int) -> None:
    answer = fetch(port, "POST", "/Greeter/fail", JSON, str(code).encode())
    assert answer.status == status
    assert answer.body == b'{"code":%d,"message":"nope","source":"invocation"}' % code
    assert answer.headers["x-restate-error-source"] == "invocation"
    assert answer.headers["content-type"] == "application/json"
    assert INVOCATION_ID.fullmatch(answer.headers["x-restate-id"])


@pytest.mark.parametrize(("code", "restate"), [(101, "cut off"), (102, "500 and no body")])
def test_a_terminal_error_that_is_no_final_status(surfaces: Subject, code: int, restate: str) -> None:
    try:
        answer = surfaces.call("Greeter/fail", code)
        told = f"{answer.status} and {'a' if answer.body else 'no'} body"
    except ConnectionError:
        told = "cut off"
    assert told == surfaces.differs("status-below-200", rewake="500 and a body", restate=restate)


@pytest.mark.parametrize("code", [204, 304])
def test_a_status_without_a_body_keeps_the_connection_in_order(port: int, code: int) -> None:
    with Wire(port) as wire:
        answer = wire.exchange(request("POST", "/Greeter/fail", JSON, str(code).encode()))
        assert (answer.status, answer.headers.get("content-length")) == (code, None)
        assert wire.exchange(request("GET", "/Greeter/nothing")).status == 200


def test_metadata_of_a_terminal_error_is_in_the_body(port: int) -> None:
    answer = fetch(port, "GET", "/Greeter/fail_with_metadata")
    assert answer.body == b'{"code":418,"message":"nope","metadata":{"a":"1"},"source":"invocation"}'


def test_malformed_json_is_the_handlers_error(port: int) -> None:
    answer = fetch(port, "POST", "/Greeter/greet", JSON, b"{")
    assert (answer.status, answer.json["source"]) == (500, "invocation")
    assert answer.json["message"].startswith("Unable to parse an input argument.")


# Sends


@pytest.mark.parametrize("path", ["/Greeter/nothing/send", "/restate/send/Greeter/nothing"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_send_is_accepted(port: int, method: str, path: str) -> None:
    answer = fetch(port, method, path)
    assert answer.status == 202
    assert answer.json == {"invocationId": answer.headers["x-restate-id"], "status": "Accepted"}
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("delay", "delay_ms"),
    [("1h", 3_600_000), ("PT1H", 3_600_000), ("1h+2m", 3_720_000), ("1%20ms", 1), ("01:00:00", 3_600_000), ("0s", 0)],
)
@pytest.mark.parametrize("name", ["delay", "Delay"])
def test_a_delayed_send_says_when_it_runs(port: int, name: str, delay: str, delay_ms: int) -> None:
    before_ms = time.time_ns() // 1_000_000
    answer = fetch(port, "POST", f"/Greeter/greet/send?other=1&{name}={delay}", JSON, b'"x"')
    assert answer.status == 202
    assert list(answer.json) == ["invocationId", "executionTime", "status"]
    assert answer.json["status"] == "Accepted"
    shown = answer.json["executionTime"]
    assert SHOWN_TIME.fullmatch(shown)
    at_ms = datetime.fromisoformat(shown.replace("000000Z", "Z")).timestamp() * 1000
    assert before_ms + delay_ms <= round(at_ms) <= before_ms + delay_ms + 5_000


def test_a_delay_without_a_unit_is_milliseconds_as_the_python_client_means_it(surfaces: Subject) -> None:
    answer = surfaces.ingress("POST", "/Greeter/greet/send?delay=3600000", "x")
    assert answer.status == surfaces.differs("delay-without-unit", rewake=202, restate=400)
    assert ("executionTime" in answer.json) is surfaces.differs("delay-without-unit", rewake=True, restate=False)


# Idempotency keys


def unique_part(service: str, key: str | None, handler: str, idempotency_key: str) -> str:
    """The end of the id, which both engines compute alike."""
    return invocation_id_to_str(idempotent_invocation_id(service, key, handler, idempotency_key))[-22:]


def test_an_idempotency_key_names_one_invocation(port: int) -> None:
    headers = {**JSON, "idempotency-key": "once"}
    first = fetch(port, "POST", "/Greeter/greet", headers, b'"ada"')
    again = fetch(port, "POST", "/Greeter/greet", headers, b'"bob"')
    sent = fetch(port, "POST", "/Greeter/greet/send", headers, b'"eve"')
    assert first.body == again.body == b'"hi ada"'
    assert first.headers["x-restate-id"] == again.headers["x-restate-id"] == sent.headers["x-restate-id"]
    assert first.headers["x-restate-id"].endswith(unique_part("Greeter", None, "greet", "once"))
    assert sent.json == {"invocationId": first.headers["x-restate-id"], "status": "PreviouslyAccepted"}
    assert "idempotency-expires" not in first.headers
    # restate-server leaves out the fraction of a whole second.
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?\+00:00", again.headers["idempotency-expires"])


def test_an_empty_idempotency_key_is_a_key_and_of_two_the_first_counts(port: int) -> None:
    empty = [*JSON.items(), ("idempotency-key", "")]
    assert fetch(port, "POST", "/Greeter/greet", empty, b'"ada"').body == b'"hi ada"'
    assert fetch(port, "POST", "/Greeter/greet", empty, b'"bob"').body == b'"hi ada"'
    double = [*JSON.items(), ("idempotency-key", "two-1"), ("Idempotency-Key", "two-2")]
    named = fetch(port, "POST", "/Greeter/greet", double, b'"x"').headers["x-restate-id"]
    assert named.endswith(unique_part("Greeter", None, "greet", "two-1"))


def test_ids_of_idempotent_calls(surfaces: Subject) -> None:
    """Of an object the whole id is computed alike; of a plain service the part that says who it is."""
    of_object = surfaces.call("Counter/ids/add", 1, idempotency_key="once").headers["x-restate-id"]
    assert of_object == invocation_id_to_str(idempotent_invocation_id("Counter", "ids", "add", "once"))
    of_service = surfaces.call("Greeter/greet", "x", idempotency_key="ids").headers["x-restate-id"]
    computed = invocation_id_to_str(idempotent_invocation_id("Greeter", None, "greet", "ids"))
    assert (of_service == computed) is surfaces.differs("service-ids", rewake=True, restate=False)
    assert of_service[-22:] == computed[-22:]


def test_callers_that_race_with_one_key_get_one_execution(port: int) -> None:
    def call(number: int) -> Answer:
        headers = {**JSON, "idempotency-key": "race"}
        return fetch(port, "POST", "/Counter/race/add", headers, str(number).encode())

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(call, range(1, 5)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.headers["x-restate-id"] for answer in answers}) == 1
    assert len({answer.body for answer in answers}) == 1


# Health and CORS


def test_health_names_all_services(port: int) -> None:
    for path in ("/restate/health", "/restate/health/x"):
        answer = fetch(port, "GET", path)
        assert answer.status == 200
        assert sorted(answer.json["services"]) == ["Counter", "Flow", "Greeter", "Hidden"]


def test_pages_of_other_sites_are_refused_where_the_public_server_lets_in_all(surfaces: Subject) -> None:
    asked = {"origin": "http://a", "access-control-request-method": "POST", "access-control-request-headers": "a,b"}
    for method, path in (("OPTIONS", "/Greeter/greet"), ("GET", "/Greeter/nothing")):
        answer = fetch(surfaces.ingress_port, method, path, asked)
        assert answer.status == surfaces.differs("cors", rewake=403, restate=200)
        allowed = answer.headers.get("access-control-allow-origin")
        assert allowed == surfaces.differs("cors", rewake=None, restate="http://a")
    assert fetch(surfaces.ingress_port, "OPTIONS", "/whatever").status == 200
