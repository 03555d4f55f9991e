"""The chat example in a real browser, on the real `useChat` and the real client of AG-UI, under `rewake run`.

The story is played on both pages, the rest on one each; with REWAKE_ALL_CRASHES=1 all on both.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_process import Running
from tests.browser.conftest import PAGE_TIMEOUT_MS
from tour import ALL

from rewake.examples import EXAMPLES
from rewake.testing.models import ModelServer, rule, text, tool_call

pytest.importorskip("agents", reason="the example speaks with OpenAI agents")

NESTED = """
bank = Agent(name="Bank", instructions="You are the bank.", tools=[refund])
billing.tools.append(bank.as_tool("ask_bank", "Moves money."))
desk ="""
OTHERS = """
from datetime import timedelta

from starlette.applications import Starlette
from starlette.routing import Host, Mount

from rewake.ext.kernel import Approvals

pages = Path(__file__).parent / "pages"
others = {
    "kept": Chat("KeptDesk", router, approvals_wait="between_turns"),
    "steered": Chat("SteeredDesk", router, double_text="steer"),
    "soon": Chat("SoonDesk", router, approvals=Approvals(deadline=timedelta(seconds=3))),
}
app = restate.app([each for chat in (desk, *others.values()) for each in chat.services])
hosts = [Host(f"{name}.localhost", chat.web(pages)) for name, chat in others.items()]
web = Starlette(routes=[*hosts, Mount("/", desk.web(pages))])
"""
FOLDER = next(example.folder for example in EXAMPLES if example.name == "chat_desk")
PAGES = ("index.html", "ag-ui.html")
BOTH = pytest.mark.parametrize("page_name", PAGES)
SECOND = pytest.mark.parametrize("page_name", PAGES if ALL else PAGES[1:])
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 640}, "is_mobile": True}
LONG = "one two three four five six seven eight nine ten eleven twelve"
RULES = [
    rule(name="to billing", system="route to a specialist", says="charged", answer=tool_call("transfer_to_billing")),
    rule(name="to technical", system="route to a specialist", answer=tool_call("transfer_to_technical")),
    rule(name="slow", system="technical questions", says="slowly", answer=text(LONG), hold_after=6),
    rule(name="technical", system="technical questions", answer=text("Switch it off and on.")),
    rule(name="paid", system="questions on invoices", tool_result="way", answer=text("You get it back."), hold_after=5),
    rule(name="nested", system="questions on invoices", says="nested", answer=tool_call("ask_bank", {"input": "40?"})),
    rule(name="bank moved", system="you are the bank", tool_result="way", answer=text("40 EUR are on their way.")),
    rule(name="bank", system="you are the bank", answer=tool_call("refund", {"invoice": "7", "amount": 40})),
    rule(name="denied", system="questions on invoices", after_tool="refund", answer=text("Nobody wanted to pay.")),
    rule(name="refund", system="questions on invoices", answer=tool_call("refund", {"invoice": "7", "amount": 40})),
]


class Desk:
    """The example as it runs, with OTHERS on hosts of their own, and the model behind them."""

    def __init__(self, folder: Path, models: ModelServer) -> None:
        shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
        app = folder / "app.py"
        app.write_text(app.read_text().replace("\ndesk =", NESTED) + OTHERS)
        self.folder, self.models = folder, models
        self.ports = [_free_port() for _ in range(3)]
        self.url = f"http://127.0.0.1:{self.ports[2]}"
        self._running = self._start()

    def _start(self) -> Running:
        ports = [str(port) for port in self.ports]
        options = ("--ingress-port", ports[0], "--admin-port", ports[1], "--web-port", ports[2])
        running = Running("run", self.folder / "app.py", *options, cwd=self.folder, **self.models.env())
        return running.__enter__()

    def other(self, name: str) -> str:
        """The address of one of OTHERS."""
        return f"http://{name}.localhost:{self.ports[2]}"

    def kill_worker(self) -> None:
        """kill -9 of the process with the handlers."""
        self._running.kill_worker()

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
    context = browser.new_context(reduced_motion="reduce", **options)
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


def fits(page: Any) -> None:
    """Nothing is wider than the screen."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@BOTH
def test_a_nested_specialist_asks_and_goes_on_after_everything_was_killed(
    desk: Desk, browser: Any, page_name: str
) -> None:
    """Reload while it waits, kill -9 of all processes, approve: it goes on, and streams."""
    with opened(browser, f"{desk.url}/{page_name}") as page:
        say(page, "I was charged twice, nested")
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
        asked = {name: count.asked for name, count in desk.models.counts.items() if count.asked}
        assert asked == {"to billing": 1, "nested": 1, "bank": 1, "bank moved": 1, "paid": 1}


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


