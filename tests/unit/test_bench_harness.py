"""The bench's arithmetic and its callers: wrong figures there would be wrong claims in the README."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.unit.test_docs import generator

from bench import agent_report, crowds, report, sizes, store_limit, streams, ui_store, works
from bench.agent_work import AgentRow
from bench.load import Loop, parse_response
from bench.report import Row, Start
from bench.sizes import Size
from bench.ui_pages import PageTime, UiPages
from bench.unicode_keys import PLANE_COUNT, unicode_keys
from rewake.core import ids
from rewake.runs.filters import RunFilter
from rewake.runs.listing import Counts, run_page
from rewake.runs.local.database import local_reading


def row(peer: str = "rewake", callers: int = 64, **figures: float) -> Row:
    """A row of route2 with round figures where the test gives none."""
    return Row(
        peer=peer,
        work="route2",
        callers=callers,
        runs_per_second=figures.get("runs_per_second", 100.0),
        median_ms=figures.get("median_ms", 10.0),
        p99_ms=figures.get("p99_ms", 20.0),
        cores={"callers": 0.1},
        memory_mib=figures.get("memory_mib", 100.0),
        error_count=1,
    )


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (1, 1), (50, 50), (50.5, 51), (99, 99), (99.9, 100), (100, 100)]
)
def test_percentile_is_the_nearest_rank(percent: float, expected: float) -> None:
    assert report.percentile(list(range(100, 0, -1)), percent) == expected


def test_percentile_of_nothing_is_not_a_number() -> None:
    assert math.isnan(report.percentile([], 50))


def test_rounds_become_medians_and_their_errors_add_up() -> None:
    rows = [row(runs_per_second=value, median_ms=value / 10) for value in (10.0, 900.0, 20.0)]
    (median,) = report.over_rounds(rows)
    assert (median.runs_per_second, median.median_ms, median.error_count) == (20.0, 2.0, 3)


def test_peers_works_and_callers_are_not_mixed() -> None:
    rows = [row(), row(callers=1), row(peer="restate"), row()]
    assert [(r.peer, r.callers) for r in report.over_rounds(rows)] == [("rewake", 64), ("rewake", 1), ("restate", 64)]


def test_each_target_gets_its_ratio_and_its_verdict() -> None:
    rows = [
        row("rewake", runs_per_second=301, memory_mib=30),
        row("restate", runs_per_second=100, memory_mib=90),
        row("rewake", callers=1, median_ms=6, memory_mib=31),
        row("restate", callers=1, median_ms=10, memory_mib=80),
    ]
    starts = [Start(peer="rewake", seconds=0.6, idle_mib=20), Start(peer="restate", seconds=0.7, idle_mib=80)]
    assert report.ratio_lines(rows, starts, "rewake", "restate") == [
        "route2, 64 callers: 301 / 100 runs/s = 3.01, met (target >= 3)",
        "route2, 1 caller: median 6.00 / 10.00 ms = 0.60, MISSED (target <= 0.5)",
        "memory, idle: 20 / 80 MiB = 0.25, met (target <= 1/3)",
        "memory, under load: 31 / 90 MiB = 0.34, MISSED (target <= 1/3)",
        "start to first answer: 0.60 s, met (target < 1 s)",
    ]


def test_typescript_asks_for_two_thirds_and_says_where_it_is_behind() -> None:
    ours, theirs = "rewake-typescript", "restate-typescript"
    rows = [row(theirs, runs_per_second=300), row(ours, runs_per_second=199), row(ours, callers=1)]
    assert report.typescript_lines(rows, ours, theirs) == [
        "route2, 64 callers with TypeScript: 199 / 300 runs/s = 0.66, MISSED (target >= 2/3); "
        "behind restate-server by 34%"
    ]
    rows[1] = row(ours, runs_per_second=330)
    assert report.typescript_lines(rows, ours, theirs) == [
        "route2, 64 callers with TypeScript: 330 / 300 runs/s = 1.10, met (target >= 2/3)"
    ]


def test_another_commit_is_compared_by_runs_and_by_processor_time() -> None:
    now, before = row(runs_per_second=200), row("rewake-before", runs_per_second=100)
    now.cores.update(engine=0.1)
    before.cores.update(engine=0.1)
    assert report.before_lines([now, before, row(callers=1)], "rewake", "rewake-before", "abc123") == [
        "route2, 64 callers, against abc123: 200 / 100 runs/s = 2.00; processor time a run 500 / 1000 us = 0.50"
    ]


def test_without_the_other_peer_only_our_own_target_is_judged() -> None:
    starts = [Start(peer="rewake", seconds=1.2, idle_mib=20)]
    assert report.ratio_lines([row()], starts, "rewake", "restate") == [
        "start to first answer: 1.20 s, MISSED (target < 1 s)"
    ]


def test_table_has_one_line_for_each_row_and_aligned_columns() -> None:
    heading, first, second = report.table([row(runs_per_second=5), row("restate", runs_per_second=12345)])
    assert first.split()[:4] == ["route2", "64", "rewake", "5"]
    assert first.index("10.00") == second.index("10.00")
    assert heading.split()[:3] == ["work", "callers", "peer"]


RESPONSE = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nconnection: close\r\n\r\n"a:0"'


def test_a_response_is_parsed_only_when_all_of_it_is_there() -> None:
    assert all(parse_response(RESPONSE[:end]) is None for end in range(len(RESPONSE)))
    assert parse_response(RESPONSE) == (200, b'"a:0"', False)
    assert parse_response(RESPONSE.replace(b"connection: close\r\n", b"")) == (200, b'"a:0"', True)


def test_awakeable_id_is_computed_as_the_sdk_does() -> None:
    assert (
        works.awakeable_id("inv_10TQrTAvFmkT6dxEHEmRIP6KDxv1vem1oC") == "sign_1z8Rm_G7SfQoKa8dqRhVPppUVDw-sclHMAAAAEQ"
    )


@pytest.mark.parametrize(
    ("answers", "is_wrong"), [([4, 6, 5], False), ([4, 5, 5], True), ([4, 6], True), ([5, 6], True), ([1, 2], True)]
)
def test_keyed_answers_must_be_the_next_counts_of_their_key(answers: list[int], is_wrong: bool) -> None:
    work = works.make_work(works.Spec(port=0, work="keyed", callers=1, seconds=1, counts={"key7": 3}))
    assert all(work.is_right("key7", 200, str(answer).encode()) for answer in answers)
    assert bool(work.finish()) is is_wrong


def test_unicode_keys_are_different_and_from_every_plane() -> None:
    keys = unicode_keys()
    assert len(set(keys)) == len(keys) == 10_000
    assert {ord(character) >> 16 for key in keys for character in key} == set(range(PLANE_COUNT))
    assert keys == unicode_keys()
    assert b"\xf0\x9f" in "".join(keys).encode()  # also that none holds half of a surrogate pair


def test_a_unicode_key_is_percent_encoded_and_counted_under_its_own_name() -> None:
    work = works.make_work(works.Spec(port=0, work="unicode", callers=1, seconds=1))
    requests = {tag: data for data, tag in (work.request(n) for n in range(50))}
    assert requests["a/b"].startswith(b"POST /Counter/a%2Fb/keyed HTTP/1.1\r\n")
    assert requests["e\u0301"].startswith(b"POST /Counter/e%CC%81/keyed ")
    assert requests["\u00e9"].startswith(b"POST /Counter/%C3%A9/keyed ")
    assert all(work.is_right(tag, 200, b"1") for tag in requests)
    assert not work.finish()
    assert work.is_right("a/b", 200, b"1")
    assert work.finish()


def test_sizes_stand_by_what_they_are_of_and_say_what_failed() -> None:
    found = [
        Size(peer="restate", what="journal", errors=["wrong"]),
        Size(peer="restate", what="unicode", figures={"keys": 1_000, "right": 2_999, "runs_per_s": 1_234.5}),
        Size(
            peer="rewake",
            what="journal",
            figures={"entries": 10_001, "run_s": 1.25, "replay_s": 0.5, "resume_ms": 30.0},
        ),
    ]
    assert sizes.lines(found, report.title) == [
        "restate-server: journal of 0 entries (5,000 steps): run failed, replay of all of it failed",
        "rewake: journal of 10,001 entries (5,000 steps): run 1.25 s, replay of all of it 0.50 s, of 1,000 steps 30 ms",
        "restate-server: 1,000 keys of all Unicode: 2,999 right answers, 1,234 runs/s",
    ]


def test_sends_take_turns_and_keep_their_ids() -> None:
    spec = works.Spec(port=1, work="sends", callers=1, seconds=1, requests_max=3, ids=["/a/send", "/b/send"])
    work = works.make_work(spec)
    assert [work.request(n)[0].split()[1] for n in range(3)] == [b"/a/send", b"/b/send", b"/a/send"]
    assert work.is_right("2", 202, b'{"invocationId": "inv_2", "status": "Accepted"}')
    assert not work.is_right("1", 200, b'{"invocationId": "inv_1", "status": "Accepted"}')
    assert work.ids[2] == "inv_2"


def test_crowds_are_shown_with_their_figures() -> None:
    found = crowds.Crowd(what="4,000 children", figures={"quiet_p99_ms": 3.14159, "kill_p99_ms": 12})
    assert found.line() == "4,000 children: quiet_p99_ms 3.142, kill_p99_ms 12"


def test_stored_runs_are_what_the_pages_are_checked_against(tmp_path: Path) -> None:
    made = ui_store.stored(5_000, tmp_path)
    assert ui_store.stored(5_000, tmp_path).made_seconds is None
    with local_reading(made.path, ui_store.created_at_ms(6_000)) as found:
        page = run_page(found, RunFilter(), Counts())
        assert [run.id for run in page.runs] == [ui_store.run_id(number) for number in range(4_999, 4_899, -1)]
        assert sum(page.counts.values()) == 5_000
        assert page.counts["failed"] == made.failed_count == 50
        assert page.counts["suspended"] == made.suspended_count == 10
        assert page.counts["suspended"] + page.counts["paused"] == made.open_count == 11
        assert len(run_page(found, RunFilter(service="ClaimDesk", key=ui_store.SESSION_KEY), Counts()).runs) == 5
        long_run = ids.invocation_id_from_str(ui_store.run_id(made.long_number))
        assert found.entry_count(long_run) == ui_store.LONG_ENTRIES


def test_ui_lists_are_judged_by_the_slowest_and_other_pages_are_not() -> None:
    def page(name: str, p99_ms: float, is_list: bool) -> PageTime:
        return PageTime(name=name, is_list=is_list, first_ms=300, median_ms=50, p99_ms=p99_ms, kilobytes=90)

    pages = [page("runs", 80, True), page("text", 199.5, True), page("run", 900, False)]
    found = UiPages(run_count=1_000_000, made_seconds=None, start_seconds=0.5, pages=pages, errors=[])
    assert found.lines()[-1] == "each list of 100 runs: 200 ms at p99 for the slowest (text), met (target < 200 ms)"
    found.pages.append(page("agent", 201, True))
    assert found.lines()[-1] == "each list of 100 runs: 201 ms at p99 for the slowest (agent), MISSED (target < 200 ms)"


def published(monkeypatch: pytest.MonkeyPatch, path: Path, **sections: Any) -> ModuleType:
    """The generator of the documentation, with a published run of only these sections."""
    path.write_text(json.dumps({"machine": ["Linux", "versions"], "medians": [], "starts": [], **sections}))
    module = generator()
    monkeypatch.setattr(module, "PUBLISHED", path)
    return module


def test_documentation_shows_each_comparison_and_where_we_are_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {"rewake": 400, "restate": 100, "rewake-typescript": 150, "restate-typescript": 200}
    starts = [asdict(Start(peer=peer, seconds=0.5, idle_mib=50)) for peer in ("rewake", "restate")]
    medians = [asdict(row(peer, runs_per_second=rate)) for peer, rate in rates.items()]
    module = published(monkeypatch, tmp_path / "published.json", medians=medians, starts=starts)
    lines, apps = module.bench().splitlines(), module.bench_apps().splitlines()
    assert lines[2] == "| `route2` | 64 | 400 runs/s | 100 runs/s | 4.00 |"
    assert lines[-1] == "Medians. Linux; versions."
    assert apps[2] == "| `route2` in TypeScript | 64 | 150 runs/s | 200 runs/s | 0.75 |"
    assert apps[-1] == "Behind restate-server in: `route2` in TypeScript (0.75). Medians."
    assert module.bench_sizes() == module.bench_ui() == module.NOT_MEASURED


def test_documentation_shows_sizes_and_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sized = [
        Size(peer="restate", what="payload", figures={"call_s": 0.5}),
        Size(peer="rewake", what="payload", figures={"call_s": 0.25}),
        Size(peer="restate", what="deployments", figures={"registered": 400}),
    ]
    page = PageTime(name="runs", is_list=True, first_ms=300, median_ms=14.4, p99_ms=40.2, kilobytes=90)
    ui = UiPages(run_count=10, made_seconds=None, start_seconds=0.5, pages=[page], errors=[])
    alone = store_limit.StoreLimit(work="keyed", runs=100, row_count=900, commit_count=5, seconds=0.01)
    sections = {"sizes": [asdict(each) for each in sized], "ui": asdict(ui), "store": [asdict(alone)]}
    module = published(monkeypatch, tmp_path / "published.json", **sections)
    assert module.bench_sizes().splitlines() == [
        "| | Rewake | restate-server |",
        "| --- | --- | --- |",
        "| call with 10 MB in, through a step and out | 0.25 s | 0.50 s |",
        "| deployments registered over HTTP, in 20 s at most |  | 400 |",
        "| rows of `keyed` written by the store alone | 10,000 runs/s |  |",
    ]
    assert "| runs | 14 ms | 40 ms |" in module.bench_ui()
    *_, line = module.bench_ui().splitlines()
    assert line.startswith("The slowest list of runs at p99: runs, 40 ms. ")
    assert line.endswith("answers on these runs 0.50 s after its start.")


@contextmanager
def answering(bodies: dict[bytes, bytes]) -> Iterator[int]:
    """A server on a free port that answers each request's body with the one given for it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = bodies[self.rfile.read(int(self.headers["content-length"]))]
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_callers_time_right_answers_and_count_wrong_ones() -> None:
    right = {str(n).encode(): f'"{"car" if n % 2 else "medical"}:{n}"'.encode() for n in range(20)}
    with answering(right | {b"7": b'"medical:7"', b"8": b"not JSON"}) as port:
        spec = works.Spec(port=port, work="route2", callers=4, seconds=30, requests_max=20)
        outcome = Loop(spec).run()
    assert (len(outcome.latencies_us), outcome.error_count) == (18, 2)
    assert "route2 7: 200 b'\"medical:7\"'" in outcome.errors


