"""Turns spoken by OpenAI agents. Imported only for an agent of that SDK."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import restate
from agents import Agent, RunConfig, RunState, TResponseInputItem
from agents.run import CallModelData, ModelInputData

from rewake.ext.chat.steering import later_messages
from rewake.ext.openai import Approvals, BetweenTurns, DurableRunner, RestateSession
from rewake.ext.openai.preparing import for_resuming
from rewake.ext.openai.team import team


class OpenAITurns:
    """One agent or a team of them. start_with: who gets a new message, the agent given or the one that spoke last."""

    def __init__(self, agent: Agent[Any], *, starts_with_last: bool, approvals: Any, options: dict[str, Any]) -> None:
        self._agent, self._starts_with_last = agent, starts_with_last
        self._approvals, self._options = approvals, options
        self._questions: BetweenTurns | None = None

    def keeper(self, service: restate.VirtualObject) -> BetweenTurns:
        """From now on questions wait between turns, in the state of this object."""
        approvals = self._approvals if isinstance(self._approvals, Approvals) else None
        self._approvals = False
        self._questions = BetweenTurns(service, self._agent, approvals, context=self._options.get("context"))
        return self._questions

    async def __call__(self, text: str | RunState[Any]) -> str | None:
        """Answer one message, or go on from a state. None while people are asked between turns."""
        session = ChatSession()
        agent = self._agent
        if self._starts_with_last and isinstance(text, str):
            await session.get_items()
            agent = team(agent).get(session.last_agent or "", agent)
        options = self._options if isinstance(text, str) else for_resuming(self._options)
        options = options | {"run_config": _Steered(session, self._options.get("run_config")).config}
        result = await DurableRunner.run(
            agent, text, session=session, wait_for_approvals=self._approvals, live=True, **options
        )
        if self._questions is not None and result.interruptions:
            await self._questions.leave(result)
            return None
        return str(result.final_output)


class _Steered:
    """Messages that came during a turn. Models read them at the place where they came, and from then on.

    config: the user's; its own filter of models' input runs after this one.
    """

    def __init__(self, session: RestateSession, given: RunConfig | dict[str, Any] | None) -> None:
        config = given if isinstance(given, RunConfig) else RunConfig(**(given or {}))
        self._session, self._filter = session, config.call_model_input_filter
        self._later: list[tuple[int, TResponseInputItem]] = []
        self._has_begun = False
        self.config = dataclasses.replace(config, call_model_input_filter=self._read)

    async def _read(self, data: CallModelData[Any]) -> ModelInputData:
        items = list(data.model_data.input)
        # Not before the first call: what was there then is part of the turn's message, and guardrails may run beside.
        for text in await later_messages() if self._has_begun else []:
            message: TResponseInputItem = {"role": "user", "content": text}
            self._later.append((len(items), message))
            await self._session.add_items([message])
        self._has_begun = True
        for number, (place, message) in enumerate(self._later):
            items.insert(place + number, message)
        data = dataclasses.replace(data, model_data=dataclasses.replace(data.model_data, input=items))
        found = data.model_data if self._filter is None else self._filter(data)
        return await found if inspect.isawaitable(found) else found


class ChatSession(RestateSession):
    """A session without calls that lack a result: a stopped turn leaves some, and providers refuse them."""

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """All items that a model accepts, or the newest `limit` ones."""
        items: list[Any] = await super().get_items()
        answered = {item.get("call_id") for item in items if item.get("type") == "function_call_output"}
        made = {item.get("call_id") for item in items if item.get("type") == "function_call"}
        whole = [item for item in items if not _is_half(item, made & answered)]
        return whole if limit is None else whole[-limit:] if limit > 0 else []


def _is_half(item: Any, whole: set[Any]) -> bool:
    is_call = item.get("type") in ("function_call", "function_call_output")
    return is_call and item.get("call_id") not in whole
