"""The effects of a run, each with its last state. Reads the journal only, so it works for runs on any server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from rewake.agents.effects import Effect, effect_in
from rewake.core.model import Invocation
from rewake.protocol import messages as m
from rewake.protocol.messages import MessageType
from rewake.runs.displays import carried
from rewake.runs.reading import Reading
from rewake.runs.steps import Step, decoded, version_of

_NAMED: Final = re.compile(r"(?:^|: )(?:send|effect|undo) ")
_EACH_MAX: Final = 256 << 10
_ALL_MAX: Final = 4 << 20


def effects_of(reading: Reading, invocation: Invocation, steps: Sequence[Step]) -> list[Effect]:
    """The effects in the order they began. A run without steps of such names costs no reads."""
    named = [step for step in steps if step.type is MessageType.RUN and step.is_done and _NAMED.search(step.name)]
    if not named:
        return []
    indexes = [step.result_index for step in named]
    payloads, _ = reading.payloads_within(invocation.id, indexes, each_max=_EACH_MAX, all_max=_ALL_MAX)
    found: dict[str, Effect] = {}
    for step in named:
        payload = payloads.get(step.result_index)
        message = None if payload is None else decoded(step.result_type, payload, version_of(invocation))
        result = carried(message)
        effect = effect_in(result.content) if isinstance(result, m.Success) else None
        if effect is not None:
            found[effect.key] = effect
    return [effect if invocation.is_open else effect.as_it_ended() for effect in found.values()]
