"""Durable agents without a framework: the base of the adapters, and for users of the plain SDK and other adapters.

For handlers and tools: `durable_step`, `parallel`, `idempotency_key`, `restate_context`, `ask`, `BetweenTurns`,
`effect`, `external`.
For authors of adapters: `current_run()` gives the `Run` of an attempt: `record` (a step stored as an `Envelope`),
`expect` and `piece` (calls that a framework starts by itself), `drive` (run a framework to its end), `InPlace`
(retries), `uses_context`, `NeedsBranch`, `asked` (a question of a framework).

Where things are: turns.py (who may make an entry), rounds.py (pieces of frameworks), steps.py (bodies and retries),
envelope.py (the stored form), failures.py (what an error means), context.py (the context as a piece sees it), ids.py,
asking.py and approvals.py (people), between.py, keeping.py and leaving.py (people, between turns), effects.py, acts.py,
undo.py and undoable.py (acts on the world), sessions.py, deltas.py and offers.py. Nothing here imports the engine.
"""

from rewake.ext.kernel.acts import Done, NotDone, effect_key
from rewake.ext.kernel.approvals import Answer, ApprovalRequest, Decision, Outcome
from rewake.ext.kernel.asking import Approvals, ask, asked
from rewake.ext.kernel.context import durable_context as restate_context
from rewake.ext.kernel.context import show_context
from rewake.ext.kernel.deltas import put_delta
from rewake.ext.kernel.detect import uses_context
from rewake.ext.kernel.effects import effect, external, undo_on_failure
from rewake.ext.kernel.envelope import Envelope, EnvelopeSerde, EnvelopeUnreadable, fingerprint
from rewake.ext.kernel.errors import ArgumentsChanged, AttemptOver, CallMissing, EffectUnknown, TurnError
from rewake.ext.kernel.leaving import BetweenTurns
from rewake.ext.kernel.offers import offer
from rewake.ext.kernel.plain import durable_step, idempotency_key, parallel
from rewake.ext.kernel.run import Run, cancelled, current_run
from rewake.ext.kernel.steps import Body, InPlace, NeedsBranch, body_here
from rewake.ext.kernel.undoable import undoable, undoable_call

__all__ = [
    "Answer",
    "ApprovalRequest",
    "Approvals",
    "ArgumentsChanged",
    "AttemptOver",
    "BetweenTurns",
    "Body",
    "CallMissing",
    "Decision",
    "Done",
    "EffectUnknown",
    "Envelope",
    "EnvelopeSerde",
    "EnvelopeUnreadable",
    "InPlace",
    "NeedsBranch",
    "NotDone",
    "Outcome",
    "Run",
    "TurnError",
    "ask",
    "asked",
    "body_here",
    "cancelled",
    "current_run",
    "durable_step",
    "effect",
    "effect_key",
    "external",
    "fingerprint",
    "idempotency_key",
    "offer",
    "parallel",
    "put_delta",
    "restate_context",
    "show_context",
    "undo_on_failure",
    "undoable",
    "undoable_call",
    "uses_context",
]
