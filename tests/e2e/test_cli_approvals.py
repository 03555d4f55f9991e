"""`rewake approvals`: what is asked is listed, shown with its exact arguments, approved and denied from a terminal."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cli_process import Running, rewake

APP = """
import restate

from rewake.ext.kernel import ask

desk = restate.Service("Desk")


@desk.handler()
async def refund(ctx: restate.Context, amount: int) -> str:
    found = await ask("Refund it?", {"amount": amount}, who="finance")
    return f"{found.outcome} by {found.who}: {found.why}"


app = restate.app([desk])
"""


def test_approvals_are_listed_shown_and_answered(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with Running("run", "app.py", cwd=tmp_path) as engine, ThreadPoolExecutor() as threads:

        def cli(*args: str, code: int = 0) -> str:
            told = rewake(*args, "--admin", f"http://127.0.0.1:{engine.admin_port}", cwd=tmp_path)
            assert told.returncode == code, told.stderr
            return told.stdout + told.stderr

        answers = {amount: threads.submit(engine.call, "/Desk/refund", amount) for amount in (250, 990)}
        while len(found := json.loads(cli("approvals", "list", "--json"))) < len(answers):
            assert not any(answer.done() for answer in answers.values())
        ids = {json.loads(each["arguments"])["amount"]: each["id"] for each in found}
        assert "No approval waits" in cli("approvals", "list", "--who", "somebody else")
        shown = cli("approvals", "show", ids[250])
        assert all(text in shown for text in ("Refund it?", '{"amount": 250}', "finance", "waiting"))
        assert "RW4029" in cli("approvals", "approve", ids[250], "--digest", "0" * 64, code=5)
        assert "Approved: Refund it?" in cli("approvals", "approve", ids[250], "--who", "Ada", "--why", "fine")
        assert "Denied: Refund it?" in cli("approvals", "deny", ids[990], "--who", "Bob", "--why", "too much")
        assert answers[250].result(30) == (200, "approved by Ada: fine")
        assert answers[990].result(30) == (200, "denied by Bob: too much")
        assert "RW4027" in cli("approvals", "approve", ids[990], code=5)
        assert "denied by Bob: too much" in cli("approvals", "show", ids[990])
