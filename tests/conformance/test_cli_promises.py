"""`rewake promises` against a real engine: who waits, and what the workflow gets."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import http_app
import pytest
from click.testing import CliRunner, Result
from raw_http import fetch
from running_server import RunningServer, running_server

from rewake.cli.main import main

WAIT_S = 20
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("engine"), http_app.app) as here:
        yield here


def promises(engine: RunningServer, *args: str) -> Result:
    return CliRunner().invoke(main, ["promises", *args, "--admin", f"http://127.0.0.1:{engine.admin_port}"])


def started(engine: RunningServer, key: str) -> None:
    """A workflow that waits for its promise `go`."""
    fetch(engine.ingress_port, "POST", f"/Flow/{key}/run/send", JSON, b'"x"')
    ends_at_s = time.monotonic() + WAIT_S
    while f'"{key}"' not in promises(engine, "list", "Flow", "--json").stdout:
        assert time.monotonic() < ends_at_s


@pytest.mark.parametrize(
    ("args", "status", "body"),
    [(("resolve", '"by Grace"'), 200, b'"by Grace"'), (("reject", "too much"), 500, b"too much"),
     (("resolve", "1.0"), 200, b"1.0"), (("reject",), 500, b"Rejected")],
)  # fmt: skip
def test_an_answer_from_the_terminal(engine: RunningServer, args: tuple[str, ...], status: int, body: bytes) -> None:
    key = f"w{args[-1].encode().hex()}"
    started(engine, key)
    assert [row["key"] for row in json.loads(promises(engine, "list", "--json").stdout)] == ["go"]
    assert key in promises(engine, "list").stdout
    done = promises(engine, args[0], "Flow", key, "go", *args[1:])
    assert (done.exit_code, done.stdout) == (0, f"Flow/{key}: go is {args[0].removesuffix('e')}ed.\n")
    answer = fetch(engine.ingress_port, "GET", f"/restate/workflow/Flow/{key}/attach")
    assert answer.status == status
    assert body in answer.body
    assert promises(engine, "list", "Flow").stdout == ""
    again = promises(engine, args[0], "Flow", key, "go")
    assert again.exit_code != 0
    assert "already completed" in again.output + str(again.exception)


@pytest.mark.parametrize(
    ("args", "told"),
    [(("resolve", "Flow", "nobody", "go", "1"), "has not been started"),
     (("resolve", "Flow", "w", "go", "{"), "not JSON"),
     (("resolve", "Greeter", "w", "go"), "Only workflows"),
     (("reject", "Nope", "w", "go"), "does not exist")],
)  # fmt: skip
def test_what_cannot_be_answered(engine: RunningServer, args: tuple[str, ...], told: str) -> None:
    result = promises(engine, *args)
    assert result.exit_code != 0
    assert told in result.output + str(result.exception)
