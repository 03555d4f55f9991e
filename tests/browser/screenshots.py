"""Takes the pictures of the documentation: `python -m tests.browser.screenshots`, from the folder of the project.

Runs the claim router of the tour with the scripted model server, kills its worker while the specialist's model call
hangs, lets it finish, and photographs the pages. Needs Chromium, playwright and rewake[openai].
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
PICTURES: Final = ROOT / "docs" / "pictures"
WIDTH: Final = 1_200


def main() -> None:
    sys.path.insert(0, str(ROOT / "tests" / "e2e"))
    from tour import HANDOFFS, TourEngine

    from rewake.testing.models import ModelServer

    PICTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        ModelServer(HANDOFFS.rules()) as models,
        TourEngine(HANDOFFS.app, Path(folder), models) as engine,
    ):
        pid = engine.worker_pids[0]
        with models.hold("medical-file"):
            asking = threading.Thread(target=engine.post, args=("/ClaimDesk/alice/message", HANDOFFS.claim))
            asking.start()
            _until(lambda: models.counts["medical-file"].asked > 0)
            os.kill(pid, signal.SIGKILL)
            _until(lambda: bool(engine.query("select id from sys_journal_events")))
        asking.join()
        for text in ("When is the money paid?", "And somebody hit my car"):
            engine.post("/ClaimDesk/alice/message", text)
        runs = engine.query("select id from sys_invocation order by created_at")
        photograph(f"http://127.0.0.1:{engine.admin_port}/ui", runs[0]["id"])


def _until(is_true: Any) -> None:
    from tour import until

    until(is_true, "the moment to go on")


def photograph(url: str, run_id: str) -> None:
    """One picture of each page."""
    from playwright.sync_api import sync_playwright
    from tests.browser.stage import FLAGS, chromium_path

    pages: tuple[tuple[str, str, int], ...] = (
        ("runs", "/", 420),
        ("step", f"/runs/{run_id}?step=3", 700),
        ("agents", f"/runs/{run_id}/agents", 900),
        ("session", "/sessions/ClaimDesk?key=alice", 800),
        ("playground", "/services/ClaimDesk/message", 560),
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
        for name, path, height in pages:
            page = browser.new_page(viewport={"width": WIDTH, "height": height})
            page.goto(url + path)
            page.locator("main").wait_for()
            page.screenshot(path=PICTURES / f"{name}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
