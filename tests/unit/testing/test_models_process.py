"""The scripted model server as a process: its command line, its rules files and its control API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

from rewake.testing.models import CallCount, ModelServerClient
from rewake.testing.models.rules import Failure, Text, ToolCalls
from rewake.testing.models.rules_file import RulesError, load_rules

RULES_PY = """
from rewake.testing.models import rule, text
rules = [rule(name="greet", says="hello", answer=text("Hello yourself")), rule(name="rest", answer=text("?"))]
few = rules[:1]
"""


@contextmanager
def serving(*args: str) -> Iterator[ModelServerClient]:
    command = [sys.executable, "-m", "rewake.testing.models", *args]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ.copy())
    try:
        assert process.stdout is not None
        yield ModelServerClient(process.stdout.readline().strip())
    finally:
        process.terminate()
        assert process.wait(10) == 0
        assert process.stdout is not None
        process.stdout.close()


def test_one_text_answers_everything_without_rules() -> None:
    with serving("--say", "billing") as server:
        client = openai.OpenAI(base_url=server.env()["OPENAI_BASE_URL"], api_key="any", max_retries=0)
        assert client.responses.create(model="gpt-5", input="hello").output_text == "billing"


@pytest.mark.parametrize("options", [(), ("--say", "x", "--rules", "y.py")])
def test_rules_or_a_text_are_needed_and_not_both(options: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "rewake.testing.models", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Give --rules or --say" in done.stderr


def test_calls_are_held_counted_and_released_from_another_process(tmp_path: Path) -> None:
    rules = tmp_path / "greetings.py"
    rules.write_text(RULES_PY, encoding="utf-8")
    with serving("--rules", str(rules)) as server, ThreadPoolExecutor(1) as thread:
        client = openai.OpenAI(base_url=server.env()["OPENAI_BASE_URL"], api_key="any", max_retries=0)
        server.hold("greet")
        reply = thread.submit(client.responses.create, model="gpt-5", input="hello")
        server.wait("greet", timeout_s=10)
        assert server.counts()["greet"] == CallCount(asked=1, answered=0)
        server.release("greet")
        assert reply.result(10).output_text == "Hello yourself"
        server.wait("greet", answered=1, timeout_s=10)
        assert [request["last_user_text"] for request in server.requests("greet")] == ["hello"]
        assert server.requests("rest") == []
        with pytest.raises(TimeoutError, match="timed out"):
            server.wait("greet", asked=2, timeout_s=0.01)
        with pytest.raises(ValueError, match="No rule is named 'nobody'"):
            server.release("nobody")
        with pytest.raises(TypeError, match="not sent"):
            server.wait("greet", sent=1)
        server.reset()
        assert server.counts()["greet"] == CallCount()
        client.close()


def test_rules_that_do_not_load_end_with_one_line(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.py")
    command = [sys.executable, "-m", "rewake.testing.models", "--rules", missing]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 1
    assert result.stderr.strip() == f"Error: There is no rules file {missing!r}"


def test_rules_come_from_a_python_file_by_name(tmp_path: Path) -> None:
    path = tmp_path / "greetings.py"
    path.write_text(RULES_PY, encoding="utf-8")
    assert [rule.name for rule in load_rules(str(path))] == ["greet", "rest"]
    assert [rule.name for rule in load_rules(f"{path}:few")] == ["greet"]
    with pytest.raises(RulesError, match="has no list of rules named 'none'"):
        load_rules(f"{path}:none")


def test_rules_come_from_json_for_other_languages(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    given = [
        {"name": "look", "when_tool": "search", "answer": {"tool_call": {"name": "search", "arguments": {"q": "x"}}}},
        {"answer": {"tool_call": [{"name": "a"}, {"name": "b"}]}},
        {"says": ["hi", "hello"], "answer": {"text": "hello"}},
        {"answer": {"failure": {"status": 503}}},
    ]
    path.write_text(json.dumps(given), encoding="utf-8")
    look, both, hello, down = load_rules(str(path))
    assert (look.name, look.when_tool) == ("look", "search")
    assert isinstance(both.answer, ToolCalls) and [call.name for call in both.answer.calls] == ["a", "b"]
    assert hello.answer == Text("hello")
    assert isinstance(down.answer, Failure) and down.answer.status == 503


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "Could not read rules"),
        ("{}", "must hold a list"),
        ('[{"answer": {"sing": 1}}]', "Rule 1 is not valid"),
        ('[{"answer": {"text": "x"}, "sayz": "y"}]', "Rule 1 is not valid"),
    ],
)
def test_bad_json_rules_are_named(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "rules.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(RulesError, match=complaint):
        load_rules(str(path))
