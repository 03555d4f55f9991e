"""Takes the pictures of the documentation: `python -m tests.browser.screenshots`, from the folder of the project.

Short stories, each on a real engine: the claim router of the tour, whose worker is killed while the specialist's model
call hangs; the support router, forked with another choice; a desk that waits for a person; a chat with a message in
mid-turn. The models are scripted. Needs Chromium, playwright and rewake[openai].

With a folder, `python -m tests.browser.screenshots FOLDER`, it takes each page instead, for a run of each framework, in
light and dark, at three widths, and reports pages that are wider than the window.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
    if len(sys.argv) > 1:
        _each_page(Path(sys.argv[1]))
        return
    PICTURES.mkdir(exist_ok=True)
    for story in (_crash, _fork, _approval, _chat):
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


def _chat(folder: Path) -> None:
    """A refund that waits for a person, and what the customer adds meanwhile."""
    from tour import FOLDERS, TourEngine

    from rewake.testing.models import ModelServer
    from rewake.testing.models.rules_file import load_rules

    rules = load_rules(str(FOLDERS["chat_desk"] / "models.py"))
    shutil.copytree(FOLDERS["chat_desk"], folder / "chat_desk", ignore=shutil.ignore_patterns("node_modules"))
    app, port = folder / "chat_desk" / "app.py", free_port()
    with (
        ModelServer(rules) as models,
        TourEngine(app, folder, models, "--web-port", str(port)) as engine,
        browser_pages() as new_page,
    ):
        page = new_page(720, 640, "light")
        page.goto(f"http://127.0.0.1:{port}/?chat=ada")
        for said in ("What about my invoice?", "I was charged twice", "It is invoice 2041"):
            page.get_by_label("Message").fill(said)
            page.get_by_role("button", name="Send").click()
            page.get_by_text(said).wait_for()
            page.get_by_text("third of May" if "about" in said else "asks for approval").wait_for()
        page.locator(".queued").wait_for()
        page.get_by_text("Waiting for an approval").wait_for()
        page.screenshot(path=PICTURES / "chat.png")
        phone = new_page(PHONE_WIDTH, 700, "dark")
        phone.goto(f"http://127.0.0.1:{port}/?chat=ada")
        phone.locator(".queued").wait_for()
        phone.screenshot(path=PICTURES / "chat-phone.png")
        inbox = new_page(WIDTH, 420, "light")
        inbox.goto(f"http://127.0.0.1:{engine.admin_port}/ui/approvals")
        inbox.get_by_text("refund").first.wait_for()
        inbox.screenshot(path=PICTURES / "inbox.png")


def _each_page(folder: Path) -> None:
    """Every page of a run of each framework, into this folder: `claim_tools agents 390 dark.png`."""
    from tour import CHAIN, TOURS, TourEngine

    from rewake.testing.models import ModelServer

    folder.mkdir(parents=True, exist_ok=True)
    for tour in (*(each for each in TOURS if not each.parts), CHAIN):
        with (
            tempfile.TemporaryDirectory() as data,
            ModelServer(tour.rules()) as models,
            TourEngine(tour.app, Path(data), models) as engine,
        ):
            engine.post(tour.path.format(key="alice"), tour.ask(tour.claim))
            run_id = engine.query("select id from sys_invocation order by created_at")[0]["id"]
            paths = {
                "runs": "/",
                "timeline": f"/runs/{run_id}",
                "step": f"/runs/{run_id}?step=3",
                "agents": f"/runs/{run_id}/agents",
                "sessions": f"/sessions?service={tour.entry_service}",
                "session": f"/sessions/{tour.entry_service}?key=alice",
                "services": "/services",
                "service": f"/services/{tour.entry_service}",
                "deployments": "/deployments",
                "approvals": "/approvals",
                "help": "/help",
            }
            _photograph_all(engine.admin_port, paths, folder, tour.name)


def _photograph_all(admin_port: int, paths: dict[str, str], folder: Path, name: str) -> None:
    with browser_pages() as new_page:
        for scheme in ("light", "dark"):
            for width in (1400, 1000, PHONE_WIDTH):
                page = new_page(width, 900, scheme)
                for what, path in paths.items():
                    page.goto(f"http://127.0.0.1:{admin_port}/ui{path}")
                    page.locator("main").wait_for()
                    page.screenshot(path=folder / f"{name} {what} {width} {scheme}.png")
                    if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
                        sys.stdout.write(f"{name} {what} {scheme}: {wide} px in a window of {width} px\n")
                page.close()


def _until(is_true: Any) -> None:
    from tour import until

    until(is_true, "the moment to go on")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def browser_pages() -> Iterator[Callable[[int, int, str], Any]]:
    """Opens pages, given width, height and colour scheme."""
    from playwright.sync_api import sync_playwright
    from tests.browser.stage import FLAGS, chromium_path

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))

        def new_page(width: int, height: int, scheme: Any) -> Any:
            return browser.new_page(color_scheme=scheme, viewport={"width": width, "height": height})

        yield new_page
        browser.close()


def photograph(admin_port: int, pictures: Sequence[Picture]) -> None:
    """Each picture into its file."""
    with browser_pages() as new_page:
        for picture in pictures:
            page = new_page(picture.width, picture.height, picture.scheme)
            page.goto(f"http://127.0.0.1:{admin_port}/ui{picture.path}")
            page.locator("main").wait_for()
            page.screenshot(path=PICTURES / f"{picture.name}.png")
            page.close()


if __name__ == "__main__":
    main()
