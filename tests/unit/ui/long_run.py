"""A stored run of many steps, made without running them."""

from __future__ import annotations

import apsw
from tests.browser.stage import Stage

from rewake.core import ids
from rewake.store.connection import DATABASE_FILE


def make_long(stage: Stage, step_count: int) -> str:
    """A copy of a finished run whose first step is there `step_count` times; its id."""
    run_id = stage.send("Router", "ask", "Hello?")
    stage.run(stage.engine.result(run_id))
    old = ids.invocation_id_from_str(run_id)
    new = old[:8] + b"a long run here!"
    connection = apsw.Connection(str(stage.engine.path / DATABASE_FILE))
    connection.set_busy_timeout(5_000)
    connection.wal_autocheckpoint(0)
    with connection:
        for table in ("invocation", "journal_entry"):
            column = "id" if table == "invocation" else "invocation_id"
            names = [name for (name,) in connection.execute("select name from pragma_table_info(?)", (table,))]
            others = ", ".join(name for name in names if name != column)
            connection.execute(
                f"insert into {table} ({column}, {others}) select ?, {others} from {table} where {column} = ?"
                + (" and idx = 0" if table == "journal_entry" else ""),
                (new, old),
            )
        command, done = (
            list(connection.execute("select * from journal_entry where invocation_id = ? and idx = ?", (old, index)))[0]
            for index in (1, 2)
        )
        marks = ", ".join("?" * len(command))
        for number in range(step_count):
            for offset, row in ((1, command), (2, done)):
                copy = (new, number * 2 + offset, *row[2:4], number + 1, *row[5:])
                connection.execute(f"insert into journal_entry values ({marks})", copy)
    connection.close()
    return ids.invocation_id_to_str(new)
