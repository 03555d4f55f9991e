"""The admin app around its endpoints: engine failures, extra routes, the answer to what no engine can do."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from rewake.admin.about import API_VERSION_MAX
from rewake.admin.app import build_admin
from rewake.admin.invocations import BATCH_SIZE_MAX, REFUSALS, BatchBody, _batch_ids
from rewake.admin.refusals import Refused
from rewake.core import ids
from rewake.core.effects import Reply, ReplyStatus
from rewake.core.settings import Settings
from rewake.errors import ErrorCode, RewakeError
from rewake.operations import Operation
from rewake.protocol.discovery import ManifestError

ID = "inv_1aDcgkwRzurf63EjxyzWlE7fxLFXQM1sVg"


class Engine:
    """Every operation raises or returns `outcome`."""

    def __init__(self, outcome: BaseException | ReplyStatus) -> None:
        self.services: dict[str, Any] = {}
        self.deployments: dict[str, Any] = {}
        self.settings = Settings()
        self.outcome = outcome

    async def operate(self, *_: Any, **__: Any) -> Any:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return Reply(0, self.outcome)

    restart_as_new = operate
    mutate_state = update_service = remove_deployment = query = operate


def ask(
    app: Any, method: str, path: str, body: bytes = b"", more: tuple[tuple[bytes, bytes], ...] = ()
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of the app's answer. more: headers."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    headers = [(b"content-type", b"application/json"), *more]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers, "root_path": ""}
    asyncio.run(app(scope, receive, send))
    start = sent[0]
    return start["status"], dict(start["headers"]), b"".join(event["body"] for event in sent[1:])


def app(outcome: BaseException | ReplyStatus = ReplyStatus.DONE, **options: Any) -> Any:
    engine: Any = Engine(outcome)
    return build_admin(engine, ingress_url="http://127.0.0.1:1/", **options)


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (RewakeError(ErrorCode.STORE_FULL, "Full.", "Make room."), 503, b"1"),
        (RewakeError(ErrorCode.ENGINE_STOPPED, "Stopped."), 503, b"1"),
        (RewakeError(ErrorCode.ENGINE_BUG, "Bug."), 500, None),
        (RewakeError(ErrorCode.QUERY_TIMED_OUT, "Slow.", reason="timed_out"), 504, None),
        (RewakeError(ErrorCode.QUERY_TOO_LARGE, "Large.", reason="too_many_rows"), 400, None),
        (RewakeError(ErrorCode.DEPLOYMENT_UNREACHABLE, "Gone."), 500, None),
        (ManifestError("no"), 400, None),
    ],
)
def test_what_the_engine_cannot_do_is_told(error: BaseException, status: int, retry_after: bytes | None) -> None:
    answer, headers, body = ask(app(error), "PATCH", f"/invocations/{ID}/cancel")
    assert (answer, headers.get(b"retry-after")) == (status, retry_after)
    told = json.loads(body)
    assert told["code"].startswith("RW")
    assert told["message"]
    assert told["docs"].endswith(told["code"])


def test_a_manifest_error_carries_the_public_code() -> None:
    _, _, body = ask(app(ManifestError("Bad name.")), "PATCH", f"/invocations/{ID}/cancel")
    assert json.loads(body)["restate_code"] == "META0013"
    assert json.loads(body)["message"] == "[META0013] [META0013] Bad name."


@pytest.mark.parametrize(
    ("status", "code"), [(ReplyStatus.DONE, 200), (ReplyStatus.ACCEPTED, 202), (ReplyStatus.NOT_FOUND, 404)]
)
def test_outcomes_have_their_status(status: ReplyStatus, code: int) -> None:
    assert ask(app(status), "PATCH", f"/v4/invocations/{ID}/cancel")[0] == code


def test_a_ui_comes_along_under_its_own_path() -> None:
    async def page(request: Any) -> PlainTextResponse:
        return PlainTextResponse("hello")

    with_ui = app(extra_routes=[Mount("/ui", Starlette(routes=[Route("/", page)]))])
    for path in ("/", "/ui"):
        status, headers, _ = ask(with_ui, "GET", path)
        assert (status, headers[b"location"]) == (308, b"/ui/")
    assert ask(with_ui, "GET", "/ui/")[2] == b"hello"
    assert ask(app(), "GET", "/")[0] == 404


def test_every_operation_says_how_it_is_refused() -> None:
    assert set(REFUSALS) == set(Operation)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", f"/invocations/{ID}/restart-as-new?from=" + "9" * 5_000, b""),
        ("POST", "/query", b'{"query": ' + b"[" * 100_000),
        ("POST", "/deployments", b'{"uri": "http://127.0.0.1:1", "unknown": ' + b"[" * 100_000),
        ("GET", "/v" + "9" * 5_000 + "/health", b""),
    ],
    ids=["index", "deep", "deep_unknown", "version"],
)
def test_input_beyond_all_reason_is_the_askers_mistake(method: str, path: str, body: bytes) -> None:
    """It was an error 500."""
    answer, _, _ = ask(app(), method, path, body)
    assert 400 <= answer < 500


def test_versions_of_the_api_up_to_the_newest() -> None:
    assert ask(app(), "PATCH", f"/v{API_VERSION_MAX}/invocations/{ID}/cancel")[0] == 200
    assert ask(app(), "PATCH", f"/v{API_VERSION_MAX + 1}/invocations/{ID}/cancel")[0] == 404
    version = json.loads(ask(app(), "GET", "/version")[2])
    assert version["max_admin_api_version"] == API_VERSION_MAX


def test_a_batch_has_so_many_ids() -> None:
    found = [ids.invocation_id_to_str(number.to_bytes(24, "big")) for number in range(BATCH_SIZE_MAX + 1)]
    assert len(_batch_ids(BatchBody(found[1:]))) == BATCH_SIZE_MAX
    with pytest.raises(Refused, match=f"Batch size {BATCH_SIZE_MAX + 1} exceeds"):
        _batch_ids(BatchBody(found))


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"zstd", b"gzip, gzip", b"x"])
def test_a_compressed_body_is_refused_unread(encoding: bytes) -> None:
    """So a small one cannot become a large one."""
    admin = build_admin(Engine(ReplyStatus.DONE), ingress_url="http://x")  # type: ignore[arg-type]
    bomb = gzip.compress(b"[" * 10_000_000)
    status, _, body = ask(admin, "POST", "/query", bomb, ((b"content-encoding", encoding),))
    assert (status, encoding in body, b"send it as it is" in body) == (415, True, True)
