"""A file is written by the handler itself, not in a step: each replay writes again."""

import tempfile
from pathlib import Path

import restate

service = restate.Service("Zoo")
LOG = Path(tempfile.gettempdir()) / "rewake-zoo-audit.log"


@service.handler()
async def go(ctx: restate.Context) -> str:
    first = await ctx.run_typed("Ask", lambda: "asked")
    with LOG.open("a") as file:
        file.write(first + "\n")
    return await ctx.run_typed("Sum up", lambda: "done")
