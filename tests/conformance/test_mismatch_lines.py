"""A replay that takes another way is reported with the app's line, wherever the app runs in a process of ours."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path

import pytest
import wandering_app
from click.testing import CliRunner
from stage import Stage, Transport, reaches, row, run, until

from rewake.cli.main import main as cli
from rewake.core.model import Status
from rewake.server import Server
from rewake.ui import ui_routes


@pytest.mark.parametrize("transport", ["in_process", "worker"])
def test_both_sides_and_the_line(stage: Stage, transport: Transport) -> None:
    async def main() -> None:
        async with (
            stage.engine(transport, app="wandering_app:app") as engine,
            Server(engine, ingress_port=0, admin_port=0, admin_routes=ui_routes(engine)) as server,
        ):
            invocation_id = await engine.send("Wanderer", "wander")
            await until(lambda: (found := row(engine, invocation_id)) and found.last_error is not None)
            error = row(engine, invocation_id).last_error  # type: ignore[union-attr]  # it was there a moment ago
            assert error is not None
            source = Path(wandering_app.__file__).read_text().splitlines()
            line = next(number for number, text in enumerate(source, 1) if "run_typed" in text)
            place = f'at conformance/wandering_app.py:{line} in wander: await ctx.run_typed(f"step {{next(_attempts)}}"'
            assert "The journal has Run step " in error.message
            made = f"made {place}"
            assert made in error.message
            assert place in error.message.replace(made, "")
            shown = await _shown(invocation_id, server.admin_url)
            assert "The last attempt took another way than the journal:" in shown
            assert f"conformance/wandering_app.py:{line} in wander" in shown
            assert "usual causes" in shown
            page = await asyncio.to_thread(_page, f"{server.admin_url}ui/runs/{invocation_id}")
            assert "made at" in shown
            for told in ("The journal has", "The code asked for", f"wandering_app.py:{line} in wander", "Usual causes"):
                assert told in page

    run(main())


def test_the_line_that_made_the_entry_outlives_its_process_and_the_engine(stage: Stage) -> None:
    async def main() -> None:
        async with stage.engine("worker", app="wandering_app:app") as engine:
            invocation_id = await engine.send("Wanderer", "turn")
            await reaches(engine, invocation_id, Status.SUSPENDED)
        (stage.path / "turned").touch()
        async with stage.engine("worker", app="wandering_app:app") as engine:
            await engine.cancel(invocation_id)  # wakes it
            await until(lambda: (found := row(engine, invocation_id)) and found.last_error is not None)
            error = row(engine, invocation_id).last_error  # type: ignore[union-attr]  # it was there a moment ago
            assert error is not None
            made = error.message.splitlines()[0]
            assert 'in turn: await ctx.run_typed("one way", nothing); the code asked for Run other way' in made
            assert made.endswith('in turn: await ctx.run_typed("other way", nothing).')

    run(main())


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


async def _shown(invocation_id: str, admin_url: str) -> str:
    arguments = ["invocations", "show", invocation_id, "--admin", admin_url]
    result = await asyncio.to_thread(CliRunner().invoke, cli, arguments)
    assert result.exit_code == 0, result.output
    return result.output