def test_store_alone_writes_every_row_of_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_limit, "RUNS_PER_CALLER", 1)
    monkeypatch.setattr(store_limit, "REPLAYS", 1)
    (limit,) = store_limit.measure(tmp_path / "data", ["keyed"])
    rows_each = len(["insert", "state"]) + len(["Input", "GetEagerState", "Run", "RunCompletion", "SetState", "Output"])
    assert limit.runs == store_limit.CALLERS
    assert limit.row_count >= limit.runs * rows_each


def agent_row(way: str, callers: int, runs_per_second: float, median_ms: float) -> AgentRow:
    is_bare = way == "framework alone"
    return AgentRow(
        framework="pydantic",
        way=way,
        callers=callers,
        runs_per_second=runs_per_second,
        median_ms=median_ms,
        cpu_ms=9.0,
        steps=0 if is_bare else 4,
        journal_bytes=0 if is_bare else 4_000,
    )


def test_agents_are_judged_against_the_bare_framework_and_the_official_extension() -> None:
    rows = [
        agent_row("framework alone", 1, 70.0, 14.0),
        agent_row("rewake.ext on Rewake", 1, 60.0, 17.0),
        agent_row("rewake.ext on Rewake", 1, 62.0, 17.2),
        agent_row("rewake.ext on Rewake", 1, 20.0, 50.0),
        agent_row("empty steps on Rewake", 1, 400.0, 2.4),
        agent_row("framework alone and empty steps on Rewake", 1, 64.0, 15.6),
        agent_row("framework alone", 16, 100.0, 160.0),
        agent_row("restate.ext on restate-server", 16, 80.0, 200.0),
        agent_row("rewake.ext on Rewake", 16, 96.0, 166.0),
        agent_row("DBOS on SQLite", 16, 48.0, 320.0),
    ]
    lines = agent_report.lines(rows)
    assert lines[1].split() == ["pydantic", "1", "empty", "steps", "on", "Rewake", "400", "2.4", "9.0", "4", "4000"]
    assert lines[4].split() == ["pydantic", "1", "rewake.ext", "on", "Rewake", "60", "17.2", "1.07", "9.0", "4", "4000"]
    assert lines[-6:] == [
        "pydantic: added ms a step, 1 caller: 0.80, met (target <= 1.0)",
        "pydantic: added ms an empty step of the plain SDK beside the framework, 1 caller: 0.40",
        "pydantic: ms a step with an empty body, 1 caller: 0.60",
        "pydantic: runs/s of the bare framework's, 16 callers: 0.96, met (target >= 0.95)",
        "pydantic: runs/s of restate.ext on restate-server, 16 callers: 1.20, MISSED (target >= 1.3)",
        "pydantic: runs/s of DBOS on SQLite, 16 callers: 2.00, met (target >= 1.0)",
    ]


def test_neighbours_of_streams_are_compared_window_by_window() -> None:
    """One slow moment on the machine moves no figure, and what a window begins with belongs to the one before."""
    calls = []
    for number in range(21):
        is_loud = number % 2 == 1
        taken_us = 90_000 if number == 8 else 2_100 if is_loud else 2_000
        calls += [(number * 500 + 10, 500_000), (number * 500 + 100, taken_us)]
    found = streams.compared(*zip(*calls, strict=True))
    assert found == {"alone_ms": 2.0, "beside_ms": 2.1, "added": pytest.approx(0.05)}
    lines = streams.Streams(**found, readers_missing=3)
    assert [line.rpartition(", ")[2] for line in lines.lines()] == ["+5% in the median of pairs (goal 10%: met)"]
    assert lines.errors == ["3 deltas did not reach their readers"]
