"""What is asked for a list of promises, and what is shown when nothing is there."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from rewake.cli.admin_client import AdminClient
from rewake.cli.promises import LISTED_MAX, promises


def test_so_many_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def query(_: AdminClient, sql: str, **options: Any) -> list[dict[str, Any]]:
        asked.append(sql)
        return []

    monkeypatch.setattr(AdminClient, "query", query)
    done = CliRunner().invoke(promises, ["list", "it's"])
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "Nobody waits for a promise.\n")
    (statement,) = asked
    assert "service_name = 'it''s'" in statement and statement.endswith(f"limit {LISTED_MAX}")
