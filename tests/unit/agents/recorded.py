"""Journals of agents, written with the scripted model server and kept to test what the UI reads out of them.

`python tests/unit/agents/recorded.py [NAME...]` records them anew: the tour, in both languages, and the apps beside the
journals. It needs all frameworks, LangChain and Anthropic's library among them. A recording is the rows of an engine's
database as JSON, so that it can be put into the database of any release.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from rewake.store.connection import DATABASE_FILE, open_reader, open_writer

AGENTS: Final = Path(__file__).parent
JOURNALS: Final = AGENTS / "journals"
_TABLES: Final = ("invocation", "journal", "event", "state", "service")
_STORED_IN: Final = {"journal": "journal_entry", "state": "state_value"}
_COMPUTED: Final = ("payload_bytes", "value_bytes")
"""Two of them are views, which are loaded into the tables below; any value may stay in its row."""


def dump(database: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of a database that are about runs."""
    connection = open_reader(database)
    found: dict[str, list[dict[str, Any]]] = {}
    for table in _TABLES:
        names = [
            name
            for (name,) in connection.execute("select name from pragma_table_info(?)", (table,))
            if name not in _COMPUTED
        ]
        found[table] = [
            {name: _text(value) for name, value in zip(names, row, strict=True) if value is not None}
            for row in connection.execute(f"select {', '.join(names)} from {table}")
        ]
    connection.close()
    return found


def load(name: str, folder: Path) -> Path:
    """A data folder with the recording `name`."""
    folder.mkdir(exist_ok=True)
    connection = open_writer(folder / DATABASE_FILE)
    for table, rows in json.loads((JOURNALS / f"{name}.json").read_text()).items():
        for row in rows:
            values = [_value(value) for value in row.values()]
            marks = ", ".join("?" * len(values))
            connection.execute(
                f"insert into {_STORED_IN.get(table, table)} ({', '.join(row)}) values ({marks})", values
            )
    connection.close()
    return folder


