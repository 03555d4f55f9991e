"""The pytest plugin in a project of its own: ten lines of test, plain and async, in a few seconds."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PLUGIN = "rewake.testing.pytest_plugin"
LIMIT_S = 5.0
"""Processor time that ten lines may take; the clock on the wall also counts what else the machine does."""

APP = """
import json
import os
from datetime import timedelta
from urllib.request import Request, urlopen
import restate

advice = restate.Service("Advice")


def ask(question: str) -> str:
    asked = {"model": "any", "messages": [{"role": "user", "content": question}]}
    headers = {"content-type": "application/json", "authorization": "Bearer none"}
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    with urlopen(Request(url, json.dumps(asked).encode(), headers)) as it:
        return json.load(it)["choices"][0]["message"]["content"]


@advice.handler()
async def topic(ctx: restate.Context, question: str) -> str:
    return await ctx.run_typed("pick", ask, question=question)


@advice.handler()
async def give(ctx: restate.Context, question: str) -> str:
    topic = await ctx.run_typed("pick", ask, question=question)
    await ctx.sleep(timedelta(days=1))
    return f"{topic}: deduct it"


@advice.handler()
async def later(ctx: restate.Context) -> None:
    await ctx.sleep(timedelta(days=1))


async def changed(ctx: restate.Context) -> None:
    await ctx.run_typed("new", lambda: 1)


@advice.handler()
async def wander(ctx: restate.Context) -> None:
    await ctx.run_typed(f"step {os.urandom(4).hex()}", lambda: 1)
    await ctx.run_typed("last", lambda: 2)
"""
TEN_LINES = """
from advice import advice
from rewake.testing.models import rule, text

def test_advice(rewake_engine, model_server, expect_journal, crash_everywhere, always_replay):
    model_server.use(rule(name="route", answer=text("tax")))
    assert rewake_engine.serve(advice).call("Advice", "give", "My desk?") == "tax: deduct it"
    expect_journal('Run pick -> "tax"\\nSleep\\nOutput -> "tax: deduct it"')
    assert crash_everywhere(advice, "Advice", "give", "My desk?", limit=3).model_calls == 1
    assert always_replay(advice, "Advice", "give", "My desk?") == "tax: deduct it"
"""
ASYNC_AND_WRONG = """
import asyncio

import pytest
import restate
from advice import advice, changed, topic
from click.testing import CliRunner
from rewake.cli.main import main
from rewake.testing.models import rule, text


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.anyio
async def test_async(rewake_engine, model_server):
    model_server.use(rule(name="route", answer=text("tax")))
    rewake_engine.serve(advice)
    calls = (rewake_engine.aio.call("Advice", "give", "My desk?") for _ in range(2))
    assert await asyncio.gather(*calls) == ["tax: deduct it"] * 2


@pytest.mark.anyio
async def test_the_harness_of_the_sdk(model_server):
    model_server.use(rule(name="route", answer=text("tax")))
    async with restate.create_test_harness(restate.app([advice]), always_replay=True) as harness:
        assert await harness.client.service_call(topic, arg="My desk?") == "tax"


def test_open_runs_before_a_deploy(rewake_engine, replay, tmp_path):
    rewake_engine.serve(advice)
    exported = ["journal", "export", "--open", "--data", str(rewake_engine.path), "--to", str(tmp_path / "journals")]
    rewake_engine.send("Advice", "later")
    rewake_engine.settle()
    assert CliRunner().invoke(main, exported).exit_code == 0
    report = replay(advice, tmp_path / "journals")
    assert [each.end for each in report.outcomes] == ["waits"]
    advice.handlers["later"].fn = changed
    replay(advice, tmp_path / "journals")


def test_wandering(crash_everywhere):
    crash_everywhere(advice, "Advice", "wander", limit=2)


def test_wandering_at_a_replay(always_replay):
    always_replay(advice, "Advice", "wander")
"""

BY_PATH = """
import pytest
from rewake.testing.models import rule, text
from rewake.testing.pytest_plugin import _check


def test_an_app_by_its_path(crash_everywhere, model_server):
    model_server.use(rule(name="route", answer=text("tax")))
    report = crash_everywhere("advice.py", "Advice", "topic", "My desk?", limit=1)
    killed = [play for play in report.plays if play.what.startswith("worker killed")]
    assert [(play.has_landed, play.answer) for play in killed] == [(True, {"value": "tax"})]
    assert report.boundaries > 5
    report.left_open.append("pick")
    with pytest.raises(pytest.fail.Exception, match="nobody waited for: pick"):
        _check(report)
"""


def run(folder: Path, *options: str) -> tuple[str, float]:
    """Output and processor seconds of a pytest run in a project, with no other plugins than those named."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, *options],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return done.stdout + done.stderr, seconds


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (tmp_path / "advice.py").write_text(APP)
    return tmp_path


def test_ten_lines_in_a_project_of_its_own(project: Path) -> None:
    (project / "test_advice.py").write_text(TEN_LINES)
    said, seconds = run(project)
    assert "1 passed" in said, said
    assert seconds < LIMIT_S


def test_async_tests_and_handlers_that_wander(project: Path) -> None:
    (project / "test_more.py").write_text(ASYNC_AND_WRONG)
    said, _ = run(project, "--rewake-harness", "-p", "anyio")
    assert "3 failed, 2 passed" in said, said
    assert "Advice/wander does not survive every crash:\n  dropped before Advice/wander" in said
    assert "Advice/wander takes another way at a replay." in said
    assert "the journal has     Sleep as command 1" in said
    assert re.search(r"/advice.py:\d+ in changed: await ctx.run_typed", said), said


@pytest.mark.timeout(120)
def test_an_app_by_its_path_is_killed_in_real_processes(project: Path) -> None:
    (project / "test_path.py").write_text(BY_PATH)
    said, _ = run(project)
    assert "1 passed" in said, said


def test_the_installation_offers_it() -> None:
    """Read in pyproject.toml, as an editable installation may be older."""
    offered = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["entry-points"]
    assert offered["pytest11"] == {"rewake": PLUGIN}


def test_a_project_that_does_not_use_it_loads_nothing(project: Path) -> None:
    (project / "test_plain.py").write_text(
        "import sys\n\ndef test_plain():\n"
        "    assert not [name for name in sys.modules if name.startswith(('rewake.', 'restate', 'apsw'))\n"
        "                if name not in ('rewake.testing', 'rewake.testing.pytest_plugin')]\n"
    )
    said, _ = run(project)
    assert "1 passed" in said, said
