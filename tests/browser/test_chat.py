"""The chat example in a real browser, on the real `useChat` and the real client of AG-UI, under `rewake run`.

Kills hit one page each; with REWAKE_ALL_CRASHES=1 both.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from cli_process import Running
from tests.browser.conftest import PAGE_TIMEOUT_MS
from tour import ALL

from rewake.examples import EXAMPLES
from rewake.testing.models import ModelServer, rule, text, tool_call

pytest.importorskip("agents", reason="the example speaks with OpenAI agents")

FOLDER = next(example.folder for example in EXAMPLES if example.name == "chat_desk")
PAGES = ("index.html", "ag-ui.html")
BOTH = pytest.mark.parametrize("page_name", PAGES)
FIRST, SECOND = (pytest.mark.parametrize("page_name", PAGES if ALL else [page]) for page in PAGES)
LONG = "one two three four five six seven eight nine ten eleven twelve"
RULES = [
    rule(name="to billing", system="route to a specialist", says="charged", answer=tool_call("transfer_to_billing")),
    rule(name="to technical", system="route to a specialist", answer=tool_call("transfer_to_technical")),
    rule(name="slow", system="technical questions", says="slowly", answer=text(LONG), hold_after=6),
    rule(name="technical", system="technical questions", answer=text("Switch it off and on.")),
    rule(name="paid", system="questions on invoices", tool_result="way", answer=text("You get it back."), hold_after=5),
    rule(name="denied", system="questions on invoices", after_tool="refund", answer=text("Nobody wanted to pay.")),
    rule(name="refund", system="questions on invoices", answer=tool_call("refund", {"invoice": "7", "amount": 40})),
]


class Desk:
    """The example as it runs, and the model behind it."""

    def __init__(self, folder: Path, models: ModelServer, chat: str = 'Chat("ChatDesk", router)') -> None:
        shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
        app = folder / "app.py"
        app.write_text(app.read_text().replace('Chat("ChatDesk", router)', chat))
        self.folder, self.models = folder, models
        self.ports = [_free_port() for _ in range(3)]
        self.url = f"http://127.0.0.1:{self.ports[2]}"
        self._running = self._start()

    def _start(self) -> Running:
        ports = [str(port) for port in self.ports]
        options = ("--ingress-port", ports[0], "--admin-port", ports[1], "--web-port", ports[2])
        running = Running("run", self.folder / "app.py", *options, cwd=self.folder, **self.models.env())
        return running.__enter__()

    def kill_worker(self) -> None:
        """kill -9 of the process with the handlers."""
        for child in psutil.Process(self._running.process.pid).children():
            if "rewake.deployments.worker_main" in child.cmdline():
                child.kill()

    def kill_everything(self) -> None:
        """kill -9 of engine, handlers and web app, and a new start."""
        self._running.close()
        self._running = self._start()

    def close(self) -> None:
        self._running.close()


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def desk(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with ModelServer(RULES) as models:
        desk = Desk(tmp_path_factory.mktemp("desk") / "chat_desk", models)
        try:
            yield desk
        finally:
            desk.close()


@pytest.fixture(autouse=True)
def fresh_models(desk: Desk) -> None:
    desk.models.reset()


@contextmanager
def opened(browser: Any, url: str, **options: Any) -> Iterator[Any]:
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(PAGE_TIMEOUT_MS)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(url)
    waits_for(page, "Ready")
    yield page
    context.close()
    assert not errors


def waits_for(page: Any, status: str) -> None:
    page.wait_for_function("(said) => document.querySelector('[role=status]')?.textContent === said", arg=status)


def say(page: Any, said: str) -> None:
    page.get_by_label("Message").fill(said)
    page.get_by_role("button", name="Send").click()


def shows(page: Any, said: str) -> None:
    page.wait_for_function("(said) => document.querySelector('[role=log]')?.innerText.includes(said)", arg=said)


def texts(page: Any, said: str) -> int:
    """How often a text is in the conversation."""
    return int(page.get_by_role("log").inner_text().count(said))


@FIRST
def test_an_answer_is_approved_after_everything_was_killed(desk: Desk, browser: Any, page_name: str) -> None:
    """Reload while it waits, kill -9 of all processes, approve: it goes on, and streams."""
    with opened(browser, f"{desk.url}/{page_name}") as page:
        say(page, "I was charged twice")
        waits_for(page, "Waiting for an approval")
        page.reload()
        waits_for(page, "Waiting for an approval")
        desk.kill_everything()
        page.get_by_role("button", name="Approve").click()
        shows(page, "You get it b")
        assert texts(page, "You get it back.") == 0  # the model still speaks
        desk.models.release("paid")
        shows(page, "You get it back.")
        waits_for(page, "Ready")
        assert texts(page, "You get it back.") == 1
        assert desk.models.counts["refund"].asked == 1


@SECOND
def test_an_answer_in_two_tabs_whose_handler_is_killed(desk: Desk, browser: Any, page_name: str) -> None:
    """It streams, comes again after a reload, in both tabs, and whole when its process dies in the middle of it."""
    with opened(browser, f"{desk.url}/{page_name}") as page:
        say(page, "Tell me slowly")
        shows(page, "one two three")
        page.reload()
        shows(page, "one two three")
        other = page.context.new_page()
        other.goto(page.url)
        shows(other, "one two three")
        desk.kill_worker()
        desk.models.release("slow")
        for tab in (page, other):
            shows(tab, LONG)
            waits_for(tab, "Ready")
            assert texts(tab, "one two") == texts(tab, "Tell me slowly") == 1


@BOTH
def test_a_denial_on_a_phone(desk: Desk, browser: Any, page_name: str) -> None:
    with opened(browser, f"{desk.url}/{page_name}", viewport={"width": 360, "height": 640}, is_mobile=True) as page:
        say(page, "I was charged twice")
        waits_for(page, "Waiting for an approval")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.get_by_role("button", name="Deny").click()
        shows(page, "Nobody wanted to pay.")
        waits_for(page, "Ready")
        page.reload()
        shows(page, "Nobody wanted to pay.")


def test_a_turn_is_stopped_and_the_next_one_answered(desk: Desk, browser: Any) -> None:
    with opened(browser, desk.url) as page:
        say(page, "Tell me slowly")
        shows(page, "one two three")
        page.get_by_role("button", name="Stop").click()
        waits_for(page, "Ready")
        say(page, "My box is broken")
        shows(page, "Switch it off and on.")
        assert texts(page, "twelve") == 0


def test_a_question_that_nobody_answers(browser: Any, tmp_path: Path) -> None:
    """It expires while two pages show it; neither can answer any more, and the model does not read of a denial."""
    deadline = (
        '__import__("rewake.ext.kernel").ext.kernel.Approvals(deadline=__import__("datetime").timedelta(seconds=3))'
    )
    with ModelServer([RULES[0], *RULES[-2:]]) as models:
        desk = Desk(tmp_path / "desk", models, f'Chat("ChatDesk", router, approvals={deadline})')
        try:
            with opened(browser, desk.url) as page:
                say(page, "I was charged twice")
                waits_for(page, "Waiting for an approval")
                other = page.context.new_page()
                other.goto(page.url.replace("/?", "/ag-ui.html?"))
                waits_for(other, "Waiting for an approval")
                shows(page, "Nobody answered in time.")
                shows(page, "Nobody wanted to pay.")
                assert page.get_by_role("button", name="Approve").count() == 0
                other.reload()
                shows(other, "Nobody wanted to pay.")
            (result,) = models.exchanges[-1].request.tool_results[-1:]
            assert "neither approved nor denied" in result.text
        finally:
            desk.close()
