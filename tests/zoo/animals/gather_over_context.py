"""Two tasks use the context side by side."""

import asyncio

import restate

service = restate.Service("Zoo")


async def specialist(ctx: restate.Context, name: str) -> str:
    for number in range(4):
        await ctx.run_typed(f"{name} {number}", asyncio.sleep, restate.RunOptions(), 0.001 * (number % 2))
    return name


@service.handler()
async def go(ctx: restate.Context) -> list[str]:
    return list(await asyncio.gather(*(specialist(ctx, name) for name in ("car", "medical", "house"))))
