"""Litestream beside an engine that is killed and started again: what it replicated is a database that goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from store_samples import NOW_MS
from test_store_backup import CrashedEngine, count_of

from rewake.store.backup import restore
from rewake.store.store import Store

LITESTREAM = (
    shutil.which("litestream", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])) or ""
)
CONFIG = """
dbs:
  - path: {data}/rewake.db
    monitor-interval: 20ms
    checkpoint-interval: 50ms
    min-checkpoint-page-count: 20
    replica:
      type: file
      path: {replica}
      sync-interval: 20ms
"""


@contextmanager
def replicating(config: Path, replica: Path) -> Iterator[None]:
    """Litestream at work; at the end it is stopped, for which it replicates what is left."""
    with (config.with_suffix(".log")).open("wb") as log:
        process = subprocess.Popen([LITESTREAM, "replicate", "-config", config], stdout=log, stderr=log)
        try:
            while not any(replica.rglob("*.ltx")):
                assert process.poll() is None
                time.sleep(0.01)
            yield
        finally:
            process.terminate()
            process.wait(20)
    assert "ERROR" not in config.with_suffix(".log").read_text()


@pytest.mark.skipif(not LITESTREAM, reason="no litestream on the path")
def test_what_litestream_replicates_over_crashes_of_the_engine(tmp_path: Path) -> None:
    data, replica, config = tmp_path / "data", tmp_path / "replica", tmp_path / "litestream.yml"
    config.write_text(CONFIG.format(data=data, replica=replica))
    engine = CrashedEngine(data)
    engine.tell("write 5")
    with replicating(config, replica):
        engine.tell("write 300")
        engine.kill()
        for _ in range(3):
            again = CrashedEngine(data)
            again.tell("write 100")
            again.kill()
    subprocess.run([LITESTREAM, "restore", "-config", config, "-o", tmp_path / "restored.db", data / "rewake.db"],
                   check=True, capture_output=True)  # fmt: skip
    restore(tmp_path / "restored.db", tmp_path / "elsewhere", now_ms=NOW_MS)
    assert count_of(tmp_path / "elsewhere") == count_of(data) == 605
    Store.open(data, now_ms=NOW_MS).close()
