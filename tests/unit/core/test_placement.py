"""Where an attempt runs, what it speaks, and how much state it begins with."""

from __future__ import annotations

import msgspec
import pytest
from tests.unit.core.play import Play, deployment, target_of

from rewake.core import commands, placement
from rewake.core.ids import DeploymentId, InvocationId
from rewake.core.model import AttemptError, Invocation
from rewake.core.settings import EAGER_STATE_BYTES_MAX, Settings


def invocation(path: str, **fields: object) -> Invocation:
    made = Invocation(InvocationId(b"1" * 24), target_of(path), 0, 0)
    return msgspec.structs.replace(made, **fields)


def test_the_newest_deployment_in_the_newest_version_both_speak(play: Play) -> None:
    play.register(deployment("dp2", version_min=5, version_max=6))
    found = placement.deployment_and_version(play.state, invocation("greeter/greet"))
    assert found == (play.state.deployments["dp2"], 6)
    found = placement.deployment_and_version(Play(Settings(protocol_version_max=5)).state, invocation("greeter/greet"))
    assert isinstance(found, tuple) and found[1] == 5


def test_what_is_pinned_stays_where_it_is(play: Play) -> None:
    play.register(deployment("dp2"))
    pinned = invocation("greeter/greet", pinned_deployment_id=DeploymentId("dp1"), pinned_version=5)
    assert placement.deployment_and_version(play.state, pinned) == (play.state.deployments["dp1"], 5)


def test_nowhere_to_run(play: Play) -> None:
    gone = invocation("greeter/greet", pinned_deployment_id=DeploymentId("dp9"))
    assert placement.deployment_and_version(play.state, gone) == AttemptError(500, placement.DEPLOYMENT_GONE, "RT0011")
    play.remove_deployment()
    nowhere = invocation("greeter/greet")
    assert placement.deployment_and_version(play.state, nowhere) == AttemptError(500, placement.NO_DEPLOYMENT, "RT0011")


@pytest.mark.parametrize(
    ("asked", "found"), [("latest", "dp2"), ("dp1", "dp1"), ("dp9", None)], ids=["latest", "by_id", "unknown"]
)
def test_a_deployment_that_an_operator_names(play: Play, asked: str, found: str | None) -> None:
    play.register(deployment("dp2"))
    assert placement.deployment_named(play.state, target_of("greeter/greet"), asked) == found


def test_a_service_whose_deployment_is_unknown_has_no_latest_one(play: Play) -> None:
    play.state.deployments.clear()
    assert placement.deployment_named(play.state, target_of("greeter/greet"), "latest") is None


def test_eager_state_up_to_its_limit(play: Play) -> None:
    """In the order of names; what does not fit is asked for by the handler."""
    begun = invocation("cart/a/add")
    fits = {b"a": b"", b"b": bytes(EAGER_STATE_BYTES_MAX - 2)}
    for state, expected in (
        ({}, ((), False)),
        (fits, (tuple(fits.items()), False)),
        (fits | {b"c": b""}, (tuple(fits.items()), True)),
    ):
        play.token += 1
        play.submit(
            commands.MutateState(
                now_ms=play.now_ms, token=play.token, service="cart", key="a", new_state=state, expected_version=None
            )
        )
        assert placement.eager_state(play.state, begun) == expected
        play.commit()
