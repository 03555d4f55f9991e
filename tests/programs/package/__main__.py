"""Starts a server of its own with uvicorn, from modules beside it."""

import restate
import uvicorn

from .services import desk

uvicorn.run(restate.app([desk]), host="0.0.0.0", port=9080)
