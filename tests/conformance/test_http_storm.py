"""Hundreds of invocations each on a Python and a TypeScript deployment, while connections are cut throughout.

A failure names its seed; with REWAKE_TEST_SEED the connections live as long again, in bytes.
"""

from __future__ import annotations

import asyncio
import bisect
import os
import random
import sys

import pytest
from chaos_proxy import ChaosProxy
from http_apps import STEP_COUNT
from http_service import Service, typescript
from stage import Stage, until
from under_fire import PERSISTENT, Recorder, many_under_fire, register_patiently

from rewake.deployments.http.exchange import HttpOptions
from rewake.engine import Engine, EngineOptions

COUNT = 600
CONCURRENCY_MAX = 4 * COUNT
"""Parents wait for their callees: with fewer places they would hold them all, until the inactivity timeout."""

STREAMS_MAX = 20
"""On a connection, so that a cut costs few attempts and there can be many: each begins again, and replays."""

LIFE_BYTES = 25_000
CUTS_MIN = COUNT * 8 // 100
PARTS = 3
"""The run is looked at in so many parts, by steps done: connections must have been cut in each. A part of a hundred
invocations is now and then too short for a cut."""

DEADLINE_S = 100.0
OPTIONS = EngineOptions(
    defaults=PERSISTENT,
    concurrency_max=CONCURRENCY_MAX,
    http=HttpOptions(streams_per_connection_max=STREAMS_MAX),
)


@pytest.mark.timeout(120)
def test_many_under_fire(stage: Stage) -> None:
    seed = int(os.environ.get("REWAKE_TEST_SEED") or random.randrange(2**32))
    sys.stdout.write(f"REWAKE_TEST_SEED={seed}\n")  # pytest shows it with a failure

    async def main() -> None:
        python = Service("http_apps:app")
        node = Service(typescript("chain.ts"), "node")
        try:
            async with (
                asyncio.timeout(DEADLINE_S),
                Engine(stage.data, options=OPTIONS) as engine,
                ChaosProxy(python.port, seed=seed, life_bytes=LIFE_BYTES) as to_python,
                ChaosProxy(node.port, seed=seed + 1, life_bytes=LIFE_BYTES) as to_node,
            ):
                engine.drive()
                in_python = await register_patiently(engine, f"http://127.0.0.1:{to_python.port}")
                in_node = await register_patiently(engine, f"http://127.0.0.1:{to_node.port}")
                proxies = (to_python, to_node)
                for proxy in proxies:
                    proxy.shut()

                async def once_all_are_under_way() -> None:
                    await until(lambda: engine.stats()["attempts_running"] == 2 * COUNT)
                    for proxy in proxies:
                        proxy.is_open.set()

                recorders = await asyncio.gather(
                    many_under_fire(stage, engine, in_python, COUNT, "Chain", once_all_are_under_way),
                    many_under_fire(stage, engine, in_node, COUNT, "TsChain", once_all_are_under_way),
                )
                for proxy, recorder in zip(proxies, recorders, strict=True):
                    assert_under_fire_throughout(proxy, recorder)
        finally:
            python.kill()
            node.kill()

    asyncio.run(main())


def assert_under_fire_throughout(proxy: ChaosProxy, recorder: Recorder) -> None:
    """Cuts in both directions and in every part of the run, each of which cost attempts that were made again."""
    assert len(recorder.settled_ns) == COUNT * STEP_COUNT
    assert proxy.cut_count >= CUTS_MIN
    assert min(len(cuts) for cuts in proxy.cuts_ns.values()) >= CUTS_MIN // 10
    assert recorder.failed_count >= proxy.cut_count
    assert len(recorder.started_ns) >= 2 * COUNT + recorder.failed_count  # of a parent and its callee
    settled_ns = sorted(recorder.settled_ns.values())
    cuts_ns = sorted(each for cuts in proxy.cuts_ns.values() for each in cuts)
    parts = {PARTS * bisect.bisect(settled_ns, each) // (len(settled_ns) + 1) for each in cuts_ns}
    assert parts == set(range(PARTS))
