"""Makes its app, and starts a server, under __main__ alone."""

import restate

desk = restate.Service("Desk")


@desk.handler()
async def check(ctx: restate.Context, claim: str) -> str:
    return f"{claim} is checked"


def main() -> None:
    import asyncio

    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    asyncio.run(serve(restate.app([desk]), Config()))


if __name__ == "__main__":
    main()
