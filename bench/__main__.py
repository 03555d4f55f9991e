"""`python -m bench`: runs the comparison and prints it; `--help` lists the options.

Rounds alternate between the peers, each peer alone on the machine and on an empty data folder, so that neither drift
of the machine nor the other peer's background work falls on one of them. Prints a table and a line for each target,
and writes all the figures to bench/results/. Exit code 0 whether or not the targets are met, 1 when an answer was
wrong or missing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from bench import (
    agent_report,
    agent_work,
    callers,
    crowds,
    npm,
    processes,
    report,
    sizes,
    store_limit,
    streams,
    ui_pages,
    waiting,
)
from bench.npm import REPOSITORY, RESTATE_PACKAGE, SCRATCH, PeerError
from bench.peers import (
    Peer,
    Restate,
    RestateTypeScript,
    Rewake,
    RewakeBefore,
    RewakeHttp2,
    RewakeTypeScript,
    TypeScriptApp,
    WithApp,
)
from bench.report import Row, Start
from bench.works import TIMED, Spec

RESULTS = REPOSITORY / "bench" / "results"
WARM_UP_SECONDS = 0.5
SETTLE_SECONDS = 1.0
PACKAGES = ("restate-sdk", "hypercorn", "rewake", "apsw", "uvloop")


class Bench:
    """One run of the comparison: what is to be measured, and what has been so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.peers: list[Peer] = []
        self.rows: list[Row] = []
        self.starts: list[Start] = []
        self.waits: list[waiting.Waiting] = []
        self.sizes: list[sizes.Size] = []
        self.crowds: list[crowds.Crowd] = []
        self.soak: list[str] = []
        self.ui: ui_pages.UiPages | None = None
        self.limits: Sequence[store_limit.StoreLimit] = []
        self.agents: list[agent_work.AgentRow] = []
        self.streams: streams.Streams | None = None
        self.errors: list[str] = []
        self.load = os.getloadavg()[0]

    def run(self) -> None:
        """Measures everything; what goes wrong is kept as an error, and the rest goes on."""
        self.find_peers()
        for number in range(1, self.options.rounds + 1):
            for peer in self.peers:
                say(f"round {number} of {self.options.rounds}: {report.title(peer.name)}")
                self.guarded(peer, self.measure_round)
        if self.options.waiting:
            for peer in self.peers_of(Restate, Rewake):  # where they wait is the engine, whatever the app
                say(f"{self.options.waiting} waiting invocations: {report.title(peer.name)}")
                self.guarded(peer, self.measure_waiting)
        self.run_large()
        if self.options.agents:
            self.measure_agents()
        if not self.options.skip_streams:
            say("streams")
            self.measure_streams()
        if not self.options.skip_ui:
            say("UI pages")
            self.measure_ui()
        if not self.options.skip_store:
            say("store alone")
            self.limits = store_limit.measure(SCRATCH / "data" / "store")

    def run_large(self) -> None:
        """What is large, what is many, and what is long."""
        if not self.options.skip_sizes:
            for peer in self.peers_of(Restate, Rewake, RewakeHttp2):
                say(f"sizes: {report.title(peer.name)}")
                self.guarded(peer, self.measure_sizes)
        if not self.options.skip_crowds:
            for peer in self.peers_of(Rewake):
                say("crowds")
                self.guarded(peer, self.measure_crowds)
        if self.options.soak:
            say(f"a soak of {self.options.soak:g} minutes")
            self.measure_soak()

    def find_peers(self) -> None:
        """The peers that were asked for; one that cannot be had here is skipped with a line."""
        hypercorn = self.options.hypercorn.split()
        ways: dict[str, Callable[[], Peer]] = {
            Restate.name: lambda: Restate(hypercorn),
            Rewake.name: Rewake,
            RewakeHttp2.name: lambda: RewakeHttp2(hypercorn),
            RestateTypeScript.name: RestateTypeScript,
            RewakeTypeScript.name: RewakeTypeScript,
        }
        asked = list(self.options.peers)
        if self.options.against:
            ways[RewakeBefore.name] = lambda: RewakeBefore(self.options.against)
            asked.append(RewakeBefore.name)
        for name, make in ways.items():
            if name in asked:
                try:
                    self.peers.append(make())
                except PeerError as error:
                    print(f"{report.title(name)} skipped: {error}")

    def peers_of(self, *kinds: type[Peer]) -> list[Peer]:
        """The peers that are of one of these kinds. Another commit of ours is in the rounds alone."""
        return [peer for peer in self.peers if isinstance(peer, kinds) and not isinstance(peer, RewakeBefore)]

    def guarded(self, peer: Peer, measure: Callable[[Peer], None]) -> None:
        """Starts the peer, measures, stops it whatever happens."""
        try:
            peer.start()
            measure(peer)
        except PeerError as error:
            self.errors.append(str(error))
            say(f"error: {error}")
        finally:
            peer.stop()

    def measure_round(self, peer: Peer) -> None:
        """Each work at each number of callers, once."""
        time.sleep(SETTLE_SECONDS)
        idle_mib = processes.memory_of(peer.processes()).mib
        self.starts.append(Start(peer=peer.name, seconds=peer.first_answer_seconds, idle_mib=idle_mib))
        counts: dict[str, int] = {}
        for work in self.options.works:
            for count in (1, callers.CALLERS_MAX):
                for seconds in (WARM_UP_SECONDS, self.options.seconds):
                    spec = Spec(port=peer.ingress_port, work=work, callers=count, seconds=seconds, counts=counts)
                    row, outcome = callers.measure(peer, spec)
                    counts = outcome.counts
                    self.errors += [f"{peer.name}: {error}" for error in outcome.errors]
                self.rows.append(row)

    def measure_waiting(self, peer: Peer) -> None:
        """The waiting invocations."""
        measured = waiting.measure(peer, self.options.waiting)
        self.waits.append(measured)
        self.errors += [f"{peer.name}: {error}" for error in measured.errors]

    def measure_sizes(self, peer: Peer) -> None:
        """What is large and what is many. One that goes wrong leaves the others to be measured."""
        measurements = [*sizes.MEASUREMENTS.values(), *([sizes.deployments] if isinstance(peer, WithApp) else [])]
        for measure in measurements:
            try:
                measured = measure(peer)
            except PeerError as error:
                self.errors.append(str(error))
                continue
            self.sizes.append(measured)
            self.errors += [f"{peer.name}, {measured.what}: {error}" for error in measured.errors]

    def measure_crowds(self, peer: Peer) -> None:
        """What many runs cost others. One that goes wrong leaves the others to be measured."""
        for measure in crowds.MEASUREMENTS:
            try:
                measured = measure(peer)
            except PeerError as error:
                self.errors.append(str(error))
                continue
            self.crowds.append(measured)
            self.errors += [f"{measured.what}: {error}" for error in measured.errors]

    def measure_soak(self) -> None:
        """Steady load, after which memory, descriptors and files must be as they were."""
        command = [sys.executable, "-m", "tests.chaos", "--minutes", str(self.options.soak), "--every", "0"]
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
        told = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        self.soak = [f"soak: {line}" for line in told.stdout.splitlines()]
        if told.returncode:
            self.errors.append("soak: something was lost or has grown")

    def measure_agents(self) -> None:
        """The agent work, with peers of its own."""
        try:
            self.agents, errors = agent_work.measure(
                self.options.agents, self.options.agent_rounds, self.options.seconds, say
            )
        except PeerError as error:
            errors = [str(error)]
        self.errors += errors

    def measure_streams(self) -> None:
        """What runs say live; the real server has nothing to compare with."""
        try:
            self.streams = streams.measure(self.options.seconds)
        except PeerError as error:
            self.errors.append(str(error))
            return
        self.errors += [f"streams, {error}" for error in self.streams.errors]

    def measure_ui(self) -> None:
        """The pages of the UI over many stored runs; the real server has none to compare with."""
        try:
            self.ui = ui_pages.measure()
        except PeerError as error:
            self.errors.append(str(error))
            return
        self.errors += [f"UI, {error}" for error in self.ui.errors]

    def lines(self) -> list[str]:
        """The whole report."""
        rows = report.over_rounds(self.rows)
        memory_kind = processes.memory_of(processes.process_tree([os.getpid()])).kind
        text = [
            *self.machine_lines(),
            f"medians of {self.options.rounds} rounds; memory is {memory_kind} of all processes",
            "",
        ]
        text += report.table(rows) if rows else []
        text += ["", *self.start_lines()]
        text += [limit.line() for limit in self.limits]
        text += [measured.line() for measured in self.waits]
        text += ["", *sizes.lines(self.sizes, report.title)] if self.sizes else []
        text += ["", *(crowd.line() for crowd in self.crowds)] if self.crowds else []
        text += ["", *self.soak] if self.soak else []
        text += ["", *agent_report.lines(self.agents)] if self.agents else []
        text += ["", *self.streams.lines()] if self.streams else []
        text += ["", *self.ui.lines()] if self.ui else []
        ratios = report.ratio_lines(rows, self.starts, Rewake.name, Restate.name)
        ratios += report.http2_lines(rows, RewakeHttp2.name, Restate.name)
        ratios += report.typescript_lines(rows, RewakeTypeScript.name, RestateTypeScript.name)
        ratios += report.before_lines(rows, Rewake.name, RewakeBefore.name, self.options.against)
        text += ["", *ratios] if ratios else []
        text += [f"error: {error}" for error in self.errors]
        return text

    def machine_lines(self) -> list[str]:
        """What this was measured on and with."""
        versions = [f"{name} {version}" for name in PACKAGES if (version := installed_version(name))]
        versions += npm.typescript_versions() if self.peers_of(TypeScriptApp) else []
        system = f"{platform.system()} {platform.release()}, {os.cpu_count()} cores ({processor_name()})"
        python = f"Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"
        return [f"{system}, load {self.load:.1f}, {python}", ", ".join([RESTATE_PACKAGE, *versions])]

    def start_lines(self) -> list[str]:
        """Start and idle memory of each peer, each round."""
        text = []
        for peer in self.peers:
            starts = [start for start in self.starts if start.peer == peer.name]
            seconds = ", ".join(f"{start.seconds:.2f}" for start in starts)
            mib = ", ".join(f"{start.idle_mib:.0f}" for start in starts)
            if starts:
                text.append(f"{report.title(peer.name)}: first answer after {seconds} s; idle memory {mib} MiB")
        return text

    def results(self) -> dict[str, Any]:
        """All the figures, for the JSON file."""
        return {
            "machine": self.machine_lines(),
            "options": vars(self.options),
            "medians": [asdict(row) for row in report.over_rounds(self.rows)],
            "rounds": [asdict(row) for row in self.rows],
            "starts": [asdict(start) for start in self.starts],
            "waiting": [asdict(measured) for measured in self.waits],
            "sizes": [asdict(size) for size in self.sizes],
            "crowds": [asdict(crowd) for crowd in self.crowds],
            "soak": self.soak,
            "agents": [asdict(row) for row in self.agents],
            "streams": asdict(self.streams) if self.streams else None,
            "ui": asdict(self.ui) if self.ui else None,
            "store": [asdict(limit) for limit in self.limits],
            "report": self.lines(),
            "errors": self.errors,
        }


