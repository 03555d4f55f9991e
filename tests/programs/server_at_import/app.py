"""Starts its own server when imported, as scripts do that forgot the __main__: the import never ends."""

import asyncio

import restate

desk = restate.Service("Desk")


@desk.handler()
async def check(ctx: restate.Context, claim: str) -> str:
    return f"{claim} is checked"


async def serve() -> None:
    await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    await asyncio.Event().wait()


asyncio.run(serve())
