"""A process that runs an engine until it kills itself; started by test_engine_crashes.py.

Its argument is JSON {"key", "at", "is_committed", "previous", "version"}. It asks for the answer of
`previous`, the key of the process before it, then calls Steps/route with its own `key`, and dies by SIGKILL after the
`at`-th message of a handler, before or after its commit.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from stage import Cut, CutAttempt, Stage

from rewake.engine import Engine


async def main(request: dict[str, Any]) -> None:
    engines: list[Engine] = []

    def die(_: CutAttempt) -> None:
        if request["is_committed"]:
            asyncio.ensure_future(die_when_committed())
        else:
            os.kill(os.getpid(), 9)

    async def die_when_committed() -> None:
        await engines[0]._loop.flush()
        os.kill(os.getpid(), 9)

    stage = Stage(Path(os.environ["REWAKE_TEST_STAGE"]))
    cut = Cut(0, die)
    async with stage.engine("in_process", version=request["version"], cut=cut) as engine:
        engines.append(engine)
        if request["previous"] is not None:
            await tell(engine, request["previous"])
        cut.arm(request["at"])
        await tell(engine, request["key"])


async def tell(engine: Engine, key: str) -> None:
    answer = await engine.call("Steps", "route", "Ada", idempotency_key=key)
    sys.stdout.write(f"answer {answer}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
