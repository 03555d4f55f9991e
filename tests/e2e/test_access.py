"""Who may come in, with a real server: tokens by role on both ports, pages, commands, and TLS."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from certificates import self_signed
from cli_process import APP, Running, rewake
from official_cli import Cli
from restate import HttpError
from restate.client import create_client

FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("access")
    (folder / "app.py").write_text(APP)
    return folder


@pytest.fixture(scope="module")
def secrets(folder: Path) -> dict[str, str]:
    """Secrets by name of the token, which is its role, or `limited`."""
    wanted: dict[str, tuple[str, ...]] = {role: ("--role", role) for role in ("call", "read", "operate", "admin")}
    wanted["limited"] = ("--service", "Counter")
    wanted["counting"] = ("--role", "operate", "--service", "Counter")
    return {name: rewake("tokens", "create", name, *args, cwd=folder).stdout.strip() for name, args in wanted.items()}


@pytest.fixture(scope="module")
def engine(folder: Path, secrets: dict[str, str]) -> Iterator[Running]:
    with Running("run", "app.py", "--require-tokens", cwd=folder) as running:
        yield running


def ask(
    port: int, line: str, secret: str | None = None, body: str | None = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, str]:
    """Status, headers and body of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        shown = {} if secret is None else {"authorization": f"Bearer {secret}"}
        method, path = line.split()
        json_body = {"content-type": "application/json"} if body else {}
        connection.request(method, path, body, json_body | shown | headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


def test_calls(engine: Running, secrets: dict[str, str]) -> None:
    def status(secret: str | None, path: str = "/Counter/k/add") -> int:
        return ask(engine.ingress_port, f"POST {path}", secret, "1")[0]

    names = ("call", "read", "operate", "admin", "limited")
    assert [status(secrets[name]) for name in names] == [200, 403, 200, 200, 200]
    assert status(secrets["limited"], "/Steps/two") == 403
    assert status("rwt_nobody") == 401
    code, headers, body = ask(engine.ingress_port, "POST /Counter/k/add", None, "1")
    assert (code, headers["www-authenticate"], json.loads(body)["error_code"]) == (
        401,
        'Bearer realm="rewake"',
        "RW4040",
    )
    assert json.loads(ask(engine.ingress_port, "GET /restate/health")[2]) == {"services": []}


def test_a_secret_never_reaches_a_journal_or_the_log(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    secret = "s" * 24
    options = ("--require-tokens", "--redact-headers", "")
    with Running("run", "app.py", *options, cwd=tmp_path, REWAKE_TOKENS=f"web:call:{secret}") as engine:
        assert ask(engine.ingress_port, "POST /Counter/k/add", secret, "1")[0] == 200
        theirs = {"authorization": "Bearer of the handler", "x-rewake-token": secret}
        assert ask(engine.ingress_port, "POST /Counter/k/add", None, "1", **theirs)[0] == 200
        assert engine.stop() == 0
    stored = b"".join(path.read_bytes() for path in (tmp_path / ".rewake").glob("rewake.db*"))
    assert b"Bearer of the handler" in stored
    assert secret.encode() not in stored
    assert not [line for line in engine.lines if secret in line]


def test_the_admin_port(engine: Running, secrets: dict[str, str]) -> None:
    def status(line: str, name: str | None, body: str | None = None) -> int:
        return ask(engine.admin_port, line, name and secrets[name], body)[0]

    assert status("GET /health", None) == 200
    assert [status("GET /services", name) for name in (None, "call", "read", "operate")] == [401, 403, 200, 200]
    unknown = "PATCH /invocations/inv_1aDcgkwRzurf63EjxyzWlE7fxLFXQM1sVg/cancel"
    assert [status(unknown, name) for name in (None, "read", "operate")] == [401, 403, 404]
    bad = '{"uri": "nonsense"}'
    assert [status("POST /deployments", name, bad) for name in ("operate", "admin")] == [403, 400]


def test_a_token_for_some_services_reaches_no_other_through_the_playground(
    engine: Running, secrets: dict[str, str]
) -> None:
    csrf = re.search(r'name="token" value="(\w+)"', ask(engine.admin_port, "GET /ui/sign-in", accept="text/html")[2])
    assert csrf is not None
    fields = urlencode({"token": csrf[1], "key": "k", "body": "1", "as": "json", "how": "send"})

    def call(target: str) -> int:
        return ask(engine.admin_port, f"POST /ui/services/{target}", secrets["limited"], fields, **FORM)[0]

    assert [call("Steps/two"), call("Count%65r/add"), call("Counter/add")] == [403, 303, 303]
    assert ask(engine.admin_port, "GET /services", secrets["limited"])[0] == 403


def test_an_operator_of_one_service_sees_and_changes_nothing_of_another(
    engine: Running, secrets: dict[str, str]
) -> None:
    def status(line: str, body: str | None = None, **headers: str) -> int:
        return ask(engine.admin_port, line, secrets["counting"], body, **headers)[0]

    def sent(target: str, body: str | None) -> str:
        found: str = json.loads(ask(engine.ingress_port, f"POST /{target}/send", secrets["admin"], body)[2])[
            "invocationId"
        ]
        return found

    mine, theirs = sent("Counter/k/add", "1"), sent("Steps/wait", "1")
    listed = ask(engine.admin_port, "GET /ui/", secrets["counting"], accept="application/json")[2]
    assert (mine in listed, theirs in listed, "Steps" in listed) == (True, False, False)
    services = json.loads(ask(engine.admin_port, "GET /services", secrets["counting"])[2])["services"]
    assert [service["name"] for service in services] == ["Counter"]
    assert [status(f"GET /ui/runs/{run}?format=json") for run in (mine, theirs)] == [200, 404]
    assert [status(f"GET /invocations/{theirs}/stream"), status(f"PATCH /invocations/{theirs}/kill")] == [404, 404]
    both = json.dumps({"invocation_ids": [mine, theirs]})
    code, _, body = ask(
        engine.admin_port, "POST /internal/invocations_batch_operations/kill", secrets["counting"], both
    )
    assert (code, "not found" in json.loads(body)["failed"][-1]["error"]) == (200, True)
    assert [status(f"POST /services/{name}/state", "{}") for name in ("Counter", "Steps")] == [422, 403]
    assert [status("POST /query", '{"query":"select 1"}'), status("GET /deployments")] == [403, 403]


def test_commands(engine: Running, secrets: dict[str, str], tmp_path: Path) -> None:
    home = {"XDG_CONFIG_HOME": str(tmp_path), "REWAKE_ADMIN": engine.admin_url}
    refused = rewake("services", "list", cwd=tmp_path, **home)
    assert refused.returncode != 0
    assert "RW4040" in refused.stderr
    assert rewake("services", "list", cwd=tmp_path, REWAKE_TOKEN=secrets["read"], **home).returncode == 0
    assert "tokens.json" not in refused.stdout


def test_the_client_of_the_sdk_shows_a_token(engine: Running, secrets: dict[str, str]) -> None:
    async def call(secret: str) -> bytes:
        headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
        async with create_client(f"http://127.0.0.1:{engine.ingress_port}", headers) as client:
            return await client.generic_call("Counter", "add", b"1", "client")

    assert asyncio.run(call(secrets["call"])) == b"1"
    with pytest.raises(HttpError, match="403"):
        asyncio.run(call(secrets["read"]))


def test_the_official_command_shows_a_token(engine: Running, secrets: dict[str, str], tmp_path: Path) -> None:
    def listed(secret: str) -> subprocess.CompletedProcess[str]:
        return Cli(engine.admin_url, tmp_path).run("services", "list", environment={"RESTATE_AUTH_TOKEN": secret})

    assert "Counter" in listed(secrets["read"]).stdout
    assert listed(secrets["call"]).returncode != 0


def test_a_person_signs_in_and_out(engine: Running, secrets: dict[str, str]) -> None:
    html = {"accept": "text/html"}
    code, headers, _ = ask(engine.admin_port, "GET /ui/sessions", **html)
    assert (code, headers["location"]) == (303, "/ui/sign-in?needs=read&next=%2Fui%2Fsessions")
    csrf = re.search(r'name="token" value="(\w+)"', ask(engine.admin_port, "GET /ui/sign-in", **html)[2])
    assert csrf is not None

    def sign_in(secret: str, wanted: str = "/ui/sessions") -> tuple[int, http.client.HTTPMessage, str]:
        fields = urlencode({"token": csrf[1], "secret": secret, "next": wanted})
        return ask(engine.admin_port, "POST /ui/sign-in", None, fields, **FORM, **html)

    assert sign_in("rwt_wrong")[0] == 401
    assert sign_in(secrets["read"], "https://elsewhere.example/")[1]["location"] == "/ui/"
    code, headers, _ = sign_in(secrets["read"])
    assert (code, headers["location"]) == (303, "/ui/sessions")
    assert {"HttpOnly", "SameSite=strict"} <= set(headers["set-cookie"].split("; "))
    cookie = {"cookie": headers["set-cookie"].partition(";")[0]}
    code, _, page = ask(engine.admin_port, "GET /ui/sessions", **cookie, **html)
    assert (code, "Sign out" in page) == (200, True)
    acted = ask(engine.admin_port, "POST /ui/actions", None, "a=b", **FORM, **cookie, **html)
    assert acted[1]["location"] == "/ui/sign-in?needs=operate&next=%2Fui%2Factions"
    assert ask(engine.admin_port, "POST /ui/sign-out", None, urlencode({"token": csrf[1]}), **FORM, **cookie)[0] == 303
    assert ask(engine.admin_port, "GET /ui/sessions", **cookie, **html)[0] == 303


def test_a_revoked_token_is_refused_without_a_restart(engine: Running, folder: Path) -> None:
    secret = rewake("tokens", "create", "guest", "--role", "read", "--expires", "1d", cwd=folder).stdout.strip()
    assert _status_until(engine.admin_port, secret, 200)
    listed = rewake("tokens", "list", cwd=folder).stdout
    assert "guest" in listed
    assert secret not in listed
    assert rewake("tokens", "revoke", "guest", cwd=folder).returncode == 0
    assert _status_until(engine.admin_port, secret, 401)


def _status_until(port: int, secret: str, wanted: int) -> bool:
    """Ask until the answer has this status; the file is looked at once a second."""
    return any(ask(port, "GET /services", secret)[0] == wanted for _ in range(3_000))


@pytest.mark.parametrize("args", [("--host", "0.0.0.0"), ("--require-tokens",)])
def test_without_a_token_nothing_is_opened(tmp_path: Path, args: tuple[str, ...]) -> None:
    result = rewake("server", *args, "--ingress-port", "0", "--admin-port", "0", cwd=tmp_path)
    assert result.returncode != 0
    assert "RW1022" in result.stderr
    assert "rewake tokens create" in result.stderr


def test_both_ports_over_tls(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    (tmp_path / "app.py").write_text(APP)
    env = {"REWAKE_TOKENS": "ops:admin:" + "s" * 24}
    options = ("--require-tokens", "--tls-cert", certificate, "--tls-key", key)
    with Running("run", "app.py", *options, cwd=tmp_path, **env) as engine:
        context = ssl.create_default_context(cafile=str(certificate))
        for port, path in ((engine.ingress_port, "/restate/health"), (engine.admin_port, "/health")):
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
            connection.request("GET", path)
            assert connection.getresponse().status == 200
            connection.close()
        admin = f"https://127.0.0.1:{engine.admin_port}"
        trusted = {"SSL_CERT_FILE": str(certificate), "REWAKE_TOKEN": "s" * 24, "REWAKE_ADMIN": admin}
        assert "Steps" in rewake("services", "list", cwd=tmp_path, **trusted).stdout


def test_the_ui_for_a_server_elsewhere_asks_people_too(
    engine: Running, secrets: dict[str, str], folder: Path, tmp_path: Path
) -> None:
    """Each signs in with a token of the UI's own; what they do is done with the token of the command."""
    mine = {"REWAKE_ADMIN": engine.admin_url, "REWAKE_TOKEN": secrets["admin"]}
    for args in (("--host", "0.0.0.0"), ("--require-tokens",)):
        refused = rewake("ui", *args, cwd=tmp_path, **mine)
        assert (refused.returncode != 0, "RW1022" in refused.stderr) == (True, True)
    theirs = ("--require-tokens", "--tokens-file", folder / ".rewake" / "tokens.json")
    html = {"accept": "text/html"}
    with Running("ui", *theirs, cwd=tmp_path, **mine) as ui:
        for path in ("/", "/ui/"):
            assert ask(ui.port, f"GET {path}", **html)[1]["location"].startswith("/ui/sign-in?")
        assert ask(ui.port, "GET /ui/", secrets["read"], **html)[0] == 200
        assert ask(ui.port, "POST /ui/actions", secrets["read"], "a=b", **FORM)[0] == 403
        csrf = re.search(r'name="token" value="(\w+)"', ask(ui.port, "GET /ui/sign-in", **html)[2])
        assert csrf is not None
        fields = urlencode({"token": csrf[1], "secret": secrets["read"], "next": "/ui/"})
        cookie = ask(ui.port, "POST /ui/sign-in", None, fields, **FORM, **html)[1]["set-cookie"]
        assert "Secure" not in cookie
        behind_tls = {"x-forwarded-proto": "https"}
        cookie = ask(ui.port, "POST /ui/sign-in", None, fields, **FORM, **html, **behind_tls)[1]["set-cookie"]
        assert {"HttpOnly", "Secure", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))


def test_a_proxy_says_who_comes_by_the_token_it_sends(engine: Running, secrets: dict[str, str]) -> None:
    """The documented header of a proxy that knows people: as good as a sign-in, on pages and the API."""
    by_proxy = {"x-rewake-token": secrets["read"], "accept": "text/html"}
    assert ask(engine.admin_port, "GET /ui/sessions", **by_proxy)[0] == 200
    assert ask(engine.admin_port, "GET /services", **{"x-rewake-token": secrets["read"]})[0] == 200
    acted = ask(engine.admin_port, "POST /ui/actions", None, "a=b", **FORM, **by_proxy)
    assert acted[1]["location"].startswith("/ui/sign-in?needs=operate")
    assert (
        ask(engine.admin_port, "GET /ui/sessions", **{"x-rewake-token": "rwt_nobody", "accept": "text/html"})[0] == 303
    )
