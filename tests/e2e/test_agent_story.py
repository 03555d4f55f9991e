"""A claim from beginning to end: two agents, two tools at once, two approvals, a kill -9 and new code."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
from tour import TourEngine, asked, is_running, titles, until

from rewake.examples import EXAMPLES
from rewake.testing.models import ModelServer
from rewake.testing.models.rules_file import load_rules

pytestmark = pytest.mark.timeout(180)
EXAMPLE = next(example for example in EXAMPLES if example.name == "claim_approvals")
EACH_ONCE = {"route": 1, "look": 1, "pay": 1, "back": 1, "close": 1, "answer": 1}


def test_a_claim_survives_a_kill_and_a_deploy_and_asks_each_model_once(tmp_path: Path) -> None:
    """Waits, is killed with its engine, is approved, goes on on changed code, and nothing ran twice."""
    app = tmp_path / "app.py"
    shutil.copy(EXAMPLE.folder / "app.py", app)
    with ModelServer(load_rules(str(EXAMPLE.folder / "models.py"))) as models:
        with TourEngine(app, tmp_path, models) as engine:
            run = engine.send("/ClaimDesk/ada/message", "Somebody hit my bumper")
            first = _asked(engine, run, "Car specialist: ask pay_claim")
            worker = engine.wait_for_worker()
            engine.stop(signal.SIGKILL)
            until(lambda: not is_running(worker), "the end of the worker")
        with TourEngine(app, tmp_path, models) as engine:
            _approve(engine, first)
            second = _asked(engine, run, "Intake: ask close_case")
            engine.stop()
        app.write_text(app.read_text().replace("You are the intake", "From today on you are the intake"))
        with TourEngine(app, tmp_path, models) as engine:
            _approve(engine, second)
            assert engine.get(f"/restate/attach/{run}").body == "Your claim is paid and closed."
            assert asked(models) == EACH_ONCE
            assert _names(engine, run) == [
                "Intake: model",
                "Car specialist: model",
                "order",
                "Car specialist: check_policy",
                "Car specialist: estimate_damage",
                "Car specialist: model",
                "Car specialist: ask pay_claim",
                "Car specialist: answer pay_claim",
                "Car specialist: pay_claim",
                "Car specialist: model",
                "Intake: model",
                "Intake: ask close_case",
                "Intake: answer close_case",
                "Intake: close_case",
                "Intake: model",
            ]


def _asked(engine: TourEngine, run: str, name: str) -> str:
    """The awakeable of a question, which is its id, once it is in the journal."""
    found: list[str] = []

    def is_there() -> bool:
        steps = [step for step in engine.journal(run) if step.title.endswith(name) and step.result is not None]
        found.extend(step.result["value"]["id"] for step in steps)
        return bool(found)

    until(is_there, name)
    return found[0]


def _approve(engine: TourEngine, awakeable: str) -> None:
    answer = engine.post(f"/restate/awakeables/{awakeable}/resolve", True)
    assert answer.status == 202, answer


def _names(engine: TourEngine, run: str) -> list[str]:
    return [title.removeprefix("Run ") for title in titles(engine.journal(run)) if title.startswith("Run ")]
