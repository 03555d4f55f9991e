"""Takes the pictures of the documentation: `python -m tests.browser.screenshots`, from the folder of the project.

Three short stories, each on a real engine: the claim router of the tour, whose worker is killed while the specialist's
model call hangs; the support router, forked with another choice; a desk that waits for a person. The models are
scripted. Needs Chromium, playwright and rewake[openai].
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

ROOT: Final = Path(__file__).parents[2]
PICTURES: Final = ROOT / "docs" / "pictures"
WIDTH: Final = 1_200
PHONE_WIDTH: Final = 390


class Picture(NamedTuple):
    """A page and how it is seen. height: of the window."""

    name: str
    path: str
    height: int
    width: int = WIDTH
    scheme: Literal["light", "dark"] = "light"


def main() -> None:
    sys.path.insert(0, str(ROOT / "tests" / "e2e"))
    PICTURES.mkdir(exist_ok=True)
    for story in (_crash, _fork, _approval):
        with tempfile.TemporaryDirectory() as folder:
            story(Path(folder))


def _crash(folder: Path) -> None:
    """The routing decision, the crash, the second attempt, the answer; then two more messages of the same customer."""
    from tour import HANDOFFS, TourEngine

    from rewake.testing.models import ModelServer

    shutil.copy(HANDOFFS.app, folder)  # what the pages name is not a path of this machine
    with ModelServer(HANDOFFS.rules()) as models, TourEngine("app.py", folder, models) as engine:
        with models.hold("medical-file"):
            asking = threading.Thread(
                target=engine.post, args=("/ClaimDesk/alice/message", HANDOFFS.ask(HANDOFFS.claim))
            )
            asking.start()
            _until(lambda: models.counts["medical-file"].asked > 0)
            os.kill(engine.worker_pids[0], signal.SIGKILL)
            _until(lambda: bool(engine.query("select id from sys_journal_events")))
        asking.join()
        for text in ("When is the money paid?", "And somebody hit my car"):
            engine.post("/ClaimDesk/alice/message", HANDOFFS.ask(text))
        run_id = engine.query("select id from sys_invocation order by created_at")[0]["id"]
        photograph(
            engine.admin_port,
            (
                Picture("runs", "/", 420),
                Picture("runs-phone", "/", 700, PHONE_WIDTH, "dark"),
                Picture("crash", f"/runs/{run_id}", 760),
                Picture("step", f"/runs/{run_id}?step=3", 700),
                Picture("agents", f"/runs/{run_id}/agents", 900),
                Picture("agents-dark", f"/runs/{run_id}/agents", 900, WIDTH, "dark"),
                Picture("sessions", "/sessions?service=ClaimDesk", 320),
                Picture("session", "/sessions/ClaimDesk?key=alice", 800),
                Picture("services", "/services", 420),
                Picture("service", "/services/ClaimDesk", 420),
                Picture("playground", "/services/ClaimDesk/message", 560),
                Picture("deployments", "/deployments", 320),
            ),
        )


def _fork(folder: Path) -> None:
    """The same question, had the router chosen the other specialist."""
    from tour import SUPPORT, TourEngine

    from rewake.testing.models import ModelServer

    shutil.copy(SUPPORT.app, folder)
    with ModelServer(SUPPORT.rules()) as models, TourEngine("app.py", folder, models) as engine:
        first = engine.post(SUPPORT.path, SUPPORT.ask(SUPPORT.claim)).invocation_id
        (step,) = engine.query(f"select index from sys_journal where id = '{first}' and name = 'Pick specialist'")
        path = f"/invocations/{first}/restart-as-new?from={step['index']}"
        choice = {"result": {"specialist": "technical", "answer": None}}
        forked = engine._request(engine.admin_port, "PATCH", path, choice).body["new_invocation_id"]
        _until(lambda: engine.query(f"select id from sys_invocation where id = '{forked}' and status = 'completed'"))
        photograph(engine.admin_port, (Picture("compare", f"/runs/{forked}/compare", 760),))


def _approval(folder: Path) -> None:
    """A run that waits for a person, and what one sees before and besides."""
    from tests.browser.stage import staged

    with staged(folder / "data") as stage:
        run_id = stage.send("Desk", "approve", 12_000, key="alice")
        port = int(stage.url.rpartition(":")[2])
        photograph(
            port,
            (
                Picture("approval", f"/runs/{run_id}", 620),
                Picture("approval-phone", f"/runs/{run_id}", 760, PHONE_WIDTH, "dark"),
                Picture("problem", "/runs/inv_1nothing", 320),
                Picture("patterns", "/patterns", 1_400),
                Picture("help", "/help", 520),
            ),
        )


def _until(is_true: Any) -> None:
    from tour import until

    until(is_true, "the moment to go on")


def photograph(admin_port: int, pictures: Sequence[Picture]) -> None:
    """Each picture into its file."""
    from playwright.sync_api import sync_playwright
    from tests.browser.stage import FLAGS, chromium_path

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
        for picture in pictures:
            page = browser.new_page(color_scheme=picture.scheme)
            page.set_viewport_size({"width": picture.width, "height": picture.height})
            page.goto(f"http://127.0.0.1:{admin_port}/ui{picture.path}")
            page.locator("main").wait_for()
            page.screenshot(path=PICTURES / f"{picture.name}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
