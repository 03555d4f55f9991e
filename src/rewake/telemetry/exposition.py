"""The text of /metrics, and its route on the admin port.

No client library is used, since the format is simple: a name, labels and a number per line. Counters come from the
Telemetry object. Each scrape also reads the database on a thread: file sizes, and open invocations by service and
status, from an index that holds only open ones.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rewake.runs.local.database import local_reading
from rewake.runs.local.figures import open_by_service
from rewake.runs.reading import Reading
from rewake.store.connection import DATABASE_FILE
from rewake.telemetry.histogram import Histogram
from rewake.telemetry.telemetry import Telemetry

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_MS: Final = 1_000
_US: Final = 1_000_000

Sample = tuple[str, float]
"""(labels, value)"""


class Measured(Protocol):
    """The reads that each scrape makes of an engine."""

    path: Path

    def stats(self) -> dict[str, int]: ...


def metrics_route(engine: Measured, telemetry: Telemetry) -> Route:
    """`GET /metrics` for `Server(..., admin_routes=...)`."""

    async def scrape(request: Request) -> Response:
        return Response(await render(engine, telemetry), media_type=CONTENT_TYPE)

    return Route("/metrics", scrape, methods=["GET"])


async def render(engine: Measured, telemetry: Telemetry) -> str:
    """All current figures, in Prometheus' text format."""
    telemetry.read_replies()
    open_counts, sizes, models = await asyncio.to_thread(_look_up, engine.path, list(telemetry.unnamed))
    telemetry.name_models(models)
    stats = engine.stats()
    lines = [
        *_handlers(telemetry),
        *_family("rewake_attempt_failures_total", "counter", "Attempts that failed, by error code.", (
            (_labels(service=service, code=code), count) for (service, code), count in telemetry.failures.items()
        )),
        *_family("rewake_invocations", "gauge", "Invocations that are not completed.", (
            (_labels(service=service, status=status), count)
            for service, status, count in open_counts
        )),
        *_engine(stats),
        *_family("rewake_database_bytes", "gauge", "Size of the files of the database.", (
            (_labels(file=name), size) for name, size in sizes.items()
        )),
        *_histograms("rewake_commit_seconds", "From handing a batch to the store until it is durable.", _US, [
            ("", telemetry.commits)
        ]),
        *_histograms("rewake_commit_rows", "Rows of one commit.", 1, [("", telemetry.commit_rows)]),
        *_workers_and_models(telemetry),
        *_process(),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _handlers(telemetry: Telemetry) -> Iterator[str]:
    known = [(_labels(service=service, handler=name), each) for (service, name), each in telemetry.handlers.items()]
    created = ((labels, each.created) for labels, each in known)
    yield from _family("rewake_invocations_created_total", "counter", "Invocations accepted.", created)
    outcomes = (
        (f'{labels},outcome="{outcome}"', count) for labels, each in known for outcome, count in each.outcomes.items()
    )
    yield from _family("rewake_invocations_completed_total", "counter", "Invocations with a result.", outcomes)
    runs = [(labels, each.runs) for labels, each in known]
    yield from _histograms("rewake_invocation_seconds", "From accepting an invocation to its result.", _MS, runs)
    attempts = [(labels, each.attempts) for labels, each in known]
    yield from _histograms("rewake_attempt_seconds", "How long an attempt had a stream to its handler.", _MS, attempts)


def _engine(stats: dict[str, int]) -> Iterator[str]:
    for name, stat, kind, text in (
        ("rewake_attempts_running", "attempts_running", "gauge", "Attempts that run."),
        ("rewake_attempts_queued", "attempts_queued", "gauge", "Attempts beyond the concurrency limit."),
        ("rewake_attempts_started_total", "attempts_started", "counter", "Attempts started."),
        ("rewake_invocations_in_memory", "invocations_in_memory", "gauge", "Invocations the engine holds in memory."),
        ("rewake_callers_waiting", "callers_waiting", "gauge", "Callers that wait for a result."),
        ("rewake_commands_total", "commands", "counter", "Commands applied."),
        ("rewake_commits_total", "commits", "counter", "Transactions committed."),
        ("rewake_wal_pages", "wal_pages", "gauge", "Length of the write-ahead log in pages."),
    ):
        yield from _family(name, kind, text, [("", stats[stat])])


def _workers_and_models(telemetry: Telemetry) -> Iterator[str]:
    starts: list[Sample] = [("", telemetry.worker_starts)]
    yield from _family("rewake_worker_starts_total", "counter", "Worker processes that became ready.", starts)
    exits = ((_labels(reason=reason), count) for reason, count in telemetry.worker_exits.items())
    yield from _family("rewake_worker_exits_total", "counter", "Worker processes that ended.", exits)
    calls = ((_labels(model=model), count) for model, count in telemetry.model_calls.items())
    yield from _family("rewake_model_calls_total", "counter", "Model calls recorded in journals.", calls)
    tokens = ((_labels(model=model, type=kind), count) for (model, kind), count in telemetry.tokens.items())
    yield from _family("rewake_model_tokens_total", "counter", "Tokens of these model calls.", tokens)
    if telemetry.tracer is not None:
        sent = ((_labels(outcome=outcome), count) for outcome, count in telemetry.tracer.span_counts().items())
        yield from _family("rewake_spans_total", "counter", "Spans for the collector.", sent)
        waiting: list[Sample] = [("", telemetry.tracer.waiting_count)]
        yield from _family("rewake_traces_waiting", "gauge", "Invocations whose spans are not sent yet.", waiting)


def _process() -> Iterator[str]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    rss_bytes = usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024
    cpu_s = usage.ru_utime + usage.ru_stime
    yield from _family("process_cpu_seconds_total", "counter", "Processor time of the engine.", [("", cpu_s)])
    yield from _family("process_memory_peak_bytes", "gauge", "Most memory the engine held.", [("", rss_bytes)])


def _look_up(
    directory: Path, unnamed: list[bytes]
) -> tuple[list[tuple[str, str, int]], dict[str, int], dict[bytes, str | None]]:
    """Open invocations as (service, status, count), the sizes of the database's files, and the models of `unnamed`."""
    with local_reading(directory, time.time_ns() // 1_000_000) as found:
        counts = open_by_service(found)
        models = {id_: _declared_for(found, id_) for id_ in unnamed}
    database = directory / DATABASE_FILE
    files = {"database": database, "log": database.with_name(database.name + "-wal")}
    return counts, {name: os.stat(file).st_size for name, file in files.items() if file.exists()}, models  # noqa: PTH116


def _declared_for(found: Reading, invocation_id: bytes) -> str | None:
    """The model of an invocation's agents, if the handler declares the same one for all of them."""
    invocation = found.invocation(invocation_id)
    if invocation is None:
        return None
    return found.directory.roster(invocation.target.service, invocation.target.handler).model_of("")


# The format


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        yield f"{name}{{{labels}}} {value:.10g}" if labels else f"{name} {value:.10g}"


def _histograms(name: str, text: str, scale: int, series: list[tuple[str, Histogram]]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} histogram"
    for labels, histogram in series:
        yield from histogram.lines(name, labels, scale)


def _labels(**values: str) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
