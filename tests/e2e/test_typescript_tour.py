"""The TypeScript rows of the tour, each app in its own Node process, registered by address.

Every app gives the right answer with the exact number of model calls and readable journal entries, also with a process
missing for a while. See node_tour.py for the engines; test_tour_crashes.py kills app and engine at every point.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from node_tour import (
    EXAMPLES,
    HYPERCORN,
    SOURCES,
    Answer,
    Engine,
    Process,
    eventually,
    free_port,
    installed,
    make_engine,
    node,
    until,
)

from rewake.testing.models import ModelServerClient

pytestmark = pytest.mark.timeout(180)

TOUR = ("ts_support_router", "ts_claim_approval", "ts_remote_specialists")
_numbers = itertools.count(1)
_callers = ThreadPoolExecutor(max_workers=8)


@dataclass
class Stage:
    """An engine, a scripted model and the processes of one example."""

    engine: Engine
    models: ModelServerClient
    apps: dict[str, Process] = field(default_factory=dict)

    @property
    def app(self) -> Process:
        """The Node process."""
        return self.apps["node"]

    def ask(self, path: str, body: Any) -> Future[Answer]:
        """A request on its way, with an idempotency key of its own: a caller whose engine died asks again."""
        key = f"request-{next(_numbers)}"
        return _callers.submit(lambda: eventually(lambda: self.engine.call(path, body, {"idempotency-key": key})))

    def run_claim(self, claim: str, body: dict[str, str]) -> Future[Answer]:
        """The run of a claim on its way. A workflow needs no idempotency key: a caller attaches to it by its own."""

        def send() -> Answer:
            try:
                return self.engine.call(f"{claim}/run", body)
            except OSError:
                return eventually(lambda: self.engine.get(f"/restate/workflow{claim}/attach"))

        return _callers.submit(send)

    def crash(self) -> None:
        """kill -9 of the app, and a new start of it."""
        self.app.kill()
        self.app.start()

    def calls(self) -> dict[str, int]:
        """How often the model gave an answer, by rule."""
        return {rule: count.answered for rule, count in self.models.counts().items() if count.answered}

    def asked(self) -> dict[str, int]:
        """How often the model was asked, by rule."""
        return {rule: count.asked for rule, count in self.models.counts().items() if count.asked}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = make_engine(tmp_path_factory.mktemp("engine"))
    try:
        engine.start()
        yield engine
    finally:
        engine.kill()


def staged(example: str, engine: Engine, logs: Path) -> Iterator[Stage]:
    """The example's processes, running and registered."""
    folder = installed(example)
    command = [sys.executable, "-m", "rewake.testing.models", "--rules", str(folder / "models.json")]
    environment = os.environ | {"PYTHONPATH": str(SOURCES)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as model_server:
        assert model_server.stdout is not None
        models = ModelServerClient(model_server.stdout.readline().strip())
        stage = Stage(engine, models)
        try:
            ports = {"node": free_port()}
            commands = {"node": [str(node()), "app.ts"]}
            if (folder / "specialists.py").exists():
                ports["python"] = free_port()
                bind = f"127.0.0.1:{ports['python']}"
                commands["python"] = [*HYPERCORN, "--bind", bind, "specialists:app"]
            for name, port in ports.items():
                environment = {**models.env(), "PORT": str(port)}
                log = logs / f"{name}.log"
                stage.apps[name] = Process(commands[name], port, folder=folder, log=log, environment=environment)
                stage.apps[name].start()
                engine.register(port)
            yield stage
        finally:
            for app in stage.apps.values():
                app.kill()
            model_server.terminate()


@pytest.fixture(scope="module")
def support_stage(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from staged("ts_support_router", engine, tmp_path_factory.mktemp("support"))


@pytest.fixture(scope="module")
def approval_stage(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from staged("ts_claim_approval", engine, tmp_path_factory.mktemp("approval"))


@pytest.fixture(scope="module")
def remote_stage(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from staged("ts_remote_specialists", engine, tmp_path_factory.mktemp("remote"))


@pytest.fixture
def support(support_stage: Stage) -> Stage:
    support_stage.models.reset()
    return support_stage


@pytest.fixture
def approval(approval_stage: Stage) -> Stage:
    approval_stage.models.reset()
    return approval_stage


@pytest.fixture
def remote(remote_stage: Stage) -> Stage:
    remote_stage.models.reset()
    return remote_stage


# --- support router --------------------------------------------------------------------------------------------------

CHARGED = "I was charged twice for my invoice"
REFUND = {"specialist": "billing", "text": "You get the second payment back in three days."}
RESET = {"specialist": "technical", "text": "Reset your password, then try again."}
SHIPPING = {"specialist": "router", "text": "We ship to every country of the European Union."}


@pytest.mark.parametrize(
    ("question", "reply", "calls", "steps"),
    [
        (CHARGED, REFUND, {"pick-billing": 1, "ask-billing": 1}, ["Pick specialist", "Ask billing"]),
        ("I cannot log in", RESET, {"pick-technical": 1, "ask-technical": 1}, ["Pick specialist", "Ask technical"]),
        ("Where do you ship?", SHIPPING, {"pick-none": 1}, ["Pick specialist"]),
    ],
)
def test_support_router_answers(
    support: Stage, question: str, reply: dict[str, str], calls: dict[str, int], steps: list[str]
) -> None:
    answer = support.engine.call("/SupportRouter/ask", question)
    assert (answer.status, answer.body) == (200, reply)
    assert support.calls() == support.asked() == calls
    assert support.engine.steps(answer.invocation_id) == steps


def test_support_router_refuses_a_body_that_is_no_text(support: Stage) -> None:
    answer = support.engine.call("/SupportRouter/ask", {"question": CHARGED})
    assert answer.status == 400
    assert support.asked() == {}


# --- claim approval --------------------------------------------------------------------------------------------------

CONFIRMED = "Your claim is covered. The payment is on its way."
DECLINED = "Your claim is covered, but our reviewer has not released the payment. We will call you."
WRECK = {"customer": "alice", "text": "I hit a tree and my car is a wreck. It was worth 12,000 euros."}
HOSPITAL = {"customer": "alice", "text": "I fell off my bike. The hospital wants 800 euros."}
BOTH = {"customer": "alice", "text": "I hit a tree: my car and my leg are broken."}
MODEL_CALL = "calling openai.responses"
CAR_CALLS = {"intake-asks-car": 1, "car-answers": 1, "intake-pays-car": 1, "intake-confirms": 1}
CAR_STEPS = [
    MODEL_CALL,
    "Look up car cover",
    MODEL_CALL,
    MODEL_CALL,
    "SetState",
    "ClearState",
    "Pay claim",
    MODEL_CALL,
]


def claim_path() -> str:
    """A workflow of its own for every test."""
    return f"/ClaimApproval/claim-{next(_numbers)}"


def review(stage: Stage, claim: str) -> dict[str, Any]:
    """What the reviewer is asked, once there is something."""
    found: list[dict[str, Any]] = []

    def is_asked() -> bool:
        question = stage.engine.call(f"{claim}/review").body
        if question is not None:
            found.append(question)
        return question is not None

    until(is_asked)
    return found[-1]


def test_small_claim_is_paid_without_a_reviewer(approval: Stage) -> None:
    answer = approval.engine.call(f"{claim_path()}/run", HOSPITAL)
    assert (answer.status, answer.body) == (200, CONFIRMED)
    calls = {"intake-asks-medical": 1, "medical-answers": 1, "intake-pays-medical": 1, "intake-confirms": 1}
    assert approval.calls() == approval.asked() == calls
    steps = [MODEL_CALL, "Look up medical cover", MODEL_CALL, MODEL_CALL, "Pay claim", MODEL_CALL]
    assert approval.engine.steps(answer.invocation_id) == steps


def test_message_that_is_no_claim_asks_nobody(approval: Stage) -> None:
    answer = approval.engine.call(f"{claim_path()}/run", {"customer": "alice", "text": "Hello!"})
    assert answer.body == "Please tell us what happened, and we will find the right specialist."
    assert approval.asked() == {"intake-alone": 1}
    assert approval.engine.steps(answer.invocation_id) == [MODEL_CALL]


@pytest.mark.parametrize(("approved", "reply"), [(True, CONFIRMED), (False, DECLINED)])
def test_large_claim_waits_for_a_reviewer(approval: Stage, approved: bool, reply: str) -> None:
    claim = claim_path()
    answer = approval.run_claim(claim, WRECK)
    asked = review(approval, claim)
    assert asked == {"awakeableId": asked["awakeableId"], "customer": "alice", "amountEuros": 12000}
    assert asked["awakeableId"].startswith("sign_1")
    assert not answer.done()
    assert approval.engine.call(f"{claim}/decide", {"approved": approved, "by": "Dana"}).status in (200, 204)
    assert answer.result().body == reply
    last = "intake-confirms" if approved else "intake-declines"
    calls = {"intake-asks-car": 1, "car-answers": 1, "intake-pays-car": 1, last: 1}
    assert approval.calls() == approval.asked() == calls
    steps = [step for step in CAR_STEPS if approved or step != "Pay claim"]
    assert approval.engine.steps(answer.result().invocation_id) == steps


def test_two_specialists_asked_at_once_keep_one_order(approval: Stage) -> None:
    claim = claim_path()
    answer = approval.run_claim(claim, BOTH)
    review(approval, claim)
    approval.crash()
    approval.engine.call(f"{claim}/decide", {"approved": True, "by": "Dana"})
    assert answer.result().body == CONFIRMED
    assert approval.asked() == {
        "intake-asks-both": 1,
        "medical-answers": 1,
        "car-answers": 1,
        "intake-pays-car": 1,
        "intake-confirms": 1,
    }
    steps = approval.engine.steps(answer.result().invocation_id)
    assert steps[:5] == [MODEL_CALL, "Look up medical cover", MODEL_CALL, "Look up car cover", MODEL_CALL]


def test_verdict_arrives_while_no_app_runs(approval: Stage) -> None:
    """The awakeable is resolved with the app dead; the run goes on when the app is back."""
    claim = claim_path()
    answer = approval.run_claim(claim, WRECK)
    awakeable = review(approval, claim)["awakeableId"]
    approval.app.kill()
    verdict = approval.engine.call(f"/restate/awakeables/{awakeable}/resolve", {"approved": True, "by": "Dana"})
    assert verdict.status == 202
    approval.app.start()
    assert answer.result().body == CONFIRMED
    assert approval.asked() == CAR_CALLS


def test_cancelled_claim_ends_and_tells_no_model(approval: Stage) -> None:
    """The AI SDK would show the cancellation to the model as a tool's failure; the app ends the run instead."""
    claim = claim_path()
    answer = approval.run_claim(claim, WRECK)
    review(approval, claim)
    target = claim.removeprefix("/")
    found = approval.engine.query(f"select id from sys_invocation where target = '{target}/run'")
    approval.engine.cancel(found[0]["id"])
    assert answer.result().status == 409
    assert approval.asked() == {"intake-asks-car": 1, "car-answers": 1, "intake-pays-car": 1}


def test_verdict_nobody_waits_for_is_refused(approval: Stage) -> None:
    answer = approval.engine.call(f"{claim_path()}/decide", {"approved": True, "by": "Dana"})
    assert answer.status == 409


# --- remote specialists ----------------------------------------------------------------------------------------------

BIKE = {"customer": "alice", "text": "I fell off my bike and was in hospital for two days."}
DISCHARGE = "Your hospital stay is covered in full. Please send in the discharge letter."
REMOTE_CALLS = {"router-picks-medical": 1, "medical-answers": 1}
TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_remote_specialist_answers_across_languages(remote: Stage) -> None:
    """TypeScript calls Python, which calls TypeScript; the caller's trace goes over all."""
    answer = remote.engine.call("/ClaimRouter/answer", BIKE, {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
    assert answer.status == 200
    reply = answer.body
    assert (reply["specialist"], reply["text"], reply["trace"]) == ("MedicalSpecialist", DISCHARGE, TRACE)
    assert remote.calls() == remote.asked() == REMOTE_CALLS
    router, specialist, cover_desk = reply["invocations"]
    assert router == answer.invocation_id
    assert remote.engine.steps(router) == ["Pick specialist", "Call"]
    assert remote.engine.steps(specialist) == ["Call", "Ask medical specialist"]
    assert remote.engine.steps(cover_desk) == ["Look up cover"]
    rows = remote.engine.query(
        f"select id, invoked_by_id from sys_invocation where id in ('{specialist}', '{cover_desk}')"
    )
    assert {row["id"]: row["invoked_by_id"] for row in rows} == {specialist: router, cover_desk: specialist}


def test_remote_router_answers_alone(remote: Stage) -> None:
    answer = remote.engine.call("/ClaimRouter/answer", {"customer": "alice", "text": "Hello!"})
    assert (answer.body["specialist"], answer.body["text"]) == (None, "Please tell us what happened.")
    assert re.fullmatch("[0-9a-f]{32}", answer.body["trace"])
    assert remote.asked() == {"router-alone": 1}
    assert remote.engine.steps(answer.invocation_id) == ["Pick specialist"]


def test_remote_call_waits_for_the_callee_to_come_back(remote: Stage) -> None:
    """After routing, with the specialist's process dead: the call is kept and made when the process is there."""
    remote.models.hold("router-picks-medical")
    answer = remote.ask("/ClaimRouter/answer", BIKE)
    remote.models.wait("router-picks-medical")
    remote.apps["python"].kill()
    remote.models.release("router-picks-medical")
    remote.models.wait("router-picks-medical", answered=1)
    remote.crash()
    remote.apps["python"].start()
    assert answer.result().body["text"] == DISCHARGE
    assert remote.calls() == remote.asked() | {"medical-answers": 1}


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", TOUR)
def test_lock_file_names_no_address(example: str) -> None:
    """A lock file with addresses ties every reader to somebody's registry."""
    packages = json.loads((EXAMPLES / example / "package-lock.json").read_text())["packages"]
    assert all("integrity" in package for path, package in packages.items() if path)
    assert not [path for path, package in packages.items() if "resolved" in package]
