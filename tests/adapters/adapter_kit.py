"""What all frameworks of the suite share: cases, marks of what ran, and services that have each program as a handler.

A program is a handler on agents of one framework, named as its row in rows.py. It runs on four services: `Desk` and
`Object` as they are, `Suspending` and `ObjectSuspending` where each wait ends the attempt.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import restate

from rewake.testing.models import Rule

Program = Callable[[Any, str], Awaitable[Any]]
PATIENT = restate.InvocationRetryPolicy(timedelta(milliseconds=10), 1.0, timedelta(milliseconds=10), 1_000_000, "pause")


@dataclass(frozen=True)
class Case:
    """What the model says, what the handler must answer, and what must have run without a crash.

    calls: how often each rule of the model answers; marks: how often each tool leaves its mark.
    """

    rules: list[Rule]
    answer: Any
    calls: dict[str, int]
    marks: dict[str, int] = field(default_factory=dict)
    on_object: bool = False


def folder() -> Path:
    """Where marks and questions are left, which outlive a process."""
    return Path(os.environ["LAB_FOLDER"])


def mark(what: str, answer: str = "") -> str:
    """Leave a line, to count what really ran."""
    with (folder() / "marks").open("a") as file:
        file.write(what + "\n")
    return answer


def marks() -> Counter[str]:
    """The lines that were left."""
    file = folder() / "marks"
    return Counter(file.read_text().splitlines()) if file.exists() else Counter()


def ask(awakeable: str, answer: Any) -> None:
    """Leave a question; whoever watches the folder resolves the awakeable with the answer."""
    (folder() / f"asked-{awakeable}").write_text(json.dumps(answer))


def service_of(case: Case, *, suspending: bool) -> str:
    """The service that a case runs on."""
    names = ("Object", "ObjectSuspending") if case.on_object else ("Desk", "Suspending")
    return names[suspending]


def app_of(programs: Mapping[str, Program], codec: Any = None) -> Any:
    """The programs on all services. codec: of journal values."""
    services: list[Any] = []
    for name in ("Desk", "Suspending", "Object", "ObjectSuspending"):
        inactivity = timedelta(0) if name.endswith("Suspending") else None
        kind = restate.VirtualObject if name.startswith("Object") else restate.Service
        service = kind(name, inactivity_timeout=inactivity, invocation_retry_policy=PATIENT)
        for each, program in programs.items():
            _add(service, each, program)
        services.append(service)

    async def provide() -> Any:
        return codec

    return restate.app(services, journal_value_codec=provide if codec is not None else None)


def _add(service: Any, name: str, program: Program) -> None:
    @service.handler(name=name)  # type: ignore[untyped-decorator]
    async def handler(ctx: restate.ObjectContext, given: str) -> object:
        return await program(ctx, given)
