"""Pages that keep themselves up to date, and the UI without a mouse."""

from __future__ import annotations

from typing import Any

from tests.browser.stage import Stage

from rewake.core import ids


def raw(run_id: str) -> bytes:
    return ids.invocation_id_from_str(run_id)


def focused(page: Any) -> str:
    return str(page.evaluate("document.activeElement.innerText || document.activeElement.name"))


def tab_to(page: Any, name: str) -> None:
    """Press Tab until the focus is on what reads so."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if focused(page).strip() == name:
            return
    raise AssertionError(f"the keyboard does not reach {name!r}")


def test_counts_and_rows_change_by_themselves(page: Any, stage: Stage) -> None:
    run_id = stage.send("Desk", "approve", 1, key="live")
    page.goto(f"{stage.url}/ui/?service=Desk&key=live")
    row = page.locator("tbody tr", has_text=run_id)
    row.wait_for()
    stage.run(stage.engine.kill(raw(run_id)))
    row.locator(".chip.failed").wait_for()


def test_a_run_is_drawn_while_it_runs(page: Any, stage: Stage) -> None:
    run_id = stage.send("Desk", "approve", 1, key="drawn")
    page.goto(f"{stage.url}/ui/runs/{run_id}")
    page.locator(".run-title .chip.running, .run-title .chip.suspended").first.wait_for()
    page.locator("#live .live-word").get_by_text("live").wait_for()
    stage.run(stage.engine.kill(raw(run_id)))
    page.locator(".run-title .chip.failed").wait_for()
    page.locator("#live").wait_for(state="hidden")


def test_agents_and_sessions_follow(page: Any, stage: Stage) -> None:
    page.goto(f"{stage.url}/ui/sessions/Desk?key=followed")
    page.get_by_text("No run of this key is kept.").wait_for()
    run_id = stage.send("Desk", "approve", 1, key="followed")
    page.locator(".side").get_by_text("Held by").wait_for()
    page.locator("tbody tr", has_text=run_id).wait_for()
    stage.run(stage.engine.kill(raw(run_id)))
    page.get_by_text("Nobody holds the key.").wait_for()


def test_what_a_person_types_is_left_alone(page: Any, stage: Stage) -> None:
    """The page renews itself around the field that has the focus."""
    run_id = stage.send("Desk", "approve", 1, key="typing")
    page.goto(f"{stage.url}/ui/runs/{run_id}")
    page.get_by_label("Reason").fill("Too expen")
    with page.expect_response(lambda response: run_id in response.url and response.status in (200, 304)):
        pass
    page.get_by_label("Reason").press_sequentially("sive")
    assert page.get_by_label("Reason").input_value() == "Too expensive"
    page.get_by_role("button", name="Reject").click()
    page.get_by_text("[500] Too expensive").first.wait_for()


def test_an_engine_that_is_gone_is_told(browser: Any, tmp_path_factory: Any) -> None:
    from tests.browser.stage import staged

    page = browser.new_page()
    with staged(tmp_path_factory.mktemp("gone") / "data") as stage:
        page.goto(f"{stage.url}/ui/")
        page.locator("#live .live-word").get_by_text("live").wait_for()
    page.locator("#live.lost").get_by_text("not connected").wait_for(timeout=20_000)
    page.close()


def test_an_approval_without_a_mouse(page: Any, stage: Stage) -> None:
    run_id = stage.send("Desk", "approve", 1, key="keyboard")
    page.goto(f"{stage.url}/ui/")
    page.keyboard.press("/")
    page.keyboard.type(run_id)
    page.keyboard.press("Enter")
    page.wait_for_url("**text=**")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/runs/{run_id}")
    tab_to(page, "Approve")
    page.keyboard.press("Enter")
    page.locator(".run-title .chip.succeeded").wait_for()


def test_a_bulk_action_without_a_mouse(page: Any, stage: Stage) -> None:
    runs = [stage.send("Desk", "approve", number, key=f"keyed{number}") for number in range(2)]
    page.goto(f"{stage.url}/ui/?service=Desk&handler=approve&order=newest")
    page.locator("tbody tr").nth(1).wait_for()
    for _ in runs:
        page.keyboard.press("j")
        page.keyboard.press("x")
    page.get_by_text("2 selected:").wait_for()
    page.evaluate("document.activeElement.blur()")
    tab_to(page, "Kill")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Kill 2 runs?").wait_for()
    page.keyboard.press("Enter")
    page.get_by_text("2 runs killed.").wait_for()
    for run_id in runs:
        assert stage.run(stage.engine.output(run_id)).result is not None


def test_help_names_the_keys(page: Any, stage: Stage) -> None:
    page.goto(f"{stage.url}/ui/services")
    page.keyboard.press("?")
    page.wait_for_url("**/ui/help")
    text = page.locator("main").inner_text()
    assert all(name in text for name in ("j", "k", "x", "/", "Enter", "Esc"))


def test_links_to_skip_and_landmarks(page: Any, stage: Stage) -> None:
    """What a screen reader steers by."""
    page.goto(f"{stage.url}/ui/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#main"
    for role in ("banner", "main", "navigation", "search"):
        assert page.get_by_role(role).count() >= 1, role
