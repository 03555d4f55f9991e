"""The agent work: the same agents bare, with the official extension on both engines, with `rewake.ext`, and on DBOS.

Each way is a peer with the scripted provider in a process of its own. The provider and the framework take most of the
time, so what an engine adds is the difference to the bare framework. Called by __main__.py.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import ClassVar

from bench import callers
from bench.environments import environment
from bench.npm import REPOSITORY, PeerError
from bench.peers import Peer, RestateEngine, Rewake, free_port
from bench.report import Row
from bench.works import Spec

APP = "bench/agent_app.py"
CALLERS = (1, 16, 32)
WARM_UP_SECONDS = 1.0
RATE_SHARE_MIN = 0.95
RATE_RATIO_MIN = 1.3
DBOS_RATIO_MIN = 1.0
ADDED_MS_MAX = 1.0
MODEL_CALLS = 3
FRAMEWORKS = ("pydantic", "openai")
DBOS_PACKAGES = ("dbos==3.4.0", "dbos-openai-agents==0.3.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRow:
    """One way to run the agents, with so many callers.

    cpu_ms: processor time of one run, in all processes but the provider's and the callers'; it holds on a busy machine
    as well.   steps, journal_bytes: of one run, 0 where bare.
    """

    framework: str
    way: str
    callers: int
    runs_per_second: float
    median_ms: float
    cpu_ms: float = 0.0
    steps: int = 0
    journal_bytes: int = 0
    error_count: int = 0


class AgentPeer(Peer):
    """Answers `/Agents/answer`. extension: what makes its agents durable. work: what is asked of it."""

    extension: ClassVar[str] = ""
    title: ClassVar[str] = ""
    work: ClassVar[str] = "agents"
    callers: ClassVar[tuple[int, ...]] = CALLERS
    frameworks: ClassVar[tuple[str, ...]] = FRAMEWORKS

    def __init__(self, framework: str, provider: str) -> None:
        super().__init__()
        self.data = self.data.with_name(f"agents-{self.name}-{framework}")
        self.environment = {
            "BENCH_FRAMEWORK": framework,
            "BENCH_EXTENSION": self.extension,
            "OPENAI_BASE_URL": f"{provider}/v1",
            "OPENAI_API_KEY": "none",
        }

    first_call = ("/Agents/answer", b'"It is covered."')

    def journal(self) -> tuple[int, int]:
        """Steps and bytes of one run's journal."""
        run = self.query("SELECT id FROM sys_invocation WHERE status = 'completed' LIMIT 1")[0]["id"]
        entries = self.query(f"SELECT entry_type, raw_length FROM sys_journal WHERE id = '{run}'")
        steps = sum(entry["entry_type"] == "Command: Run" for entry in entries)
        return steps, sum(entry["raw_length"] or 0 for entry in entries)


class Bare(AgentPeer):
    """The framework alone behind uvicorn."""

    name, extension, title = "bare", "bare", "framework alone"

    def launch(self) -> None:
        options = ["--port", str(self.ingress_port), "--log-level", "warning"]
        self.spawn("uvicorn", [sys.executable, "-m", "uvicorn", *options, "bench.agent_app:app"], **self.environment)


class OfficialOnRestate(AgentPeer, RestateEngine):
    """`restate.ext` on hypercorn, driven by the real server."""

    name, extension, title = "restate-ext-restate", "restate", "restate.ext on restate-server"

    def launch_app(self, port: int) -> None:
        options = ["--bind", f"127.0.0.1:{port}"]
        command = [sys.executable, "-m", "hypercorn", *options, "bench.agent_app:app"]
        self.spawn("hypercorn", command, **self.environment)


class OfficialOnRewake(AgentPeer, Rewake):
    """`restate.ext` under `rewake run`."""

    name, extension, title = "restate-ext-rewake", "restate", "restate.ext on Rewake"
    app = APP


class OursOnRewake(OfficialOnRewake):
    """`rewake.ext` under `rewake run`."""

    name, extension, title = "rewake-ext-rewake", "rewake", "rewake.ext on Rewake"


