# mypy: disable-error-code="import-not-found, untyped-decorator"
"""The agent work on DBOS: the same OpenAI agents as in agent_app.py, run by its runner on its SQLite database.

A plain ASGI app that starts a workflow for each request and answers with its result. It runs in an environment of its
own (dbos_peer.py), as nothing else needs DBOS.
"""

from __future__ import annotations

import os

from agents import Agent, function_tool, set_default_openai_client, set_tracing_disabled
from dbos import DBOS
from dbos_openai_agents import DBOSRunner
from openai import AsyncOpenAI

from bench.agent_parts import MODEL, QUESTION, ROUTER, SPECIALIST, answering

set_tracing_disabled(True)
set_default_openai_client(AsyncOpenAI(max_retries=0), use_for_tracing=False)
DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{os.environ['BENCH_DATA']}/dbos.sqlite"})


@function_tool
@DBOS.step()
async def look_up_cover(customer: str) -> str:
    """What the customer's contract covers."""
    return f"windscreen in full ({customer})"


specialist = Agent(name="specialist", model=MODEL, instructions=SPECIALIST, tools=[look_up_cover])
router = Agent(name="router", model=MODEL, instructions=ROUTER, handoffs=[specialist])


@DBOS.workflow()
async def answer() -> str:
    """One run of the agents."""
    return str((await DBOSRunner.run(router, QUESTION)).final_output)


DBOS.launch()

app = answering(answer)
