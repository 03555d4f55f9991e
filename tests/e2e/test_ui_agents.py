"""The agents view over HTTP, with tour apps under `rewake run`: what a router could have chosen, forks side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tour import HANDOFFS, SUPPORT, Reply, Tour, TourEngine, answered, needs

from rewake.testing.models import ModelServer, Rule, rule, text, tool_call

HANDOFF_RULES = [
    rule(name="car", system="car specialist of an insurer", answer=text("The garage calls you.")),
    rule(name="medical", system="medical specialist of an insurer", answer=text("Send us the bill.")),
    rule(name="route", answer=tool_call("transfer_to_medical_specialist", {"reason": "it is about a leg"})),
]


class Pages(TourEngine):
    """A tour engine whose pages are read as JSON."""

    def page(self, path: str) -> Any:
        reply = self._request(self.admin_port, "GET", f"/ui{path}?format=json")
        assert reply.status == 200, reply
        return reply.body

    def fork(self, invocation_id: str, index: int, result: Any) -> str:
        """The id of a new run that goes on from a step as if that had returned `result`."""
        path = f"/invocations/{invocation_id}/restart-as-new?from={index}"
        reply: Reply = self._request(self.admin_port, "PATCH", path, {"result": result})
        assert reply.status == 200, reply
        return str(reply.body["new_invocation_id"])

    def answer_of(self, invocation_id: str) -> Any:
        return self._request(self.ingress_port, "GET", f"/restate/invocation/{invocation_id}/attach").body


def index_of(engine: Pages, invocation_id: str, step: str) -> int:
    """Of the first step with this name in a run's journal."""
    rows = engine.query(
        f"select \"index\" from sys_journal where id = '{invocation_id}' and name = '{step}' order by \"index\" limit 1"
    )
    return int(rows[0]["index"])


def replaced(tour: Tour, decision: Any) -> Any:
    """The router's decision with the other specialist in it."""
    if tour is SUPPORT:
        return {**decision, "specialist": "technical"}
    (call,) = decision["output"]
    return {**decision, "output": [{**call, "name": "transfer_to_car_specialist"}]}


@dataclass(frozen=True, slots=True)
class Fork:
    """A step that routes, the rules of the models, and (specialist, calls of the models) before and after a fork."""

    step: str
    rules: list[Rule]
    first: tuple[str, dict[str, int]]
    other: tuple[str, dict[str, int]]


FORKS = {
    SUPPORT.name: Fork(
        "Pick specialist",
        SUPPORT.rules(),
        ("billing", {"pick-billing": 1, "ask-billing": 1}),
        ("technical", {"pick-billing": 1, "ask-billing": 1, "ask-technical": 1}),
    ),
    HANDOFFS.name: Fork(
        "call LLM",
        HANDOFF_RULES,
        ("Medical specialist", {"route": 1, "medical": 1}),
        ("Car specialist", {"route": 1, "medical": 1, "car": 1}),
    ),
}


@pytest.mark.parametrize("tour", [needs(SUPPORT), needs(HANDOFFS)])
def test_a_fork_with_another_decision_beside_the_first_run(tour: Tour, tmp_path: Path) -> None:
    """It goes to the other specialist, leaves the first run as it was, and repeats no step before the fork."""
    fork = FORKS[tour.name]
    with ModelServer(fork.rules) as models, Pages(tour.app, tmp_path, models) as engine:
        assert isinstance(engine, Pages)
        said = engine.post(tour.path.format(key="alice"), tour.ask(tour.claim))
        run_id, journal = said.invocation_id, engine.journal(said.invocation_id)
        assert answered(models) == fork.first[1]

        decision = next(item.result for item in journal if item.title == f"Run {fork.step}")
        fork_id = engine.fork(run_id, index_of(engine, run_id, fork.step), replaced(tour, decision))
        assert engine.answer_of(fork_id) != said.body
        assert answered(models) == fork.other[1]
        assert engine.journal(run_id) == journal

        page = engine.page(f"/runs/{fork_id}/compare")
        assert (page["before"]["id"], page["run"]["id"]) == (run_id, fork_id)
        differing = [pair for pair in page["turns"] if pair["difference"] != "same"]
        choice = next(pair for pair in differing if pair["difference"] == "choice")
        assert [choice[side]["chosen"] for side in ("before", "after")] == [[fork.first[0]], [fork.other[0]]]
        assert {fork.first[0], fork.other[0]} <= set(choice["before"]["candidates"])
        assert differing[-1]["difference"] == "answer"
        spent = [page[trace]["total"]["calls"] for trace in ("trace_before", "trace")]
        assert spent == ([2, 1] if tour is HANDOFFS else [0, 0])  # the decision was paid by the first run
        steps = [pair["difference"] for pair in page["pairs"]]
        changed = next(at for at, pair in enumerate(page["pairs"]) if pair["difference"] != "same")
        assert page["pairs"][changed]["before"]["title"] == fork.step
        assert page["same_count"] == steps.count("same") >= changed