class OnDbos(AgentPeer):
    """DBOS' runner for OpenAI Agents on its SQLite database, behind uvicorn, in an environment of its own."""

    name, extension, title, frameworks = "dbos", "dbos", "DBOS on SQLite", ("openai",)

    def __init__(self, framework: str, provider: str) -> None:
        super().__init__(framework, provider)
        self.environment["BENCH_DATA"] = str(self.data)
        self.python = environment("dbos", DBOS_PACKAGES)

    def launch(self) -> None:
        options = ["--port", str(self.ingress_port), "--log-level", "warning"]
        self.spawn("uvicorn", [str(self.python), "-m", "uvicorn", *options, "bench.dbos_app:app"], **self.environment)

    def journal(self) -> tuple[int, int]:
        with closing(sqlite3.connect(self.data / "dbos.sqlite")) as database:
            columns = "count(*), coalesce(sum(length(output)), 0)"
            run = "(select workflow_uuid from workflow_status where status = 'SUCCESS' limit 1)"
            steps, size = database.execute(
                f"select {columns} from operation_outputs where workflow_uuid = {run}"
            ).fetchone()
        return int(steps), int(size)


class EmptySteps(OursOnRewake):
    """As many steps of the plain SDK with empty bodies: what of the added time no extension can save."""

    title, work, callers = "empty steps on Rewake", "empty_steps", CALLERS[:1]
    first_call = ("/Agents/steps", b'"done"')


class BesideSteps(OursOnRewake):
    """The bare framework in a handler, with empty steps between: engine and SDK at work beside it, and no extension."""

    extension, title, callers = "beside", "framework alone and empty steps on Rewake", CALLERS[:1]


WAYS: tuple[type[AgentPeer], ...] = (
    Bare,
    OfficialOnRestate,
    OfficialOnRewake,
    OursOnRewake,
    OnDbos,
    EmptySteps,
    BesideSteps,
)


def measure(
    frameworks: Sequence[str], rounds: int, seconds: float, say: Callable[[str], None]
) -> tuple[list[AgentRow], list[str]]:
    """All rows, and what went wrong. Rounds alternate between the ways."""
    rows: list[AgentRow] = []
    errors: list[str] = []
    with provider() as url:
        for framework in frameworks:
            for number in range(1, rounds + 1):
                for way in (way for way in WAYS if framework in way.frameworks):
                    say(f"agents, {framework}, round {number} of {rounds}: {way.title}")
                    try:
                        rows += measure_way(way(framework, url), framework, seconds)
                    except PeerError as error:
                        errors.append(f"agents: {error}")
    return rows, errors + [f"agents, {row.way}: wrong answers" for row in rows if row.error_count]


def measure_way(peer: AgentPeer, framework: str, seconds: float) -> list[AgentRow]:
    """One way with each number of callers, once."""
    rows = []
    try:
        peer.start()
        for count in peer.callers:
            for length in (WARM_UP_SECONDS, seconds):
                spec = Spec(port=peer.ingress_port, work=peer.work, callers=count, seconds=length)
                row, outcome = callers.measure(peer, spec)
            steps, journal_bytes = (0, 0) if isinstance(peer, Bare) else peer.journal()
            rows.append(
                AgentRow(
                    framework=framework,
                    way=peer.title,
                    callers=count,
                    runs_per_second=row.runs_per_second,
                    median_ms=row.median_ms,
                    cpu_ms=cpu_ms(row),
                    steps=steps,
                    journal_bytes=journal_bytes,
                    error_count=outcome.error_count,
                )
            )
    finally:
        peer.stop()
    return rows


def cpu_ms(row: Row) -> float:
    """Processor milliseconds of a run, without the callers'."""
    cores = sum(used for role, used in row.cores.items() if role != "callers")
    return 1000 * cores / row.runs_per_second if row.runs_per_second else 0.0


@contextmanager
def provider() -> Iterator[str]:
    """The scripted provider's URL."""
    command = [sys.executable, "-m", "rewake.testing.models", "--rules", "bench/agent_rules.py"]
    command += ["--port", str(free_port())]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            yield child.stdout.readline().strip()
        finally:
            child.terminate()
