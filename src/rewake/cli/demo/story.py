"""The story: start, a claim, the routing decision, kill -9, the resume, the answer on the same request, the counts.

Each step waits until its part of the story has happened, and the end is checked: every finished model call was made
once, and the answer came on the request that was open all along. A RewakeError RW1011 says what did not happen.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rewake.cli.demo.engine import DemoEngine, preferred_ports
from rewake.cli.demo.narrator import Narrator
from rewake.cli.demo.providers import DecisionCount, Provider, choose_provider
from rewake.cli.tables import shortened, table_lines
from rewake.errors import ErrorCode, RewakeError
from rewake.examples import EXAMPLES

CUSTOMER: Final = "alice"
CLAIM: Final = "I broke my leg and was in hospital for two nights"
PATH: Final = f"/ClaimDesk/{CUSTOMER}/message"
TARGET: Final = f"ClaimDesk/{CUSTOMER}/message"
DECISION_STEP: Final = "Pick specialist"
MODEL_STEP: Final = "call LLM"
START_TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.02
VALUE_CHARS_MAX: Final = 90


def tell_story(*, keep: bool) -> None:
    """Run the demo. Raises RewakeError when it does not go as it should."""
    if importlib.util.find_spec("agents") is None:
        raise RewakeError(
            ErrorCode.EXTRA_MISSING, "The demo needs the OpenAI Agents SDK.", "Install it: pip install 'rewake[openai]'"
        )
    app = next(example for example in EXAMPLES if example.name == "claim_handoffs").folder
    data = Path(tempfile.mkdtemp(prefix="rewake-demo-"))
    provider = choose_provider(app / "models.py")
    with contextlib.ExitStack() as cleanup, _termination_as_interrupt():
        cleanup.callback(shutil.rmtree, data, ignore_errors=True)
        environment = provider.start()
        cleanup.callback(provider.stop)
        engine = DemoEngine(app / "app.py", data, environment, preferred_ports(keep=keep))
        cleanup.callback(engine.stop)
        _Story(engine, provider).tell(keep=keep)
        if keep:
            with contextlib.suppress(KeyboardInterrupt):
                engine.wait_for_end()


@contextlib.contextmanager
def _termination_as_interrupt() -> Any:
    """SIGTERM ends the demo as Ctrl-C does, so that its processes go with it."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass
class _Request:
    """The customer's HTTP request: one connection, from the first byte to the answer."""

    port: int
    status: int = 0
    body: bytes = b""
    invocation_id: str = ""
    error: Exception | None = None
    thread: threading.Thread = field(init=False)

    def send(self) -> None:
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            connection.request("POST", PATH, json.dumps(CLAIM).encode(), {"content-type": "application/json"})
            response = connection.getresponse()
            self.status, self.body = response.status, response.read()
            self.invocation_id = response.headers.get("x-restate-id", "")
        except (OSError, http.client.HTTPException) as error:
            self.error = error
        finally:
            connection.close()

    @property
    def is_open(self) -> bool:
        return self.thread.is_alive()


