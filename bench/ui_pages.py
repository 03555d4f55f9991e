"""The web UI over a million stored runs: how long each page takes, and whether it shows what is stored.

An engine on the database of ui_store.py answers over one connection that stays open; a page's time is from sending the
request to having all of its HTML. What a page shows is checked first, on its JSON twin.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from bench.npm import PeerError
from bench.peers import POLL_SECONDS, START_SECONDS_MAX, RewakeEngine, free_port
from bench.report import aligned, percentile
from bench.ui_store import (
    APART_MS,
    DEPLOYMENT,
    FAR_MS,
    LONG_ENTRIES,
    MANIFEST,
    RARE_TEXT,
    RUN_COUNT,
    SESSION_KEY,
    SESSION_TURNS,
    Stored,
    created_at_ms,
    run_id,
    stored,
)

REQUESTS = 20
RUNS_PAGE_MS_MAX = 200.0
PAGE_RUNS = 100
WINDOW_RUNS = 34_560

Shown = Any
Check = Callable[[Shown], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page: how the report calls it, its address below /ui, and whether its data is right. is_list: of runs."""

    name: str
    path: str
    is_right: Check
    is_list: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTime:
    """What a page took. first_ms: at the first request, before anything was remembered."""

    name: str
    is_list: bool
    first_ms: float
    median_ms: float
    p99_ms: float
    kilobytes: float


@dataclass(slots=True, kw_only=True)
class UiPages:
    """All pages. made_seconds: what writing the database took, None when it was there."""

    run_count: int
    made_seconds: float | None
    start_seconds: float
    pages: list[PageTime]
    errors: list[str]

    def lines(self) -> list[str]:
        """The figures for the reader, with the verdict on the lists."""
        made = f", written in {self.made_seconds:.0f} s" if self.made_seconds is not None else ""
        cells = [
            (page.name, *(f"{ms:.0f}" for ms in (page.median_ms, page.p99_ms, page.first_ms)), f"{page.kilobytes:.0f}")
            for page in self.pages
        ]
        slowest = max((page for page in self.pages if page.is_list), key=lambda page: page.p99_ms, default=None)
        verdict = []
        if slowest is not None:
            word = "met" if slowest.p99_ms < RUNS_PAGE_MS_MAX else "MISSED"
            verdict = [
                f"each list of {PAGE_RUNS} runs: {slowest.p99_ms:.0f} ms at p99 for the slowest ({slowest.name}), "
                f"{word} (target < {RUNS_PAGE_MS_MAX:.0f} ms)"
            ]
        return [
            f"UI over {self.run_count:,} runs{made}; the engine is there {self.start_seconds:.2f} s after its start; "
            f"{REQUESTS} requests a page",
            *aligned([("page", "median ms", "p99 ms", "first ms", "kB"), *cells]),
            *verdict,
        ]


class Viewed(RewakeEngine):
    """`rewake server` on a database that is there already."""

    name = "rewake-ui"

    def __init__(self, kept: Stored) -> None:
        super().__init__()
        self.data = kept.path

    def start(self) -> None:
        """Returns when the admin port answers; nothing is removed."""
        self.ingress_port, self.admin_port = free_port(), free_port()
        started = time.perf_counter()
        self.launch_engine()
        while self.call("GET", "/health", admin=True)[0] != 200:
            self.check_alive()
            if time.perf_counter() > started + START_SECONDS_MAX:
                raise PeerError(f"{self.name}: no answer within {START_SECONDS_MAX:.0f} s")
            time.sleep(POLL_SECONDS)
        self.first_answer_seconds = time.perf_counter() - started


def measure(run_count: int = RUN_COUNT) -> UiPages:
    """Makes the database where it is missing, and times every page."""
    kept = stored(run_count)
    viewed = Viewed(kept)
    viewed.start()
    try:
        asked = Asking(viewed.admin_port)
        found = UiPages(
            run_count=run_count,
            made_seconds=kept.made_seconds,
            start_seconds=viewed.first_answer_seconds,
            pages=[],
            errors=[],
        )
        for page in pages_of(kept):
            _measure_page(asked, page, found)
        if "runs" in (page.name for page in found.pages):
            _measure_page(asked, _second_page(asked, run_count), found)
        return found
    finally:
        viewed.stop()


