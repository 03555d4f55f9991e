"""What access tokens cost a run, end to end: `python -m bench.tokens_runs`.

Two engines with a worker each, one that demands tokens and one that does not, are called in turns, in short bursts of
CALLERS calls at once. The processor time of all their processes is read from the system before and after each burst.
The two bursts of a pair are compared, so that what else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import time
from contextlib import ExitStack
from pathlib import Path

from bench.peers import Rewake, rewake_command

SECRET = "s" * 32
BODY = b"0"
CALLERS = 16
WARM_UP_CALLS = 640
TRIMMED = 0.25


class Open(Rewake):
    """No tokens."""

    name = "tokens-without"


class Guarded(Rewake):
    """Each call shows its token."""

    name = "tokens-with"

    def __init__(self) -> None:
        super().__init__()
        self.headers = {"authorization": f"Bearer {SECRET}"}
        self.environment = {"REWAKE_TOKENS": f"bench:call:{SECRET}"}

    def launch(self) -> None:
        ports = ["--ingress-port", str(self.ingress_port), "--admin-port", str(self.admin_port)]
        command = [*rewake_command(), "run", self.app, "--data", str(self.data), *ports, "--require-tokens"]
        self.spawn("engine", command, **self.environment)


def processor_seconds(peer: Rewake) -> float:
    """Of all threads of the peer's processes so far, in nanosecond steps."""
    threads = (task for each in peer.processes() for task in Path(f"/proc/{each.pid}/task").iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in threads) / 1e9


class Callers:
    """Kept connections to one peer."""

    def __init__(self, peer: Rewake) -> None:
        self.peer = peer
        port = peer.ingress_port
        self._connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(CALLERS)]
        self._headers = {"content-type": "application/json"} | peer.headers

    def burst(self, calls: int) -> tuple[float, float]:
        """Processor time a run in us, and runs a second. calls: a multiple of CALLERS."""
        before, began = processor_seconds(self.peer), time.perf_counter()
        for _ in range(calls // CALLERS):
            for each in self._connections:
                each.request("POST", "/Steps/route2", BODY, self._headers)
            for each in self._connections:
                response = each.getresponse()
                response.read()
                assert response.status == 200, response.status
        seconds = time.perf_counter() - began
        return (processor_seconds(self.peer) - before) / calls * 1e6, calls / seconds

    def close(self) -> None:
        for each in self._connections:
            each.close()


def measure(pairs: int, calls: int) -> str:
    with ExitStack() as stack:
        callers: list[Callers] = []
        for peer in (Open(), Guarded()):
            peer.start()
            stack.callback(peer.stop)
            callers.append(Callers(peer))
            stack.callback(callers[-1].close)
        for caller in callers:
            caller.burst(WARM_UP_CALLS)
        found = []
        for pair in range(pairs):
            turns = callers if pair % 2 else callers[::-1]
            bursts = {id(caller): caller.burst(calls) for caller in turns}
            found.append([bursts[id(caller)] for caller in callers])
    return _report(found, calls)


def _report(found: list[list[tuple[float, float]]], calls: int) -> str:
    costs = sorted((guarded[0] / free[0] - 1) * 100 for free, guarded in found)
    cut = int(len(costs) * TRIMMED)
    kept = costs[cut : len(costs) - cut]
    error = statistics.stdev(kept) / len(kept) ** 0.5
    medians = [
        (statistics.median(pair[side][0] for pair in found), statistics.median(pair[side][1] for pair in found))
        for side in (0, 1)
    ]
    (free_us, free_rate), (guarded_us, guarded_rate) = medians
    return (
        f"a run without tokens {free_us:.0f} us of processor, {free_rate:.0f} runs/s; with {guarded_us:.0f} us, "
        f"{guarded_rate:.0f} runs/s; tokens cost {statistics.mean(kept):.2f} % (standard error {error:.2f}, "
        f"{len(found)} pairs of {calls} runs)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.tokens_runs", description=__doc__)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--calls", type=int, default=320)
    options = parser.parse_args()
    print(measure(options.pairs, options.calls // CALLERS * CALLERS))


if __name__ == "__main__":
    main()