def test_questions_between_turns_in_two_tabs_on_a_phone(desk: Desk, browser: Any) -> None:
    """Denied on one page, approved on the other: both show it, without a reload and after one."""
    with opened(browser, desk.other("kept"), **PHONE) as page:
        say(page, "I was charged twice")
        waits_for(page, "Waiting for an approval")
        other = page.context.new_page()
        other.goto(page.url.replace("/?", "/ag-ui.html?"))
        tabs = (page, other)
        for tab in tabs:
            waits_for(tab, "Waiting for an approval")
            fits(tab)
        other.get_by_role("button", name="Deny").click()
        for tab in tabs:
            shows(tab, "Nobody wanted to pay.")
            waits_for(tab, "Ready")
        say(page, "I was charged twice, I said")
        for tab in tabs:
            waits_for(tab, "Waiting for an approval")
        page.get_by_role("button", name="Approve").click()
        shows(page, "You get it b")
        desk.models.release("paid")
        other.reload()
        for tab in tabs:
            shows(tab, "You get it back.")
            waits_for(tab, "Ready")
            assert [texts(tab, said) for said in ("Nobody wanted to pay.", "You get it back.")] == [1, 1]
    asked = {name: count.asked for name, count in desk.models.counts.items() if count.asked}
    assert (asked["refund"], asked["denied"], asked["paid"]) == (2, 1, 1), asked


@BOTH
def test_a_message_in_mid_turn_waits_in_both_tabs_and_is_answered(desk: Desk, browser: Any, page_name: str) -> None:
    with opened(browser, f"{desk.url}/{page_name}") as page:
        say(page, "Tell me slowly")
        shows(page, "one two three")
        other = page.context.new_page()
        other.goto(page.url)
        say(page, "My box is broken")
        for tab in (page, other):
            tab.locator(".queued", has_text="My box is broken").wait_for()
            assert texts(tab, "off and on") == 0
        desk.models.release("slow")
        for tab in (page, other):
            shows(tab, "Switch it off and on.")
            waits_for(tab, "Ready")
            assert [texts(tab, said) for said in (LONG, "My box is broken", "waits")] == [1, 1, 0]


def test_a_message_that_steers_is_shown_where_it_was_read(desk: Desk, browser: Any) -> None:
    """On a phone, on both pages: it waits until the router has handed over, and the specialist answers both."""
    with opened(browser, desk.other("steered"), **PHONE) as page, desk.models.hold("to technical") as routing:
        say(page, "Something is wrong")
        routing.wait_reached()
        other = page.context.new_page()
        other.goto(page.url.replace("/?", "/ag-ui.html?"))
        say(page, "My box is broken")
        tabs = (page, other)
        for tab in tabs:
            tab.locator(".queued", has_text="My box is broken").wait_for()
        routing.release()
        for tab in tabs:
            shows(tab, "Switch it off and on.")
            waits_for(tab, "Ready")
            said = ("Something is wrong", "My box is broken", "waits", "Switch it off and on.")
            assert [texts(tab, each) for each in said] == [1, 1, 0, 1]
            fits(tab)
    asked = {name: count.asked for name, count in desk.models.counts.items() if count.asked}
    assert asked == {"to technical": 1, "technical": 1}


def test_a_turn_is_stopped_and_the_next_one_answered(desk: Desk, browser: Any) -> None:
    with opened(browser, desk.url) as page:
        say(page, "Tell me slowly")
        shows(page, "one two three")
        page.get_by_role("button", name="Stop").click()
        waits_for(page, "Ready")
        say(page, "My box is broken")
        shows(page, "Switch it off and on.")
        assert texts(page, "twelve") == 0


def test_a_question_that_nobody_answers(desk: Desk, browser: Any) -> None:
    """It expires while two pages show it; neither can answer any more, and the model does not read of a denial."""
    with opened(browser, desk.other("soon"), **PHONE) as page:
        say(page, "I was charged twice")
        waits_for(page, "Waiting for an approval")
        other = page.context.new_page()
        other.goto(page.url.replace("/?", "/ag-ui.html?"))
        waits_for(other, "Waiting for an approval")
        shows(page, "Nobody answered in time.")
        shows(page, "Nobody wanted to pay.")
        assert page.get_by_role("button", name="Approve").count() == 0
        fits(page)
        other.reload()
        shows(other, "Nobody wanted to pay.")
    (result,) = desk.models.exchanges[-1].request.tool_results[-1:]
    assert "neither approved nor denied" in result.text
