"""The durable state machine, pure: no I/O, no clock, no asyncio, no randomness. Read it as the engine's specification.

commands.py    what can happen                 effects.py   messages to others, after the commit
writes.py      the rows a batch changes        reader.py    what may be read of committed state
model.py       the nouns                       state.py     the live ones, and the batch being gathered
apply.py       one command -> one transition   settings.py  limits and defaults, by name

The life of an invocation is lifecycle.py: the table of legal MOVES and, for each move, what else it entails. It uses
journal.py (append), keyed.py (locks, inbox, state), wakeups.py, placement.py (where an attempt runs), failures.py. The
files above it decide why a move is made, one file per concern: calls.py (who is called, idempotency), attempts.py (what
a live one says, how it ends), sdk_commands.py (each command of a handler), retries.py, timers.py, operations.py
(cancel, kill, pause, resume), retention.py (purge, sweep), promises.py, signals.py, restart.py (restart as new, fork),
registry.py (deployments and services). Imports go down only, which a contract in pyproject.toml holds: lower files put
invocations on the queue `ready`, and apply.py lets lifecycle.py begin them at the end of the command.

Invariants: nothing leaves before its commit (effects ride with their batch); at most one live attempt per invocation
(epochs); one exclusive handler per key, in arrival order; one notification per completion id; memory is a cache of
committed rows plus the batch in hand; the same commands give the same writes and effects.
"""