def processor_name() -> str:
    """The processor as the kernel calls it, or the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def installed_version(name: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Rewake beside restate-server, same app.")
    names = [kind.name for kind in (Restate, Rewake, RewakeHttp2, RestateTypeScript, RewakeTypeScript)]
    parser.add_argument("--peers", nargs="+", choices=names, default=names)
    parser.add_argument("--works", nargs="+", choices=TIMED, default=list(TIMED))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each timed row")
    parser.add_argument("--waiting", type=int, default=10_000, metavar="COUNT", help="waiting invocations, 0 to skip")
    parser.add_argument("--against", default="", metavar="COMMIT", help="another commit of ours, in the same rounds")
    parser.add_argument("--hypercorn", default="", metavar="OPTIONS", help="more options for it, as '--workers 2'")
    parser.add_argument("--skip-sizes", action="store_true", help="leave out what is large and what is many")
    parser.add_argument("--skip-crowds", action="store_true", help="leave out what many runs cost others")
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES", help="of steady load; 0 to skip")
    frameworks = agent_work.FRAMEWORKS
    parser.add_argument(
        "--agents", nargs="*", choices=frameworks, default=frameworks, help="whose agents; none to skip"
    )
    parser.add_argument("--agent-rounds", type=int, default=3, metavar="COUNT", help="rounds of the agent work")
    parser.add_argument("--skip-streams", action="store_true", help="leave out what runs say live")
    parser.add_argument("--skip-ui", action="store_true", help="leave out the pages of the UI")
    parser.add_argument("--skip-store", action="store_true", help="leave the store's limit out")
    parser.add_argument("--output", type=Path, default=None, metavar="FILE", help="JSON; default bench/results/")
    return parser.parse_args(arguments)


def main() -> int:
    """Runs, prints, writes; gives the exit code."""
    options = parse_options()
    bench = Bench(options)
    bench.run()
    print("\n".join(bench.lines()))
    output = options.output or RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(bench.results(), indent=1, default=str) + "\n")
    say(f"all figures: {output}")
    return 1 if bench.errors else 0


if __name__ == "__main__":
    sys.exit(main())
