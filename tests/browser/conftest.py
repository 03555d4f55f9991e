"""One browser and one engine for the tests of a module; each test gets a page of its own.

Not for the whole session: playwright keeps a loop running in the main thread as long as it is open, and other tests
need one of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.browser.stage import FLAGS, Stage, chromium_path, staged

PAGE_TIMEOUT_MS = 20_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
    path = chromium_path()
    if path is None:
        pytest.skip("the browser tests need Chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def stage(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(Path(tmp_path_factory.mktemp("ui")) / "data") as stage:
        yield stage


@pytest.fixture
def page(browser: Any, stage: Stage) -> Iterator[Any]:
    with opened_page(browser, stage, viewport={"width": 1280, "height": 900}) as page:
        yield page


@contextmanager
def opened_page(browser: Any, stage: Stage, **options: Any) -> Iterator[Any]:
    """A page; the test fails when the browser complains or anything is asked of another host.

    Without motion: a dot that beats is drawn sixty times a second, without a graphics card.
    """
    context = browser.new_context(reduced_motion="reduce", **options)
    page = context.new_page()
    page.set_default_timeout(PAGE_TIMEOUT_MS)
    complaints: list[str] = []
    page.on("console", lambda message: _note_error(message, page, complaints))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: _check_host(request.url, stage.url, complaints))
    yield page
    context.close()
    assert not complaints


def _note_error(message: Any, page: Any, complaints: list[str]) -> None:
    """A page that tells what was wrong has a status of its own, which the browser mentions too."""
    is_own_status = message.text.startswith("Failed to load resource") and message.location["url"] == page.url
    if message.type == "error" and not is_own_status:
        complaints.append(message.text)


def _check_host(url: str, own: str, complaints: list[str]) -> None:
    if not url.startswith((own, "data:", "about:")):
        complaints.append(f"asked another host: {url}")
