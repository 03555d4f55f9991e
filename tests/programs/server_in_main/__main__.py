"""A program for `python -m`, as templates have it: it starts its server without asking who imports it."""

import asyncio

import restate
from claims import desk
from hypercorn.asyncio import serve
from hypercorn.config import Config

config = Config()
config.bind = ["0.0.0.0:9080"]
asyncio.run(serve(restate.app([desk]), config))
