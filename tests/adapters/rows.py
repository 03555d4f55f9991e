"""The table of the suite: what must hold in each row, and the case of each framework for it.

A framework that has no such thing says why instead. `test_rows.py` runs the cases in process and kills them at every
boundary, `test_engines.py` on engines and transports of all kinds.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from types import ModuleType
from typing import Final

import openai_cases
import pydantic_cases
from adapter_kit import Case

ROWS: Final = {
    "models": "model objects, names, providers, a model for one run: each call once",
    "fallback": "a model that is busy, one that refuses, and one that answers: each call of each once",
    "azure": "Azure's client, with either of its interfaces",
    "litellm": "a provider behind LiteLLM",
    "cycle": "two agents hand over to each other",
    "both": "a handoff and a tool in one answer",
    "tools": "tools of all kinds in one answer, side by side; a failing one leaves its siblings alone",
    "within_a_tool": "runs of agents that tools start, side by side in one of them",
    "timed_out": "a tool that the framework's timer ends, beside another one",
    "stop_at_the_tool": "the result of a tool is the answer",
    "images": "an image from a tool reaches the model whole",
    "consult": "agents as tools, side by side, with tools of their own",
    "mcp": "an MCP server over stdio: list of tools and calls are steps, and it is connected again after a crash",
    "mcp_over_http": "the same over HTTP",
    "dynamic_tools": "tools that are made for each run",
    "guarded": "what checks inputs and outputs asks a model: a step as well",
    "guarded and tripped": "a check that fails",
    "tool_guardrails": "what checks the call of a tool may drop it",
    "approved": "a run that waits for approvals in place, nested too",
    "approved_by_a_loop": "the framework's own way: the run ends, its state is kept, and another one goes on with it",
    "story": "router, specialist, two tools, an approval, back to the router, another approval, answer",
    "session": "two turns of a conversation in the state of an object",
    "streamed": "streams with a handover and tools, read to their end",
    "streamed_and_tripped": "a check fails beside a streamed call",
    "heard": "a handler of events beside tools",
}

CASES: Final[Mapping[str, Mapping[str, Case]]] = {"openai": openai_cases.CASES, "pydantic": pydantic_cases.CASES}
ABSENT: Final[Mapping[str, Mapping[str, str]]] = {"openai": openai_cases.ABSENT, "pydantic": pydantic_cases.ABSENT}
ALL: Final = bool(os.environ.get("REWAKE_ALL_CRASHES"))
"""Whether the expensive corners run as well."""


def every_row() -> list[tuple[str, str]]:
    """All pairs of framework and row."""
    return [(framework, row) for framework, cases in CASES.items() for row in cases]


def app_module(framework: str) -> ModuleType:
    """The module with the programs of a framework."""
    return importlib.import_module(f"{framework}_app")


def program_of(row: str) -> str:
    """The handler of a row: two rows may share one."""
    return row.partition(" ")[0]
