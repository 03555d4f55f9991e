"""Durable agents of Pydantic AI: each model call, tool call and MCP call is a step that is never done twice.

Two forms. `RestateAgent` wraps an agent, with the call form and all names of `restate.ext.pydantic`:

    agent = RestateAgent(Agent("openai:gpt-5", name="desk"))
    result = await agent.run("...")                     # in a handler

`RewakeDurability` is a capability on Pydantic AI's public interface for durable engines:

    agent = Agent("openai:gpt-5", name="desk", capabilities=[RewakeDurability()])

Outside of a handler both are the agent as it is. Where things are: durability.py (the capability), operations.py (how
an operation becomes a step or a piece), flow.py (which agent asks, which calls are to come), envelopes.py (what is
stored), approvals.py and between.py (people decide on calls),
waiting.py (durable questions), agent.py and wrappers.py (the names of
the official extension), failures.py.
"""

try:
    import pydantic_ai.durable_exec  # noqa: F401 - only to say what is missing
except ImportError as missing:
    raise ImportError(
        "rewake.ext.pydantic needs Pydantic AI with `pydantic_ai.durable_exec`: pip install 'rewake[pydantic]'"
    ) from missing

from rewake.ext.kernel import ApprovalRequest, Approvals, Done, EffectUnknown, external
from rewake.ext.pydantic.agent import RestateAgent, restate_context, restate_object_context
from rewake.ext.pydantic.approvals import DurableApprovals
from rewake.ext.pydantic.between import BetweenTurns
from rewake.ext.pydantic.durability import RewakeDurability
from rewake.ext.pydantic.waiting import AwakeableWaiter
from rewake.ext.pydantic.wrappers import PydanticTypeAdapter, RestateContextRunToolSet, RestateModelWrapper

__all__ = [
    "ApprovalRequest",
    "Approvals",
    "AwakeableWaiter",
    "BetweenTurns",
    "Done",
    "DurableApprovals",
    "EffectUnknown",
    "PydanticTypeAdapter",
    "RestateAgent",
    "RestateContextRunToolSet",
    "RestateModelWrapper",
    "RewakeDurability",
    "external",
    "restate_context",
    "restate_object_context",
]
