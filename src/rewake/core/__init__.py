"""The durable state machine, pure: no I/O, no clock, no asyncio, no randomness. Read it as the engine's specification.

commands.py    all inputs                      effects.py   messages to others, after the commit
writes.py      the rows that a batch changes   reader.py    reads of committed state
model.py       the nouns                       state.py     the live ones, and the current batch
apply.py       one command -> one transition   settings.py  limits and defaults, by name

lifecycle.py has the life of an invocation: the table of legal MOVES, and the consequences of each move. It uses
journal.py (append), keyed.py (locks, inbox, state), wakeups.py, placement.py (where an attempt runs), failures.py. The
files above it decide which move to make, one file per concern: calls.py (targets, idempotency), attempts.py (messages
and ends of an attempt), sdk_commands.py (each command of a handler), retries.py, timers.py, operations.py (cancel,
kill, pause, resume), retention.py (purge, sweep), promises.py, signals.py, restart.py (restart as new, fork),
registry.py (deployments and services). Imports only go down, by a contract in pyproject.toml: lower files put
invocations on the queue `ready`, and apply.py lets lifecycle.py begin them at the end of the command.

Invariants: nothing leaves before its commit (effects ride with their batch); at most one live attempt per invocation
(epochs); one exclusive handler per key, in arrival order; one notification per completion id; memory is a cache of
committed rows plus the batch in hand; the same commands give the same writes and effects.
"""