def _text(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _value(value: Any) -> Any:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value


def record(names: list[str]) -> None:
    """Run the apps and keep what they wrote."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "e2e"))
    from tour import TOURS, TS_APPROVAL, TS_REMOTE, TS_SUPPORT

    JOURNALS.mkdir(exist_ok=True)
    recordings: dict[str, Callable[[Path], None]] = {tour.name: partial(_run_tour, tour) for tour in TOURS}
    recordings |= {tour.name: partial(_run_typescript, tour) for tour in (TS_SUPPORT, TS_APPROVAL, TS_REMOTE)}
    recordings |= {"langchain": _run_langchain, "chat": _run_chat, "agent_tools": _run_agent_tools}
    recordings |= {"ext_openai": _run_ext_openai, "ext_pydantic": _run_ext_pydantic}
    for name, run in recordings.items():
        if not names or name in names:
            with tempfile.TemporaryDirectory() as folder:
                run(Path(folder))
                kept = dump(Path(folder) / "data" / DATABASE_FILE)
            (JOURNALS / f"{name}.json").write_text(json.dumps(kept, separators=(",", ":")) + "\n")


def _run_tour(tour: Any, folder: Path) -> None:
    said = {
        "claim_handoffs": [tour.claim, "When is the money paid?", "And somebody hit my car"],
        "claim_tools": ["Somebody hit my car and I was in hospital."],
        "support_router": [tour.claim, "Where do you ship?"],
    }
    path = tour.path.format(key="alice")
    _run_app(tour.app, tour.rules(), [(path, tour.ask(claim)) for claim in said.get(tour.name, [tour.claim])], folder)


def _run_app(app: Path, rules: Any, requests: list[tuple[str, Any]], folder: Path) -> None:
    from tour import TourEngine

    from rewake.testing.models import ModelServer

    with ModelServer(rules) as models, TourEngine(app, folder, models) as engine:
        for path, body in requests:
            assert engine.post(path, body).status == 200


def _run_typescript(tour: Any, folder: Path) -> None:
    from node_tour import make_engine, until
    from test_typescript_tour import staged

    engine = make_engine(folder, "rewake")
    engine.start()
    try:
        with contextmanager(staged)(tour.name, engine, folder) as stage:
            path, body = tour.path.format(key="C-1"), tour.ask(tour.claim)
            if not tour.attach:
                assert engine.call(path, body).status == 200
                return
            answer = stage.run_claim(path.removesuffix("/run"), body)
            until(lambda: bool(engine.call("/ClaimApproval/C-1/review").body))
            verdict = {"approved": True, "by": "Bob"}
            assert engine.call("/ClaimApproval/C-1/decide", verdict).status == 200
            assert answer.result(60).status == 200
    finally:
        engine.kill()


def _run_langchain(folder: Path) -> None:
    from rewake.testing.models import rule, text, tool_call

    rules = [
        rule(system="You are the intake agent", after_tool="consult_car_specialist", answer=text("You are covered.")),
        rule(
            system="You are the intake agent",
            answer=tool_call("consult_car_specialist", {"question": "Is a collision covered?"}),
        ),
        rule(
            system="You are the car specialist",
            after_tool="look_up_car_cover",
            answer=text("A collision is covered, with 300 euros excess."),
        ),
        rule(system="You are the car specialist", answer=tool_call("look_up_car_cover", {"customer": "alice"})),
    ]
    _run_app(AGENTS / "apps/langchain_app.py", rules, [("/ClaimChain/answer", "Somebody hit my car")], folder)


def _run_agent_tools(folder: Path) -> None:
    from rewake.testing.models import rule, text, tool_call, tool_calls

    asked = tool_calls(tool_call("ask_car", {"input": "bumper"}), tool_call("ask_medical", {"input": "leg"}))
    rules = [
        rule(system="You are the intake agent", after_tool=True, answer=text("Both are covered.")),
        rule(system="You are the intake agent", answer=asked),
        rule(system="You are the car specialist", after_tool=True, answer=text("The bumper is covered.")),
        rule(system="You are the car specialist", answer=tool_call("look_up_car_cover", {"customer": "alice"})),
        rule(system="You are the medical specialist", answer=text("The leg is covered.")),
    ]
    _run_app(AGENTS / "apps/agent_tools_app.py", rules, [("/ToolDesk/answer", "My bumper and my leg")], folder)


def _run_ext_openai(folder: Path) -> None:
    from rewake.testing.models import rule, text, tool_call, tool_calls

    asked = tool_calls(tool_call("ask_car", {"input": "bumper"}), tool_call("ask_medical", {"input": "leg"}))
    rules = [
        rule(system="You are the intake agent", after_tool=True, answer=tool_call("transfer_to_payer", {})),
        rule(system="You are the intake agent", answer=asked),
        rule(system="You are the car specialist", after_tool=True, answer=text("The bumper is covered.")),
        rule(system="You are the car specialist", answer=tool_call("look_up_car_cover", {"customer": "alice"})),
        rule(system="You are the medical specialist", answer=text("The leg is covered.")),
        rule(system="You are the payer", answer=text("Both are paid.")),
    ]
    _run_app(AGENTS / "apps/ext_openai_app.py", rules, [("/ExtDesk/answer", "My bumper and my leg")], folder)


def _run_ext_pydantic(folder: Path) -> None:
    from rewake.testing.models import rule, text, tool_call

    rules = [
        rule(system="You are the intake agent", after_tool=True, answer=text("You are covered.")),
        rule(system="You are the intake agent", answer=tool_call("ask_car", {"question": "Is it covered?"})),
        rule(system="You are the car specialist", after_tool=True, answer=text("A collision is covered.")),
        rule(system="You are the car specialist", answer=tool_call("look_up_car_cover", {"customer": "alice"})),
    ]
    _run_app(AGENTS / "apps/ext_pydantic_app.py", rules, [("/ExtChat/answer", "Somebody hit my car")], folder)


def _run_chat(folder: Path) -> None:
    from rewake.testing.models import rule, text, tool_call

    rules = [rule(says="invoice", answer=tool_call("transfer_to_billing")), rule(answer=text("Hello, how can I help?"))]
    requests = [("/ChatDesk/bob/ask", "Hello"), ("/ChatDesk/bob/ask", "My invoice is wrong")]
    _run_app(AGENTS / "apps/chat_app.py", rules, requests, folder)


if __name__ == "__main__":
    record(sys.argv[1:])
