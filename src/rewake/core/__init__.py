"""The durable state machine, pure: no I/O, no clock, no asyncio, no randomness. Read it as the engine's specification.

commands.py    what can happen                 effects.py   whom to tell, after the commit
writes.py      the rows a batch changes        reader.py    what may be read of committed state
model.py       the nouns                       state.py     the live ones, and the batch being gathered
apply.py       one command -> one transition   settings.py  limits and defaults, by name

Transitions, one file per concern: invocations.py (create, complete, cancel, kill, pause, resume), calls.py (who is
called, idempotency), attempts.py (begin, suspend, end, make room), sdk_commands.py (each command of a handler),
journal.py (append), keyed.py (locks, inbox, state), promises.py, signals.py, timers.py, retries.py, retention.py
(purge, sweep), restart.py (restart as new, fork), registry.py (deployments and services).

Invariants: nothing leaves before its commit (effects ride with their batch); at most one live attempt per invocation
(epochs); one exclusive handler per key, in arrival order; one notification per completion id; memory is a cache of
committed rows plus the batch in hand; the same commands give the same writes and effects.
"""
