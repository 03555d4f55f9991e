"""asyncio around core and store: the commit loop, live attempts, timers, start and stop.

engine.py         Engine, the public interface         runtime.py       start, stop and rebuild of all parts
commit_loop.py    commands -> batches -> effects       live_attempts.py one object per running attempt
attempt_queue.py  attempts that wait for a place       waiters.py       callers that wait for answers
housekeeping.py   timers and the retention sweep       clock.py         notices a clock that is set back
registration.py   plans changes of the registry        http_deployments.py  deployments reached by URL
operating.py      operations become commands           calling.py       the interface of callers
results.py        bodies and results of embedded calls options.py       settings of one engine
workers.py        child processes that run an app      observer.py      the interface of observers
loss.py           why memory was lost                  mismatch.py      explains replay mismatches
approval_links.py signed links to questions
"""

from rewake.engine.engine import Engine
from rewake.engine.options import EngineOptions
from rewake.engine.results import InvocationFailed

__all__ = ["Engine", "EngineOptions", "InvocationFailed"]
