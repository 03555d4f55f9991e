"""Small programs as people write them, one for each shape: `rewake run` finds all their services, and they answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parents[2] / "programs"
LOOK = """
import asyncio, json, sys
import rewake
from rewake.cli.app_reference import resolve
from rewake.deployments.app_loader import load

async def main(reference, service, key):
    app = load(resolve(reference)).app
    async with rewake.Engine("data", app) as engine:
        answer = await engine.call(service, "check", "A claim", key=key or None)
        print(json.dumps([sorted(engine.services), answer]))

asyncio.run(main(*sys.argv[1:]))
"""
RUN_IMPATIENTLY = """
from functools import partial
from rewake.cli.main import main
from rewake.engine import workers
workers.WorkerOptions = partial(workers.WorkerOptions, module="impatient")
main()
"""
IMPATIENT = """
from rewake.deployments import slow_imports, worker_main
slow_imports.FIRST_AFTER_S = 0.1
worker_main.main()
"""


@pytest.mark.parametrize(
    ("program", "service", "key", "found"),
    [
        ("handlers_imported/app.py", "ClaimDesk", "", '[["ClaimDesk", "FraudAgent"], "A claim is no fraud"]'),
        ("services_in_modules/app.py", "Orders", "ada", '[["Orders", "Payments"], "A claim is paid"]'),
        ("app_under_main/app.py", "Desk", "", '[["Desk"], "A claim is checked"]'),
        ("folder", "Desk", "", '[["Desk"], "A claim is answered"]'),
        ("server_in_main", "Desk", "", '[["Desk"], "A claim is checked"]'),
        ("package", "Desk", "", '[["Desk"], "A claim is checked"]'),
    ],
)
def test_a_program_is_served_whole(tmp_path: Path, program: str, service: str, key: str, found: str) -> None:
    command = [sys.executable, "-c", LOOK, str(PROGRAMS / program), service, key]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.splitlines()[-1:] == [found], done.stderr  # a log line may come before


def test_a_program_that_serves_when_imported_is_reported(tmp_path: Path) -> None:
    (tmp_path / "impatient.py").write_text(IMPATIENT)
    options = ("--ingress-port", "0", "--admin-port", "0", "--log-format", "json")
    command = [sys.executable, "-c", RUN_IMPATIENTLY, "run", str(PROGRAMS / "server_at_import" / "app.py"), *options]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = json.loads(next(line for line in process.stderr if "still_importing" in line))
        process.terminate()
        process.stderr.read()
    assert "__main__" in line["hint"]
