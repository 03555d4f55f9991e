"""The tour for its tests: each app with what it must do, and `rewake run` around a Python one with a scripted model.

A Tour says what a claim is answered, which rules of its models file that takes and which commands each service
journals. A TourEngine is a real `rewake run` process called over HTTP, with the journal read over `POST /query`.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest
import tour_app
from cli_process import WAIT_S, Running
from tests.warm import framework_of

from rewake.examples import EXAMPLES
from rewake.testing.models import ModelServer, Rule, rule, text
from rewake.testing.models.rules_file import load_rules

POLL_S: Final = 0.005
ALL: Final = bool(os.environ.get("REWAKE_ALL_CRASHES"))
"""Whether the expensive corners of a matrix run as well."""
FOLDERS: Final = {example.name: example.folder for example in EXAMPLES}
CLAIM_NUMBER: Final = re.compile(r"\b([MC])-[0-9a-f]{8}\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A process of an app that is called over HTTP: its file, its services and the rules of what they ask a model."""

    file: str
    services: tuple[str, ...]
    models: tuple[str, ...]

    @property
    def is_typescript(self) -> bool:
        """Whether Node runs it."""
        return self.file.endswith(".ts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tour:
    """One app and one claim.

    path: of the handler that takes the claim, with `{key}` where the customer stands.
    framework: the module without which it cannot run.   ask: from the claim's text to the request's body.
    answer: what comes back, without what differs from call to call (see `plain`).
    models: the rules that answer it, in order.   commands: per service, the journal of its invocation after the input.
    parts: its processes, where there is not one for all.   attach: where a caller of a workflow asks again.
    reviewed_before: the command, and the model call, before which the entry service waits for a reviewer.
    """

    name: str
    framework: str
    path: str
    claim: str
    answer: Any
    models: tuple[str, ...]
    commands: Mapping[str, tuple[str, ...]]
    ask: Callable[[str], Any] = field(default=lambda claim: claim)
    parts: tuple[Part, ...] = ()
    attach: str = ""
    reviewed_before: tuple[int, str] | None = None

    @property
    def entry_service(self) -> str:
        """The service that callers call."""
        return next(iter(self.commands))

    @property
    def app(self) -> Path:
        """The app's file."""
        return FOLDERS[self.name] / "app.py"

    def rules(self) -> list[Rule]:
        """The script of the app, and the rule that tour_app.py stops at, held from the start."""
        stop = rule(name=tour_app.STOP, model=tour_app.STOP, answer=text("go on"), hold=True)
        script = next(FOLDERS[self.name].glob("models.*"))
        return [stop, *load_rules(str(script))]

    def processes(self) -> tuple[Part, ...]:
        """Its parts, or the one that is all of it."""
        return self.parts or (Part(file="app.py", services=tuple(self.commands), models=self.models),)


HANDOFFS: Final = Tour(
    name="claim_handoffs",
    framework="agents",
    path="/ClaimDesk/{key}/message",
    claim="I broke my leg and was in hospital for two nights",
    answer={"agent": "Medical specialist", "text": "Your claim M-# is filed. We answer within two days."},
    models=("route-to-medical", "medical-file", "medical-answer"),
    commands={
        "ClaimDesk": (
            "GetEagerState",
            "GetEagerState",
            "Run call LLM",
            "Run Pick specialist",
            "Run call LLM",
            "Run File medical claim",
            "Run call LLM",
            "SetState",
            "SetState",
            "Output",
        )
    },
)
SUBAGENTS: Final = Tour(
    name="claim_subagents",
    framework="google.adk",
    path="/ClaimTeam/{key}/message",
    claim="I fell off my bike and was in hospital for two days.",
    answer={
        "specialist": "medical_specialist",
        "answer": "Opened claim M-#. Your hospital stay is covered. Please send in the discharge letter.",
    },
    models=("intake-to-medical", "medical-opens-claim", "medical-answers"),
    commands={
        "ClaimTeam": (
            "GetEagerState",
            "Run call LLM",
            "SetState Routed to medical_specialist",
            "Run call LLM",
            "Run Open claim",
            "GetEagerState",
            "SetState",
            "Run call LLM",
            "Run store session",
            "SetState",
            "Output",
        )
    },
)
TOOLS: Final = Tour(
    name="claim_tools",
    framework="pydantic_ai",
    path="/ClaimAdvisor/answer",
    claim="I fell off my bike and was in hospital.",
    ask=lambda claim: {"customer": "alice", "text": claim},
    answer="Your hospital stay is covered in full. Please send in the discharge letter.",
    models=("intake-asks-medical", "medical-answers", "intake-replies"),
    commands={
        "ClaimAdvisor": (
            "Run Model call",
            "Run Look up medical cover",
            "Run Model call",
            "Run Model call",
            "Output",
        )
    },
)
CHAIN: Final = Tour(
    name="claim_chain",
    framework="langchain_openai",
    path="/ClaimChain/answer",
    claim=TOOLS.claim,
    ask=TOOLS.ask,
    answer=TOOLS.answer,
    models=("intake-asks-medical", "medical-looks-up", "medical-answers", "intake-replies"),
    commands={
        "ClaimChain": (
            "Run LLM call",
            "Run LLM call",
            "Run Look up medical cover",
            "Run LLM call",
            "Run LLM call",
            "Output",
        )
    },
)
SUPPORT: Final = Tour(
    name="support_router",
    framework="openai",
    path="/SupportRouter/ask",
    claim="I was charged twice for my invoice",
    answer={"specialist": "billing", "text": "You get the second payment back in three days."},
    models=("pick-billing", "ask-billing"),
    commands={"SupportRouter": ("Run Pick specialist", "Run Ask billing", "Output")},
)
REMOTE: Final = Tour(
    name="remote_specialists",
    framework="agents",
    path="/ClaimRouter/answer",
    claim="Somebody hit my car.",
    answer={
        "specialist": "CarSpecialist",
        "text": "The repair is covered with 300 euros excess. Bring your car to Garage Ulm Central.",
    },
    models=("router-picks-car", "car-finds-garage", "car-answers"),
    commands={
        "ClaimRouter": ("Run Pick specialist", "Call", "Output"),
        "CarSpecialist": ("Run call LLM", "Run Find garage", "Run call LLM", "Output"),
    },
    parts=(
        Part(file="router.py", services=("ClaimRouter",), models=("router-picks-car",)),
        Part(file="car.py", services=("CarSpecialist",), models=("car-finds-garage", "car-answers")),
    ),
)
TOURS: Final = (HANDOFFS, SUBAGENTS, TOOLS, SUPPORT, REMOTE)

TS_SUPPORT: Final = Tour(
    name="ts_support_router",
    framework="openai",
    path="/SupportRouter/ask",
    claim=SUPPORT.claim,
    answer=SUPPORT.answer,
    models=SUPPORT.models,
    commands=SUPPORT.commands,
    parts=(Part(file="app.ts", services=("SupportRouter",), models=SUPPORT.models),),
)
TS_APPROVAL: Final = Tour(
    name="ts_claim_approval",
    framework="openai",
    path="/ClaimApproval/{key}/run",
    attach="/restate/workflow/ClaimApproval/{key}/attach",
    claim="I hit a tree and my car is a wreck. It was worth 12,000 euros.",
    ask=lambda claim: {"customer": "alice", "text": claim},
    answer="Your claim is covered. The payment is on its way.",
    models=("intake-asks-car", "car-answers", "intake-pays-car", "intake-confirms"),
    commands={
        "ClaimApproval": (
            "Run calling openai.responses",
            "Run Look up car cover",
            "Run calling openai.responses",
            "Run calling openai.responses",
            "SetState",
            "ClearState",
            "Run Pay claim",
            "Run calling openai.responses",
            "Output",
        )
    },
    parts=(
        Part(
            file="app.ts",
            services=("ClaimApproval",),
            models=("intake-asks-car", "car-answers", "intake-pays-car", "intake-confirms"),
        ),
    ),
    reviewed_before=(6, "intake-confirms"),
)
TS_REMOTE: Final = Tour(
    name="ts_remote_specialists",
    framework="openai",
    path="/ClaimRouter/answer",
    claim="I fell off my bike and was in hospital for two days.",
    ask=lambda claim: {"customer": claim, "text": claim},  # The cover desk gets the customer only.
    answer={
        "specialist": "MedicalSpecialist",
        "text": "Your hospital stay is covered in full. Please send in the discharge letter.",
    },
    models=("router-picks-medical", "medical-answers"),
    commands={
        "ClaimRouter": ("Run Pick specialist", "Call", "Output"),
        "MedicalSpecialist": ("Call", "Run Ask medical specialist", "Output"),
        "CoverDesk": ("Run Look up cover", "Output"),
    },
    parts=(
        Part(file="app.ts", services=("ClaimRouter", "CoverDesk"), models=("router-picks-medical",)),
        Part(file="specialists.py", services=("MedicalSpecialist",), models=("medical-answers",)),
    ),
)
TS_TOURS: Final = (TS_SUPPORT, TS_APPROVAL, TS_REMOTE)

VARYING: Final = ("trace_id", "invocation_ids", "trace", "invocations")


def needs(tour: Tour) -> Any:
    """The tour as a parameter, skipped where its framework is not installed."""
    extra = next(example.extra for example in EXAMPLES if example.name == tour.name)
    skip = pytest.mark.skipif(not _is_installed(tour.framework), reason=f"{tour.name} needs rewake[{extra}]")
    return pytest.param(tour, marks=skip, id=tour.name)


def _is_installed(module: str) -> bool:
    with suppress(ModuleNotFoundError):
        return importlib.util.find_spec(module) is not None
    return False


def plain(body: Any) -> Any:
    """An answer without what differs from call to call: claim numbers, the trace and the invocations."""
    if isinstance(body, dict):
        return {name: plain(value) for name, value in body.items() if name not in VARYING}
    return CLAIM_NUMBER.sub(r"\1-#", body) if isinstance(body, str) else body


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer: status, decoded body and the invocation it is about."""

    status: int
    body: Any
    invocation_id: str


@dataclass(frozen=True, slots=True)
class Step:
    """A command of a journal: its kind and the name given to it, when it got its result, and what that is."""

    title: str
    result: Any = None
    finished_at_ms: int | None = None


class TourEngine(Running):
    """`rewake run` over a tour app, its models played by `models`."""

    def __init__(
        self, app: str | Path, folder: Path, models: ModelServer, *args: str, framework: str = "", **env: str
    ) -> None:
        framework = framework or framework_of(folder / env.get("TOUR_APP", app))
        data = folder / "data"
        super().__init__("run", app, "--data", data, *args, cwd=folder, framework=framework, **models.env(), **env)

    def post(self, path: str, body: Any, *, idempotency_key: str | None = None) -> Reply:
        """One call, until it is answered.   Raises OSError or HTTPException when the connection dies."""
        key = {} if idempotency_key is None else {"idempotency-key": idempotency_key}
        return self._request(self.ingress_port, "POST", path, body, key)

    def get(self, path: str) -> Reply:
        """One call without a body."""
        return self._request(self.ingress_port, "GET", path)

    def query(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a query."""
        reply = self._request(self.admin_port, "POST", "/query", {"query": sql})
        assert reply.status == 200, reply
        rows: list[dict[str, Any]] = reply.body["rows"]
        return rows

    def journal(self, invocation_id: str) -> list[Step]:
        """The commands of an invocation after its input, each with its result."""
        return journals(
            self.query(f"select * from sys_journal where id = '{invocation_id}' order by \"index\""),
        )[invocation_id]

    def _request(
        self, port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
        content = None if body is None else json.dumps(body)
        kind = {} if body is None else {"content-type": "application/json"}
        try:
            connection.request(method, path, content, {"accept": "application/json", **kind, **(headers or {})})
            response = connection.getresponse()
            said = response.read()
            return Reply(response.status, json.loads(said) if said else None, response.getheader("x-restate-id") or "")
        finally:
            connection.close()


def journals(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Step]]:
    """Journals by invocation, from rows of `sys_journal` in order."""
    found: dict[str, list[Step]] = {}
    waiting: dict[tuple[str, int], int] = {}
    for row in rows:
        family, kind = row["entry_type"].split(": ")
        steps = found.setdefault(row["id"], [])
        entry = json.loads(row["entry_json"])[family]
        if family == "Notification":
            if "Completion" not in entry:
                continue  # a signal, such as the answer to an awakeable: no command waits for it by number
            completion = entry["Completion"][kind]
            position = waiting.get((row["id"], completion["completion_id"]))
            if position is not None:
                result = _decoded(completion["result"])
                steps[position] = Step(steps[position].title, result, milliseconds(row["appended_at"]))
        elif kind != "Input":
            content = entry[kind]
            number = content.get("result_completion_id", content.get("completion_id"))
            if number is not None:
                waiting[row["id"], number] = len(steps)
            known = content.get("value") if kind == "SetState" else None
            steps.append(Step(f"{kind} {row['name']}".strip(), None if known is None else _decoded({"Success": known})))
    return found


def titles(steps: Iterable[Step]) -> tuple[str, ...]:
    """What a journal says was done."""
    return tuple(step.title for step in steps)


def milliseconds(printed: str) -> int:
    """A point in time of the SQL tables."""
    return round(datetime.fromisoformat(printed).timestamp() * 1000)


def _decoded(result: Mapping[str, Any]) -> Any:
    """The JSON, or else the text, of a successful result."""
    said = bytes(result["Success"])
    try:
        return json.loads(said)
    except ValueError:
        return said.decode(errors="replace")


def until(is_there: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    """Return once the condition holds; for what nobody announces."""
    deadline_s = time.monotonic() + timeout_s
    while not is_there():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(POLL_S)


def is_running(pid: int) -> bool:
    """Whether a process that is not our child still runs; one that has ended and was not reaped does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def asked(models: ModelServer) -> dict[str, int]:
    """How often each rule of the script was asked, those never asked left out."""
    return {name: count.asked for name, count in models.counts.items() if count.asked and name != tour_app.STOP}


def answered(models: ModelServer) -> dict[str, int]:
    """How often each rule of the script answered, those that never did left out."""
    return {name: count.answered for name, count in models.counts.items() if count.answered and name != tour_app.STOP}
