"""`rewake awakeables`: what is asked is listed, shown with the run, and answered from the terminal."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cli_process import Running, rewake

APP = """
import restate

desk = restate.Service("Desk")


@desk.handler()
async def refund(ctx: restate.Context, amount: int) -> str:
    approval, decision = ctx.awakeable(type_hint=str)
    await ctx.run_typed("Ask Grace", lambda: {"approve": amount, "answer to": approval})
    return await decision


app = restate.app([desk])
"""


def test_an_awakeable_is_listed_shown_and_answered(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with Running("run", "app.py", cwd=tmp_path) as engine, ThreadPoolExecutor() as threads:
        admin = ("--admin", f"http://127.0.0.1:{engine.admin_port}")

        def cli(*args: str) -> str:
            told = rewake(*args, *admin, cwd=tmp_path)
            assert told.returncode == 0, told.stderr
            return told.stdout

        answer = threads.submit(engine.call, "/Desk/refund", 250)
        while not (found := json.loads(cli("awakeables", "list", "--json"))):
            assert not answer.done()
        (item,) = found
        assert (item["target"], '"approve": 250' in item["asked"]) == ("Desk/refund", True)
        assert "waits for: An answer from outside" in cli("invocations", "list")
        assert f"rewake awakeables resolve {item['id']} JSON" in cli("invocations", "show", item["invocation_id"])
        assert "is resolved" in cli("awakeables", "resolve", item["id"], '"yes"')
        assert answer.result(30) == (200, "yes")
