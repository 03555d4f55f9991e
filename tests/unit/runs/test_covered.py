"""What the holder of a token for some services sees: their runs, keys and deployments, and nothing of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.agents.recorded import load

from rewake.access.coverage import covering
from rewake.core.ids import invocation_id_from_str
from rewake.runs.covered import CoveredReading, covered
from rewake.runs.facts import STATUSES
from rewake.runs.filters import RunFilter
from rewake.runs.listing import Counts, run_page
from rewake.runs.local.database import DatabaseReading, local_reading
from rewake.runs.reading import Reading

NONE = dict.fromkeys(STATUSES, 0)


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[DatabaseReading]:
    """The router's run, which calls a specialist's."""
    with local_reading(load("remote_specialists", tmp_path), 1 << 42) as found:
        yield found


def run_of(whole: Reading, service: str) -> bytes:
    (run,) = whole.find(RunFilter(service=service), NONE).runs
    return invocation_id_from_str(run.id)


def test_without_such_a_token_everything_is_covered(whole: Reading) -> None:
    assert covered(whole) is whole
    with covering(("CarSpecialist",)):
        assert covered(whole).is_whole is False
    assert covered(whole) is whole


def test_runs_of_other_services_are_not_listed(whole: Reading) -> None:
    counts, afterwards = Counts(), Counts()
    everything = run_page(whole, RunFilter(), counts)
    for each in (counts, afterwards):
        page = run_page(CoveredReading(whole, ("CarSpecialist",)), RunFilter(), each)
    assert {run.service for run in everything.runs} == {"CarSpecialist", "ClaimRouter"}
    assert {run.service for run in page.runs} == set(page.services) == {"CarSpecialist"}
    assert (page.counts, page.matching_count, page.waiting_count, page.agents) == ({}, None, None, [])
    assert run_page(whole, RunFilter(), afterwards).counts == everything.counts, "nothing is kept for other requests"


def test_a_filter_reaches_no_other_service(whole: Reading) -> None:
    limited = CoveredReading(whole, ("CarSpecialist",))
    router = next(run for run in whole.find(RunFilter(), NONE).runs if run.service == "ClaimRouter")
    for wanted in (RunFilter(service="ClaimRouter"), RunFilter(text=router.id), RunFilter(services=("ClaimRouter",))):
        assert "ClaimRouter" not in {run.service for run in limited.find(wanted, NONE).runs}
        assert router.id not in limited.matching(wanted, NONE).ids
    assert limited.count_matching(RunFilter(), NONE, 1.0) == (1, True)


OF_A_RUN: dict[str, Callable[[Reading, bytes], Any]] = {
    "invocation": lambda found, run: found.invocation(run),
    "summary": lambda found, run: found.summary(run),
    "entries": lambda found, run: found.entries(run),
    "payloads": lambda found, run: found.payloads(run, [0]),
    "payloads_within": lambda found, run: found.payloads_within(run, [0], each_max=1 << 20, all_max=1 << 20)[0],
    "short_payloads": lambda found, run: found.short_payloads(run, 0, 9, 1 << 20),
    "entry_count": lambda found, run: found.entry_count(run),
    "mentions": lambda found, run: found.mentions(run, "a", 0, 1 << 20),
    "with_inputs": lambda found, run: found.with_inputs([found_summary(found, run)]),
}


def found_summary(found: Reading, run: bytes) -> Any:
    """The summary of a run, as somebody may have it from elsewhere."""
    return (found._all if isinstance(found, CoveredReading) else found).summary(run)


@pytest.mark.parametrize("name", OF_A_RUN)
def test_nothing_of_a_run_of_another_service_is_read(whole: Reading, name: str) -> None:
    router, read = run_of(whole, "ClaimRouter"), OF_A_RUN[name]
    assert read(whole, router)
    assert not read(CoveredReading(whole, ("CarSpecialist",)), router)
    assert read(CoveredReading(whole, ("CarSpecialist", "ClaimRouter")), router) == read(whole, router)


class Asked:
    """A reading that has an answer to everything, and notes the services it was asked about."""

    now_ms = 1

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def answer(service: str, *given: Any, **_: Any) -> Any:
            self.asked.append(service)
            return [(service, f"{given[0][1]}k", b"")] if name == "asking_keys" else {"something": service}

        return answer


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("runs_of_key", ("key", 9)),
        ("state", ("key",)),
        ("state_value", ("key", b"name")),
        ("earlier_results", ("handler", "step")),
        ("keys_at_work", (9,)),
        ("open_runs_of_key", ("key", 9)),
        ("promises", ("key",)),
    ],
)
def test_nothing_of_another_service_is_read(name: str, given: tuple[Any, ...]) -> None:
    asked: Any = Asked()
    limited = CoveredReading(asked, ("A",))
    assert getattr(limited, name)("A", *given)
    assert not getattr(limited, name)("B", *given)
    assert asked.asked == ["A"]


def test_keys_with_questions_are_those_of_the_services_in_order() -> None:
    asked: Any = Asked()
    limited = CoveredReading(asked, ("A", "B", "D"))
    assert limited.asking_keys("", ("", ""), 9) == [("A", "k", b""), ("B", "k", b""), ("D", "k", b"")]
    assert limited.asking_keys("", ("B", "x"), 9) == [("B", "xk", b""), ("D", "k", b"")]
    assert limited.asking_keys("", ("", ""), 2) == [("A", "k", b""), ("B", "k", b"")]
    assert limited.asking_keys("C", ("", ""), 9) == []
    assert limited.asking_count(9) == 3


def test_services_and_deployments_are_those_of_the_token(whole: Reading) -> None:
    limited = CoveredReading(whole, ("CarSpecialist",))
    assert [service.name for service in limited.services()] == ["CarSpecialist"]
    assert limited.service("ClaimRouter") is None
    assert all("CarSpecialist" in each.services for each in limited.deployments())
    assert CoveredReading(whole, ("Nothing",)).deployments() == []


def test_no_way_to_read_is_left_out() -> None:
    """A method that a Reading gains must be decided on here as well."""
    built_on_others = {"directory", "service"}
    ways = {name for name in vars(Reading) if not name.startswith("_")} - built_on_others
    assert ways <= set(vars(CoveredReading))
