"""A run tree as text: bars to scale, callees below their calls, handovers in order, hostile names kept short."""

from __future__ import annotations

import json
from typing import Any

from rewake.cli import timeline_view
from rewake.cli.timeline_view import handover_lines, timeline_lines, tree_of

BASE_MS = 1795342800000  # 2026-11-22T09:40:00Z


def at(offset_ms: int) -> str:
    return f"2026-11-22T09:40:{offset_ms // 1000:02d}.{offset_ms % 1000:03d}Z"


def run(id_: str, target: str, start_ms: int, end_ms: int | None, result: str = "success") -> dict[str, Any]:
    row = {"id": id_, "target": target, "status": "running", "created_at": at(start_ms)}
    if end_ms is not None:
        row |= {"status": "completed", "completed_at": at(end_ms), "completion_result": result}
    return row


class Journal:
    """Rows of sys_journal."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, offset_ms: int, body: dict[str, Any]) -> None:
        self.rows.append(
            {"index": len(self.rows), "entry_type": "", "appended_at": at(offset_ms), "entry_json": json.dumps(body)}
        )

    def step(self, kind: str, name: str, start_ms: int, end_ms: int | None, value: Any = 1, **fields: Any) -> None:
        cid = 1_000 + len(self.rows)
        self.add(start_ms, {"Command": {kind: {"name": name, "completion_id": cid, **fields}}})
        if end_ms is not None:
            result = (
                value
                if isinstance(value, dict) and "Failure" in value
                else {"Success": list(json.dumps(value).encode())}
            )
            self.add(end_ms, {"Notification": {"Completion": {kind: {"completion_id": cid, "result": result}}}})

    def call(self, kind: str, callee: str, name: str, start_ms: int, end_ms: int | None) -> None:
        request = {"invocation_id": callee, "invocation_target": {"Service": {"name": name, "handler": "run"}}}
        cid = 1_000 + len(self.rows)
        ids = {"result_completion_id": cid} if kind == "Call" else {}
        self.add(start_ms, {"Command": {kind: {"name": "", "request": request, **ids}}})
        if end_ms is not None:
            done = {"completion_id": cid, "result": {"Success": []}}
            self.add(end_ms, {"Notification": {"Completion": {"Call": done}}})


def reply(tool: str) -> dict[str, Any]:
    call = {"id": "1", "function": {"name": tool, "arguments": "{}"}}
    return {"model": "m", "choices": [{"message": {"tool_calls": [call]}}], "usage": {"prompt_tokens": 1}}


def test_a_tree_to_scale() -> None:
    journal, below = Journal(), Journal()
    journal.step("Run", "pick", 0, 250)
    journal.call("Call", "b", "Billing", 250, 750)
    journal.call("OneWayCall", "c", "Audit", 750, None)
    below.step("Run", "charge", 300, 700, {"Failure": {"code": 500, "message": "no"}})
    rows = [
        run("a", "Desk/route", 0, 1_000),
        run("b", "Billing/run", 250, 750, "failure"),
        run("c", "Audit/run", 750, 900),
    ]
    tree = tree_of("a", rows, {"a": journal.rows, "b": below.rows})
    assert timeline_lines(tree, BASE_MS, width_chars=64) == [
        "                    0              1.0 s",
        "Desk/route          ━━━━━━━━━━━━━━━━━━━━  1.0 s",
        "├ pick              ━━━━━                 250 ms",
        "├ call Billing/run       ━━━━━━━━━━       500 ms",
        "│ └ Billing/run          ━━━━━━━━━✗       500 ms  failed",
        "│   └ charge              ━━━━━━━✗        400 ms",
        "└ send Audit/run                   ━      0 ms",
        "  └ Audit/run                      ━━━    150 ms",
    ]


def test_what_goes_on_is_open_to_now_and_what_was_cut_off_says_so() -> None:
    journal = Journal()
    journal.step("Run", "slow", 100, None)
    running = tree_of("a", [run("a", "Desk/route", 0, None)], {"a": journal.rows})
    own, step = timeline_lines(running, BASE_MS + 1_000, width_chars=66)[1:]
    assert own.endswith("  running")
    assert "╌╌" in own
    assert step.rstrip().endswith("╌")
    ended = tree_of("a", [run("a", "Desk/route", 0, 500, "failure")], {"a": journal.rows})
    assert timeline_lines(ended, BASE_MS, width_chars=66)[2].endswith("400 ms  cut off")


def test_who_handed_over_to_whom() -> None:
    journal = Journal()
    journal.step("Run", "call LLM", 0, 100, reply("transfer_to_billing"))
    journal.call("Call", "b", "Ledger", 100, 200)
    journal.step("Run", "call LLM", 200, 300, reply("look_up"))
    tree = tree_of("a", [run("a", "Desk/route", 0, 400), run("b", "Ledger/run", 100, 200)], {"a": journal.rows})
    assert handover_lines(tree) == [
        "   Desk ──→ billing     handoff, +0.100 s",
        "billing ──→ Ledger/run  call, +0.100 s",
    ]
    assert handover_lines(tree_of("b", [run("b", "Ledger/run", 0, 1)], {})) == []


def test_a_callee_cannot_steer_the_terminal() -> None:
    journal = Journal()
    journal.call("Call", "b", "Ledger", 100, 200)
    hostile = run("b", "Ledger/a\x1b[2J\x9b1m/run", 100, 200)
    tree = tree_of("a", [run("a", "Desk/route", 0, 400), hostile], {"a": journal.rows})
    lines = [*timeline_lines(tree, BASE_MS), *handover_lines(tree)]
    assert all(line.isprintable() for line in lines)
    assert "Ledger/a\\u001b[2J\\u009b1m/run" in lines[-1]


def test_a_terminal_without_these_characters() -> None:
    journal = Journal()
    journal.step("Run", "pick", 0, 250)
    lines = timeline_lines(tree_of("a", [run("a", "D/r", 0, 500)], {"a": journal.rows}), BASE_MS, encoding="ascii")
    assert all(line.isascii() for line in lines)
    assert lines[2].startswith("` pick  ====")


def test_journals_beyond_reason(monkeypatch: Any) -> None:
    monkeypatch.setattr(timeline_view, "STEPS_MAX", 3)
    journal = Journal()
    for number in range(10):
        journal.step("Run", "\n" * 40 + "x" * 500, number, number + 1)
    journal.rows[0]["entry_json"] = "{broken"
    # A callee that names its caller as its own callee: what is drawn stays a tree.
    journal.call("Call", "a", "Desk", 11, 12)
    lines = timeline_lines(tree_of("a", [run("a", "Desk/route", 0, 100)], {"a": journal.rows}), BASE_MS)
    assert len(lines) == 6
    assert "7 steps more" in lines[-1]
    assert max(map(len, lines)) <= timeline_view.WIDTH_CHARS
