"""The line of the app in a stack trace of either language."""

from __future__ import annotations

import time
import traceback

import pytest

from rewake.runs.stacktrace import SEARCHED_CHARS_MAX, SourceLine, source_line

PYTHON = """Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/restate/server.py", line 210, in process
    await context.enter()
  File "/home/me/app/agents/desk.py", line 80, in flaky
    raise ValueError("the provider is overloaded")
  File "/venv/lib/python3.11/site-packages/openai/client.py", line 7, in post
    return await self.request()
           ^^^^^^^^^^^^^^^^^^^^
ValueError: the provider is overloaded

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/home/me/app/agents/desk.py", line 91, in ask
    raise Overloaded from error
desk.Overloaded: File "not/a/frame.py", line 3
"""
NODE = """Error: no such account
    at lookUp (node:internal/x:1:1)
    at Object.request (/app/node_modules/openai/core.js:12:3)
    at async billing (file:///srv/app/src/desk.ts:44:11)
    at file:///srv/app/src/main.ts:3:1
"""


@pytest.mark.parametrize(
    ("trace", "line"),
    [
        (PYTHON, SourceLine("agents/desk.py", 91, "ask", "raise Overloaded from error")),
        (PYTHON.partition("During")[0],
         SourceLine("agents/desk.py", 80, "flaky", 'raise ValueError("the provider is overloaded")')),
        (NODE, SourceLine("src/desk.ts", 44, "billing")),
        ("x\n    at C:\\app\\desk.js:5:1", SourceLine("app/desk.js", 5)),
        ('  File "/x/site-packages/a.py", line 1, in f\n', SourceLine("site-packages/a.py", 1, "f")),
        ('  File "a.py", line 1\n', SourceLine("a.py", 1)),
        ("ValueError: nothing else", None),
        ("", None),
    ],
)  # fmt: skip
def test_the_line_of_the_app(trace: str, line: SourceLine | None) -> None:
    assert source_line(trace) == line


def test_what_python_writes_today() -> None:
    try:
        raise ValueError("x")
    except ValueError:
        found = source_line(traceback.format_exc())
    assert found is not None
    assert (found.file, found.function) == ("runs/test_stacktrace.py", "test_what_python_writes_today")
    assert found.text == 'raise ValueError("x")'


def test_hostile_traces_are_safe_and_quick() -> None:
    found = source_line('  File "a/<b>\u202e.py", line 5, in f\n    ' + "x" * 5_000)
    assert found is not None
    assert "\u202e" not in found.file
    assert len(found.text) <= 200
    started_s = time.process_time()
    for text in (" " * 200_000, "at " * 70_000, ' File "' * 30_000, " at (" * 40_000, "at a (" + "b" * 200_000):
        source_line(text)
    assert time.process_time() - started_s < 2
    assert source_line("x" * SEARCHED_CHARS_MAX + PYTHON) is not None
