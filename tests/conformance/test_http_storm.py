"""A thousand invocations each on a Python and a TypeScript deployment, while connections are cut throughout."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from chaos_proxy import ChaosProxy
from http_service import Service
from node_tour import installed
from stage import Stage
from under_fire import PERSISTENT, many_under_fire, register_patiently

from rewake.engine import Engine, EngineOptions

COUNT = 1_000
CONCURRENCY_MAX = 4 * COUNT
"""Parents wait for their callees: with fewer places they would hold them all, until the inactivity timeout."""

LIFE_BYTES = 150_000
CUTS_MIN = 5
DEADLINE_S = 100.0
SCRIPT = Path(__file__).with_name("http_chain.mjs")


@pytest.mark.timeout(120)
def test_two_thousand_under_fire(stage: Stage) -> None:
    script = installed("ts_support_router") / SCRIPT.name
    shutil.copy(SCRIPT, script)

    async def main() -> None:
        python = Service("http_apps:app")
        typescript = Service(str(script), "node", NODE_ENV="production", RESTATE_LOGGING="ERROR")
        try:
            async with (
                asyncio.timeout(DEADLINE_S),
                Engine(
                    stage.data, options=EngineOptions(defaults=PERSISTENT, concurrency_max=CONCURRENCY_MAX)
                ) as engine,
                ChaosProxy(python.port, seed=11, life_bytes=LIFE_BYTES) as to_python,
                ChaosProxy(typescript.port, seed=12, life_bytes=LIFE_BYTES) as to_typescript,
            ):
                engine.drive()
                in_python = await register_patiently(engine, f"http://127.0.0.1:{to_python.port}")
                in_typescript = await register_patiently(engine, f"http://127.0.0.1:{to_typescript.port}")
                await asyncio.gather(
                    many_under_fire(stage, engine, in_python, COUNT),
                    many_under_fire(stage, engine, in_typescript, COUNT, "TsChain"),
                )
                assert to_python.cut_count >= CUTS_MIN and to_typescript.cut_count >= CUTS_MIN
        finally:
            python.kill()
            typescript.kill()

    asyncio.run(main())
