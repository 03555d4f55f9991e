"""A run tree as text: bars to scale, callees below their calls, handoffs in order, hostile names kept short."""

from __future__ import annotations

from typing import Any

from rewake.cli import timeline_view
from rewake.cli.timeline_view import NAME_CHARS_MAX, handoff_lines, timeline_lines
from rewake.core.ids import invocation_id_to_str
from rewake.protocol.messages import MessageType
from rewake.runs.displays import DISPLAYS
from rewake.runs.facts import RunSummary
from rewake.runs.steps import Step
from rewake.runs.tree import Branch
from rewake.runs.turns import Handoff

BASE_MS = 1795342800000  # 2026-11-22T09:40:00Z


def run(id_: str, target: str, start_ms: int, end_ms: int | None, status: str = "succeeded") -> RunSummary:
    service, _, handler = target.rpartition("/")
    return RunSummary(
        id=invocation_id_to_str(id_.encode() * 24),
        service=service,
        handler=handler,
        key=None,
        status=status,
        created_at_ms=BASE_MS + start_ms,
        running_at_ms=BASE_MS + start_ms,
        completed_at_ms=None if end_ms is None else BASE_MS + end_ms,
        start_at_ms=None,
        retry_count=0,
        next_retry_at_ms=None,
        invoked_by="ingress",
        parent=None,
        restarted_from=None,
        problem=None,
        modified_at_ms=0,
    )


def step(type_: MessageType, name: str, start_ms: int, end_ms: int | None, **facts: Any) -> Step:
    return Step(
        index=start_ms,
        ordinal=0,
        type=type_,
        kind=DISPLAYS[type_].kind,
        name=name,
        title=name,
        start_ms=BASE_MS + start_ms,
        end_ms=None if end_ms is None else BASE_MS + end_ms,
        **facts,
    )


def handoff(source: str, target: str, kind: str, at_ms: int) -> Handoff:
    return Handoff(source=source, target=target, number=1, kind=kind, at_ms=BASE_MS + at_ms)


def test_a_tree_to_scale() -> None:
    steps = [
        step(MessageType.RUN, "pick", 0, 250),
        step(MessageType.CALL, "", 250, 750, subject="Billing/run", child=b"b" * 24),
        step(MessageType.ONE_WAY_CALL, "", 750, 750, subject="Audit/run", child=b"c" * 24),
        step(MessageType.SET_STATE, "done", 760, 760),
    ]
    charge = step(MessageType.RUN, "charge", 300, 700, is_failure=True)
    billing = Branch(run("b", "Billing/run", 250, 750, "failed"), [charge])
    tree = Branch(run("a", "Desk/route", 0, 1_000), steps, [billing, Branch(run("c", "Audit/run", 750, 900), [])])
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
    slow = [step(MessageType.RUN, "slow", 100, None)]
    running = Branch(run("a", "Desk/route", 0, None, "running"), slow)
    own, bar = timeline_lines(running, BASE_MS + 1_000, width_chars=66)[1:]
    assert own.endswith("  running")
    assert "╌╌" in own
    assert bar.rstrip().endswith("╌")
    ended = Branch(run("a", "Desk/route", 0, 500, "failed"), slow)
    assert timeline_lines(ended, BASE_MS, width_chars=66)[2].endswith("400 ms  cut off")


def test_who_handed_over_to_whom() -> None:
    told = [handoff("Desk", "billing", "handoff", 100), handoff("billing", "Ledger", "call", 150)]
    assert handoff_lines(told, BASE_MS) == [
        "   Desk ──→ billing  handoff, +0.100 s",
        "billing ──→ Ledger   call, +0.150 s",
    ]
    assert handoff_lines([], BASE_MS) == []


def test_a_callee_cannot_steer_the_terminal() -> None:
    name = "Ledger/a\x1b[2J\x9b1m"
    tree = Branch(run("a", "Desk/route", 0, 400), [], [Branch(run("b", f"{name}/run", 100, 200), [])])
    lines = [*timeline_lines(tree, BASE_MS), *handoff_lines([handoff("Desk", name, "call", 1)], BASE_MS)]
    assert all(line.isprintable() for line in lines)
    assert "Ledger/a\\u001b[2J\\u009b1m" in lines[-1]


def test_a_terminal_without_these_characters() -> None:
    tree = Branch(run("a", "D/r", 0, 500), [step(MessageType.RUN, "pick", 0, 250)])
    lines = timeline_lines(tree, BASE_MS, encoding="ascii")
    assert all(line.isascii() for line in lines)
    assert lines[2].startswith("` pick  ====")


def test_journals_beyond_reason(monkeypatch: Any) -> None:
    monkeypatch.setattr(timeline_view, "STEPS_MAX", 3)
    steps = [step(MessageType.RUN, "\n" * 40 + "x" * 500, number, number + 1) for number in range(10)]
    lines = timeline_lines(Branch(run("a", "Desk/route", 0, 100), steps), BASE_MS)
    assert len(lines) == 6
    assert "7 steps more" in lines[-1]
    assert max(map(len, lines)) <= timeline_view.WIDTH_CHARS


def test_a_name_has_so_many_characters() -> None:
    """And ends with a mark when it had more."""
    for more in (0, 1):
        target = "Desk/" + "x" * (NAME_CHARS_MAX - len("Desk/") + more)
        branch = Branch(run=run("a", target, 0, 100), steps=[], children=[])
        (name,) = {line.split()[0] for line in timeline_lines(branch, 120) if "Desk/" in line}
        assert len(name) == NAME_CHARS_MAX and name.endswith("…") == bool(more)