class _Story:
    def __init__(self, engine: DemoEngine, provider: Provider) -> None:
        self._engine = engine
        self._provider = provider
        self._narrator = Narrator()
        self._told: set[int] = set()
        self._decision = ""

    def tell(self, *, keep: bool) -> None:
        narrator = self._narrator
        narrator.say(
            f"A claim router with handoffs (OpenAI Agents SDK) on Rewake, with {self._provider.description}.\n"
        )
        worker_pid = self._start()
        request = self._send_claim()
        invocation_id = self._wait_for_decision(request)
        finished_before = self._crash(request, invocation_id, worker_pid)
        self._resume(worker_pid, finished_before)
        self._wait_for_answer(request, invocation_id)
        self._show_counts()
        self._where_to_look(invocation_id, keep=keep)

    def _start(self) -> int:
        pids = self._engine.wait_until_ready(START_TIMEOUT_S)
        self._narrator.tell("engine", f"process {self._engine.pid}, ingress {self._engine.ingress_url}")
        self._narrator.tell("worker", f"process {pids[0]} runs the agents")
        return pids[0]

    def _send_claim(self) -> _Request:
        request = _Request(self._engine.ingress_port)
        request.send()
        self._narrator.tell("customer", f'POST {PATH}  "{CLAIM}"')
        return request

    def _wait_for_decision(self, request: _Request) -> str:
        """Until the routing decision is in the journal and the specialist has asked the model."""
        invocation_id = self._until(lambda: self._engine.invocation_of(TARGET), "the claim to be accepted")
        self._until(lambda: self._decision_in(invocation_id), "the routing decision", request)
        specialist = self._decision.partition(":")[0]
        self._narrator.tell("handoff", f"Intake -> {specialist}")
        try:
            self._provider.wait_for_specialist()
        except TimeoutError as error:
            raise self._engine.failed(f"The specialist did not ask the model: {error}") from error
        self._narrator.tell("handoff", f"{specialist} has asked the model; its answer is not there yet")
        return str(invocation_id)

    def _crash(self, request: _Request, invocation_id: str, worker_pid: int) -> int:
        """Kill the worker; the number of steps the journal holds at that moment."""
        finished = len(_finished_steps(self._engine.journal(invocation_id)))
        if not request.is_open:
            raise self._engine.failed("The request was answered before the crash.")
        os.kill(worker_pid, signal.SIGKILL)
        self._narrator.tell("crash", f"kill -9 {worker_pid}: the process that runs the agents is gone")
        event = self._engine.wait_for("worker_exited", self._provider.timeout_s)
        if event.get("pid") != worker_pid:
            raise self._engine.failed(f"Process {event.get('pid')} ended instead of {worker_pid}.")
        reason = str(event["reason"]).removeprefix("os_signal ")
        self._narrator.tell(
            "crash", f"it ended with {reason}; the journal holds {finished} finished steps, the request is still open"
        )
        self._provider.release()
        return finished

    def _resume(self, worker_pid: int, finished_before: int) -> None:
        event = self._engine.wait_for("worker_became_ready", START_TIMEOUT_S)
        if event["pid"] == worker_pid:
            raise self._engine.failed("The worker did not change its process.")
        self._narrator.tell(
            "resume", f"process {event['pid']} runs the agents and replays {finished_before} steps from the journal"
        )

    def _wait_for_answer(self, request: _Request, invocation_id: str) -> None:
        self._until(lambda: self._is_answered(request, invocation_id), "the answer")
        if request.error is not None or request.status != 200:
            raise self._engine.failed(f"The request ended with {request.error or (request.status, request.body)!r}.")
        if request.invocation_id != invocation_id:
            raise self._engine.failed(f"The answer is of {request.invocation_id}, not of {invocation_id}.")
        reply = json.loads(request.body)
        self._narrator.tell(
            "answer", f"{request.status} on the same request, from {reply['agent']}:\n{reply['text']!r}"
        )

    def _show_counts(self) -> None:
        counts = self._provider.counts()
        rows = [(count.agent, count.decision, count.asked, count.answered, _about(count)) for count in counts]
        self._narrator.say("\nHow often the model was asked, by decision:\n")
        for line in table_lines(("agent", "decision", "asked", "answered", ""), rows):
            self._narrator.say(f"  {line}")
        routing, *others = counts
        if (routing.asked, routing.answered) != (1, 1) or any(count.answered != 1 for count in others):
            raise RewakeError(
                ErrorCode.DEMO_FAILED, "A model call that had finished was made again, or one was never answered."
            )

    def _where_to_look(self, invocation_id: str, *, keep: bool) -> None:
        say = self._narrator.say
        say("\nNo finished call was repeated. Where to look next:\n")
        if keep:
            say("  Everything keeps running; Ctrl-C stops it. From another terminal:\n")
            say(f"  open {self._engine.admin_url}/ui/runs/{invocation_id} in a browser")
            say(f"  rewake invocations show {invocation_id} --admin {self._engine.admin_url}")
            say(f"  curl {self._engine.ingress_url}{PATH} --json '\"When is the money paid?\"'")
            say(f"  curl {self._engine.ingress_url}/ClaimDesk/{CUSTOMER}/agent")
        else:
            say("  rewake demo --keep              the same, and everything stays up to play with")
        say("  rewake example claim_handoffs   the app of this demo in a folder of your own, with its README")
        say("  rewake example                  the other apps of the tour\n")

    def _is_answered(self, request: _Request, invocation_id: str) -> bool:
        """Whether the request has ended and all earlier steps are printed."""
        has_ended = not request.is_open
        self._tell_steps(invocation_id)
        return has_ended

    def _decision_in(self, invocation_id: str) -> str:
        """The routing decision, empty until the journal has it."""
        self._tell_steps(invocation_id)
        return self._decision

    def _tell_steps(self, invocation_id: str) -> None:
        """Print every step that the journal has finished since the last look."""
        for completion_id, name, value in _finished_steps(self._engine.journal(invocation_id)):
            if completion_id in self._told:
                continue
            self._told.add(completion_id)
            if name == DECISION_STEP:
                self._decision = str(value)
                self._narrator.tell("decision", f"{name}: {value}")
            elif name == MODEL_STEP:
                self._narrator.tell("step", f"{name}: {_model_said(value)}")
            else:
                self._narrator.tell("step", f"{name}: {shortened(str(value), VALUE_CHARS_MAX)}")

    def _until(self, condition: Any, what: str, request: _Request | None = None) -> Any:
        """The first true value of `condition`. Raises RewakeError when time is up or the request ends before."""
        deadline_s = time.monotonic() + self._provider.timeout_s
        while not (value := condition()):
            self._engine.check()
            if request is not None and not request.is_open:
                answer = request.error or request.body.decode(errors="replace")
                raise self._engine.failed(f"The request ended without {what}: {answer}")
            if time.monotonic() > deadline_s:
                raise self._engine.failed(f"Waited {self._provider.timeout_s:.0f} s in vain for {what}.")
            time.sleep(POLL_S)
        return value


def _finished_steps(journal: list[dict[str, Any]]) -> list[tuple[int, str, Any]]:
    """(completion id, name, value) of every Run with a successful result, in order."""
    names: dict[int, str] = {}
    finished = []
    for entry in journal:
        if run := entry.get("Command", {}).get("Run"):
            names[run["completion_id"]] = run["name"]
        completion = entry.get("Notification", {}).get("Completion", {}).get("Run")
        if completion and "Success" in completion["result"]:
            value = json.loads(bytes(completion["result"]["Success"]) or b"null")
            finished.append((completion["completion_id"], names.get(completion["completion_id"], "?"), value))
    return finished


def _model_said(value: Any) -> str:
    """The tool or the text in a journaled model response."""
    said = []
    for item in value.get("output", []) if isinstance(value, dict) else []:
        if item.get("type") == "function_call":
            said.append(f"{item['name']}({shortened(item['arguments'], VALUE_CHARS_MAX)})")
        elif item.get("type") == "message":
            said += [repr(part["text"]) for part in item["content"] if part.get("text")]
    return shortened(", ".join(said) or "answered", VALUE_CHARS_MAX)


def _about(count: DecisionCount) -> str:
    if count.asked == count.answered == 1:
        return "once: its answer was journaled"
    lost = count.asked - count.answered
    return f"{lost} lost with the process, asked again" if count.answered == 1 else ""
