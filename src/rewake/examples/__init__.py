"""The tour: one small app per agent framework, each a folder with its README, ready to be copied and run.

`rewake example NAME` copies a folder. The files in it import each other by their plain names, as a user's would,
so they are no modules of this package. Nothing of the engine imports this.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["EXAMPLES", "Example"]


_TYPESCRIPT: Final = ("npm install", "npm start &", "rewake deployments register http://localhost:9080")


_SCRIPTED: Final = (
    "python -m rewake.testing.models --rules models.py --port 4010 &",
    "export OPENAI_BASE_URL=http://127.0.0.1:4010/v1 OPENAI_API_KEY=scripted",
    "rewake run app.py",
)
"""For an app that starts no scripted model by itself."""


@dataclass(frozen=True, slots=True)
class Example:
    """One app of the tour.   extra: what to install, as in `rewake[extra]`.   start: what to type in its folder."""

    name: str
    title: str
    extra: str = ""
    start: tuple[str, ...] = ("rewake run app.py",)

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return Path(__file__).parent / self.name


EXAMPLES: Final = (
    Example("claim_handoffs", "claim router with handoffs (OpenAI Agents SDK)", "openai", _SCRIPTED),
    Example("claim_approvals", "claim with two approvals and a handback (OpenAI Agents SDK)", "openai", _SCRIPTED),
    Example("chat_desk", "support chat with an approval, on useChat and AG-UI (OpenAI Agents SDK)", "chat,openai"),
    Example("claim_subagents", "claim router with sub-agents (Google ADK)", "adk"),
    Example("claim_tools", "claim router with agents as tools (Pydantic AI)", "pydantic"),
    Example("claim_chain", "claim router with agents as tools (LangChain)", "langchain"),
    Example("support_router", "support router with the plain SDK", "openai", _SCRIPTED),
    Example("remote_specialists", "specialists as services of their own, one trace over all", "openai"),
    Example(
        "ts_claim_approval", "claim approval by a person (TypeScript, AI SDK)", start=("rewake server &", *_TYPESCRIPT)
    ),
    Example("ts_support_router", "support router (TypeScript, plain SDK)", start=("rewake server &", *_TYPESCRIPT)),
    Example(
        "ts_remote_specialists",
        "router in TypeScript, specialists in Python",
        start=("pip install --requirement requirements.txt", "rewake run specialists.py &", *_TYPESCRIPT),
    ),
)
