"""`rewake demo`: the story is printed, is true, and ends; with a provider's key it asks the provider."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from cli_process import WAIT_S, command, environment, rewake
from docs_blocks import blocks_of, matches
from tests.warm import Warm

from rewake.examples import EXAMPLES
from rewake.testing.models import ModelServer, failure, rule
from rewake.testing.models.rules_file import load_rules

pytest.importorskip("agents", reason="the demo needs rewake[openai]")

README = Path(__file__).parents[2] / "README.md"
RULES = next(example for example in EXAMPLES if example.name == "claim_handoffs").folder / "models.py"


def assert_story(text: str) -> None:
    """Everything the demo promises to show, in order."""
    told = re.compile(
        r"""
        engine .* ingress\ http://127\.0\.0\.1:\d+ .*
        worker .* process\ (?P<first>\d+)\ runs .*
        customer .* POST\ /ClaimDesk/alice/message .*
        step .* transfer_to_medical_specialist .*
        decision .* Pick\ specialist:\ Medical\ specialist .*
        handoff .* Intake\ ->\ Medical\ specialist .*
        crash .* kill\ -9\ (?P=first) .*
        crash .* SIGKILL .* 2\ finished\ steps,\ the\ request\ is\ still\ open .*
        resume .* process\ (?P<second>\d+)\ runs\ the\ agents\ and\ replays\ 2\ steps .*
        step .* File\ medical\ claim .*
        answer .* 200\ on\ the\ same\ request,\ from\ Medical\ specialist .*
        Intake\ +who\ answers\ +1\ +1 .*
        Medical\ specialist\ +what\ to\ do\ +2\ +1 .*
        Medical\ specialist\ +what\ to\ tell\ the\ customer\ +1\ +1 .*
        Where\ to\ look\ next
        """,
        re.VERBOSE | re.DOTALL,
    )
    match = told.search(text)
    assert match, text
    assert match["first"] != match["second"]
    for pid in match.groups():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_with_a_key_it_asks_the_provider_and_loses_no_finished_call(tmp_path: Path) -> None:
    with ModelServer(load_rules(str(RULES))) as provider:
        env = {"KEEP": "", "OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": provider.base_url}
        result = rewake("demo", cwd=tmp_path, **env)
        assert result.returncode == 0, result.stdout + result.stderr
        assert f"the provider at {provider.base_url}" in result.stdout
        assert_story(result.stdout)
        assert {name: count.asked for name, count in provider.counts.items() if count.asked} == {
            "route-to-medical": 1,
            "medical-file": 2,
            "medical-answer": 1,
        }


def test_a_provider_that_refuses_ends_it_with_a_reason(tmp_path: Path) -> None:
    with ModelServer([rule(answer=failure(401, "this key is not known"))]) as provider:
        result = rewake("demo", cwd=tmp_path, OPENAI_API_KEY="sk-test", OPENAI_BASE_URL=provider.base_url)
    assert result.returncode == 1
    assert "RW1011" in result.stderr
    assert "this key is not known" in result.stderr


def test_killed_it_leaves_nothing_running(tmp_path: Path) -> None:
    process = Warm(
        command("demo", "--keep"),
        framework="agents",
        cwd=tmp_path,
        env=environment(TMPDIR=str(tmp_path)),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = next(line for line in process.stdout if " engine " in line)
    engine_pid = int(line.partition("process ")[2].partition(",")[0])
    process.kill()
    process.wait(WAIT_S)
    process.stdout.close()
    deadline_s = time.monotonic() + WAIT_S
    while is_running(engine_pid):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path(f"/proc/{pid}/stat").exists() or ") Z " not in Path(f"/proc/{pid}/stat").read_text()


def test_without_a_key_a_script_plays_the_story_and_keep_leaves_it_running_until_it_is_stopped(tmp_path: Path) -> None:
    env = environment(KEEP="1", TMPDIR=str(tmp_path))
    process = Warm(command("demo"), framework="agents", cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if "rewake example  " in line:
            break
    ingress = re.search(r"ingress (http://\S+)", text)
    assert ingress, text
    with urllib.request.urlopen(f"{ingress[1]}/ClaimDesk/alice/agent", timeout=WAIT_S) as answer:
        assert answer.read() == b'"Medical specialist"'
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_S) == 0
    process.stdout.close()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{ingress[1]}/restate/health", timeout=WAIT_S)
    assert "a scripted model server" in text
    assert_story(text)
    (shown,) = (block.text for block in blocks_of(README) if "kill -9" in block.text and block.language == "text")
    assert matches(shown, text)
    assert list(tmp_path.iterdir()) == []
