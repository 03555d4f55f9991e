"""Guardrails of an agent as steps, beside what they guard.

A guardrail is one step with its verdict, model calls inside included; one that uses the context is a branch.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from agents import GuardrailFunctionOutput
from agents.tool_guardrails import ToolGuardrailFunctionOutput

from rewake.ext.kernel import Envelope, body_here, show_context, uses_context
from rewake.ext.kernel.values import decode, encode
from rewake.ext.openai.agent_run import AgentRun, agent_run


def adopt_guardrail(guardrail: Any) -> None:
    """Make the verdicts of a guardrail durable, in place."""
    inner = guardrail.guardrail_function
    if not hasattr(inner, "rewake_adopted"):
        guardrail.guardrail_function = _durable(guardrail, inner)


def _durable(guardrail: Any, inner: Callable[..., Any]) -> Callable[..., Any]:
    is_durable = uses_context(inner)

    @functools.wraps(inner)
    async def check(*args: Any) -> Any:
        found = agent_run()
        if found is None:
            return await _called(inner, args)
        name: str = guardrail.get_name()

        async def work() -> Any:
            if is_durable:
                show_context(found.run)
                return await _called(inner, args)
            return await _recorded(found, name, inner, args)

        call_id = getattr(getattr(args[0], "context", None), "tool_call_id", None)  # of a tool's guardrail
        key = f"guardrail {name}" if call_id is None else f"{call_id} guardrail {name}"
        verdict = await found.arrive(key, work, part_of=call_id)
        found.has_tripped |= bool(getattr(verdict, "tripwire_triggered", False))
        return verdict

    check.rewake_adopted = True  # type: ignore[attr-defined]
    return check


async def _recorded(found: AgentRun, name: str, inner: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    envelope = found.envelope("guardrail", tool=name)

    async def body() -> Envelope:
        verdict = await _called(inner, args)
        ran = body_here.get()
        return envelope.with_value(_stored(verdict), usage=ran.usage if ran else None)

    stored = await found.record(f"guardrail {name}", body, or_branch=envelope.with_value(None, branch=True))
    if stored.branch:
        show_context(found.run)
        return await _called(inner, args)
    return _verdict(stored.value)


def _stored(verdict: GuardrailFunctionOutput | ToolGuardrailFunctionOutput) -> dict[str, Any]:
    if isinstance(verdict, ToolGuardrailFunctionOutput):
        return {"behavior": dict(verdict.behavior), "info": encode(verdict.output_info)}
    return {"tripped": verdict.tripwire_triggered, "info": encode(verdict.output_info)}


def _verdict(stored: dict[str, Any]) -> Any:
    if "behavior" in stored:
        return ToolGuardrailFunctionOutput(output_info=decode(stored["info"]), behavior=stored["behavior"])
    return GuardrailFunctionOutput(output_info=decode(stored["info"]), tripwire_triggered=stored["tripped"])


async def _called(inner: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    verdict = inner(*args)
    return await verdict if inspect.isawaitable(verdict) else verdict
