"""Journals that the tour apps wrote with the scripted model server, kept to test what the UI reads out of them.

`python tests/unit/ui/recorded.py` records them anew; it needs all frameworks. A recording is the rows of an engine's
database as JSON, so that it can be put into the database of any release.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any, Final

import apsw

from rewake.store.connection import DATABASE_FILE, open_writer

JOURNALS: Final = Path(__file__).parent / "journals"
_TABLES: Final = ("invocation", "journal", "event", "state")


def dump(database: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of a database that tell of runs."""
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    found: dict[str, list[dict[str, Any]]] = {}
    for table in _TABLES:
        names = [name for (name,) in connection.execute("select name from pragma_table_info(?)", (table,))]
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
            connection.execute(f"insert into {table} ({', '.join(row)}) values ({marks})", values)
    connection.close()
    return folder


def _text(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _value(value: Any) -> Any:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value


def record(names: list[str]) -> None:
    """Run the tour and keep what it wrote."""
    import tempfile

    sys.path.insert(0, str(Path(__file__).parents[2] / "e2e"))
    from tour import TOURS, TourEngine

    from rewake.testing.models import ModelServer

    follow_ups = {"claim_handoffs": ["When is the money paid?", "And somebody hit my car"]}
    JOURNALS.mkdir(exist_ok=True)
    for tour in TOURS:
        if names and tour.name not in names:
            continue
        with tempfile.TemporaryDirectory() as folder, ModelServer(tour.rules()) as models:
            with TourEngine(tour.app, Path(folder), models) as engine:
                for claim in [tour.claim, *follow_ups.get(tour.name, [])]:
                    engine.post(tour.path.format(key="alice"), tour.ask(claim))
            kept = dump(Path(folder) / "data" / DATABASE_FILE)
        (JOURNALS / f"{tour.name}.json").write_text(json.dumps(kept, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    record(sys.argv[1:])
