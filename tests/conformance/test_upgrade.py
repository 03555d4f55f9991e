"""Databases of earlier versions of the schema: each is opened, loses nothing, and its open runs go on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from frozen_app import FROZEN, app, content, frozen

from rewake.core.ids import invocation_id_from_str
from rewake.engine import Engine
from rewake.protocol.messages import FIRST_USER_SIGNAL, Success
from rewake.store import upkeep
from rewake.store.schema import VERSION

VERSIONS = sorted(int(path.name.split(".")[0]) for path in FROZEN.glob("*.db.gz"))


def test_every_version_is_frozen() -> None:
    assert list(range(1, VERSION + 1)) == VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_an_upgrade_keeps_every_row(tmp_path: Path, version: int) -> None:
    folder, facts = frozen(version, tmp_path)
    assert upkeep.check_upgrade(folder) == (version, VERSION)
    assert upkeep.upgrade(folder, 1) == (version, VERSION)
    assert {table: len(rows) for table, rows in content(folder).items()} == facts["rows"]


@pytest.mark.parametrize("version", VERSIONS)
def test_runs_of_an_earlier_version_go_on(tmp_path: Path, version: int) -> None:
    """Their journals are replayed by today's SDK, and what they waited for still reaches them."""
    folder, facts = frozen(version, tmp_path)
    opened: dict[str, str] = facts["open"]

    async def main() -> dict[str, object]:
        async with Engine(folder, app) as engine:
            approval = invocation_id_from_str(opened["approval"])
            await engine.complete_awakeable(approval, FIRST_USER_SIGNAL, Success(b'"yes"'))
            await engine.call("FrozenSignup", "confirm", "code", key="ada")
            return {name: await asyncio.wait_for(engine.result(id_), 20) for name, id_ in opened.items()}

    assert asyncio.run(main()) == {
        "approval": "checked claim 7: yes",
        "timer": "awake",
        "promise": "confirmed code",
        "call": "10 before",
        "delay": "0 before",
    }