class Asking:
    """One connection to the UI."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS_MAX)

    def timed(self, path: str) -> tuple[int, bytes, float]:
        """Status and content of a page, and its milliseconds."""
        started = time.perf_counter()
        try:
            self.connection.request("GET", f"/ui{path}")
            response = self.connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()  # the next request opens another one
            raise PeerError(f"{path}: {error!r}") from error
        if response.status != 200:
            self.connection.close()
        return response.status, content, (time.perf_counter() - started) * 1000

    def data(self, path: str) -> Any:
        """What a page shows, as JSON."""
        status, content, _ = self.timed(f"{path}{'&' if '?' in path else '?'}format=json")
        if status != 200:
            raise PeerError(f"{path}: {status} {content[:200]!r}")
        return json.loads(content)


def _measure_page(asked: Asking, page: Page, found: UiPages) -> None:
    """Times a page whose data is right; one that is wrong or missing is an error instead."""
    try:
        status, content, first_ms = asked.timed(page.path)
        if status != 200 or not page.is_right(asked.data(page.path)):
            raise PeerError(f"{status}, not what is stored")
        times_ms = [asked.timed(page.path)[2] for _ in range(REQUESTS)]
    except (PeerError, KeyError, IndexError, TypeError, ValueError) as error:
        found.errors.append(f"{page.name} ({page.path}): {error if isinstance(error, PeerError) else repr(error)}")
        return
    found.pages.append(
        PageTime(
            name=page.name,
            is_list=page.is_list,
            first_ms=first_ms,
            median_ms=percentile(times_ms, 50),
            p99_ms=percentile(times_ms, 99),
            kilobytes=len(content) / 1000,
        )
    )


def pages_of(kept: Stored) -> list[Page]:
    """Every page but those that only another one leads to."""
    count = kept.run_count
    newest = [run_id(number) for number in range(count - 1, count - 1 - PAGE_RUNS, -1)]
    oldest = [run_id(number) for number in range(PAGE_RUNS)]
    long_run, agents_run = run_id(kept.long_number), run_id(kept.agents_number)
    services = {service["name"] for service in MANIFEST["services"]}
    rare = run_id(kept.rare_number)
    since, until = _moment(created_at_ms(0)), _moment(created_at_ms(0) + min(count, WINDOW_RUNS) * APART_MS)
    return [
        _list("runs", {}, lambda at: _ids(at) == newest and sum(at["counts"].values()) == count),
        _list("runs, oldest first", {"order": "oldest"}, lambda at: _ids(at) == oldest),
        _list(
            "status failed",
            {"status": "failed"},
            lambda at: _all(at, "status", "failed") and at["counts"]["failed"] == kept.failed_count,
        ),
        _list(
            "status suspended",
            {"status": "suspended"},
            lambda at: _all(at, "status", "suspended") and at["counts"]["suspended"] == kept.suspended_count,
        ),
        _list("status succeeded", {"status": "succeeded"}, lambda at: _all(at, "status", "succeeded")),
        _list("service", {"service": "Invoices"}, lambda at: _all(at, "service", "Invoices")),
        _list(
            "service and handler",
            {"service": "ClaimDesk", "handler": "message"},
            lambda at: _all(at, "handler", "message"),
        ),
        _list("service and key", {"service": "ClaimDesk", "key": SESSION_KEY}, lambda at: _all(at, "key", SESSION_KEY)),
        _list("key alone", {"key": "customer-5"}, lambda at: {run["key"] for run in at["runs"]} == {"customer-5"}),
        _list("text: an id", {"text": long_run}, lambda at: _ids(at) == [long_run]),
        _list("text: in one run", {"text": RARE_TEXT}, lambda at: rare in _ids(at)),
        _list("text: nowhere", {"text": "not in any run"}, lambda at: at["runs"] == [] and at["next_cursor"]),
        _list(
            "failed with",
            {"failure": "has no address"},
            lambda at: len(at["runs"]) == PAGE_RUNS and all("has no address" in run["problem"] for run in at["runs"]),
        ),
        _list("agent", {"agent": "billing"}, lambda at: len(at["runs"]) > 0),
        _list("waiting for a person", {"waiting": "person"}, lambda at: _all(at, "status", "suspended")),
        _list(
            "time",
            {"since": since, "until": until},
            lambda at: len(at["runs"]) == PAGE_RUNS and not set(_ids(at)) & set(newest),
        ),
        _list("longest first", {"order": "longest"}, lambda at: _is_sorted(map(_took_ms, at["runs"]))),
        _list("last changed first", {"order": "changed"}, lambda at: _is_sorted(_each(at, "modified_at_ms"))),
        _list("by name", {"order": "target"}, lambda at: _all(at, "service", "ClaimDesk")),
        Page(
            name=f"run of {LONG_ENTRIES:,} entries",
            path=f"/runs/{long_run}?scale=time",  # else a run of agents opens on these
            is_right=lambda at: at["entry_count"] == LONG_ENTRIES,
        ),
        Page(
            name="its rows from the middle on",
            path=f"/runs/{long_run}?row={LONG_ENTRIES // 4}",
            is_right=lambda at: at["first_row"] > 0,
        ),
        Page(
            name="its agents",
            path=f"/runs/{long_run}/agents",
            is_right=lambda at: at["trace"]["is_cut"] and len(at["trace"]["turns"]) > 100,
        ),
        Page(
            name="one of its steps",
            path=f"/runs/{long_run}/steps/{LONG_ENTRIES // 2 + 1}",
            is_right=lambda at: at["title"] == "Call model",
        ),
        Page(
            name="run of 20 steps", path=f"/runs/{agents_run}?scale=time", is_right=lambda at: at["entry_count"] == 42
        ),
        Page(
            name="its handoffs",
            path=f"/runs/{agents_run}/agents",
            is_right=lambda at: len(at["trace"]["handoffs"]) == 20,
        ),
        Page(name="sessions", path="/sessions", is_right=lambda at: len(at["sessions"]) == 100),
        Page(
            name=f"session of {SESSION_TURNS:,} turns",
            path=f"/sessions/ClaimDesk?{urlencode({'key': SESSION_KEY})}",
            is_right=lambda at: len(at["history"]) == 100 and at["last_agent"] == "Medical specialist",
        ),
        Page(
            name="services",
            path="/services",
            is_right=lambda at: {service["name"] for service in at["services"]} == services,
        ),
        Page(
            name="deployments",
            path="/deployments",
            is_right=lambda at: (
                [(each["id"], each["open_run_count"]) for each in at["deployments"]] == [(DEPLOYMENT, kept.open_count)]
            ),
        ),
    ]


def _second_page(asked: Asking, run_count: int) -> Page:
    """The one the first leads to."""
    older = [run_id(number) for number in range(run_count - 1 - PAGE_RUNS, run_count - 1 - 2 * PAGE_RUNS, -1)]
    return _list("runs, page 2", {"cursor": asked.data("/")["next_cursor"]}, lambda at: _ids(at) == older)


def _list(name: str, fields: dict[str, str], is_right: Check) -> Page:
    return Page(name=name, path=f"/?{urlencode(fields)}" if fields else "/", is_right=is_right, is_list=True)


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _ids(shown: Shown) -> list[str]:
    return _each(shown, "id")


def _each(shown: Shown, field: str) -> list[Any]:
    return [run[field] for run in shown["runs"]]


def _all(shown: Shown, field: str, value: str) -> bool:
    return _each(shown, field) == [value] * PAGE_RUNS


def _took_ms(run: dict[str, Any]) -> int:
    return int((run["completed_at_ms"] or FAR_MS) - run["running_at_ms"])


def _is_sorted(values: Iterable[int]) -> bool:
    found = list(values)
    return len(found) == PAGE_RUNS and found == sorted(found, reverse=True)
