"""asyncio around core and store: the commit loop, live attempts, timers, start and stop.

engine.py         Engine, the public face              runtime.py       the parts put together, start, stop, rebuild
commit_loop.py    commands -> batches -> effects       live_attempts.py one object per running attempt
waiters.py        who outside waits for which answer   housekeeping.py  timers and the retention sweep
registration.py   what a deployment serves             http_deployments.py  those reached by URL
workers.py        child processes that run an app      observer.py      who may hear of what happens
"""

from rewake.engine.engine import Engine
from rewake.engine.options import EngineOptions
from rewake.engine.results import InvocationFailed

__all__ = ["Engine", "EngineOptions", "InvocationFailed"]
