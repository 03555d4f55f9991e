"""asyncio around core and store: the commit loop, live attempts, timers, start and stop.

engine.py        Engine, the public face             commit_loop.py   commands -> batches -> effects
live_attempts.py one object per running attempt      waiters.py       who outside waits for which answer
registration.py  discovery of a deployment           housekeeping.py  timers and the retention sweep
workers.py       child processes that run an app
"""

from rewake.engine.engine import Engine
from rewake.engine.options import EngineOptions
from rewake.engine.results import InvocationFailed

__all__ = ["Engine", "EngineOptions", "InvocationFailed"]
