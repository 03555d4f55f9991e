"""The resume rule, node by node and in trees, and the stored form of a tree."""

from __future__ import annotations

from itertools import product

import msgspec
import protocol_strategies as strategies
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewake.protocol.awaiting import (
    AWAIT_DEPTH_MAX,
    FAILURE,
    PENDING,
    SUCCESS,
    Lookup,
    Outcome,
    from_json,
    is_resolved,
    to_json,
    waiting_completions,
    waiting_signals,
)
from rewake.protocol.errors import ProtocolViolation
from rewake.protocol.messages import Combinator, Future

UNKNOWN = Combinator.UNKNOWN
FIRST = Combinator.FIRST_COMPLETED
ALL = Combinator.ALL_COMPLETED
FIRST_SUCCEEDED = Combinator.FIRST_SUCCEEDED_OR_ALL_FAILED
ALL_SUCCEEDED = Combinator.ALL_SUCCEEDED_OR_FIRST_FAILED


def known(completions: dict[int, Outcome] | None = None, signals: dict[int | str, Outcome] | None = None) -> Lookup:
    """A lookup that knows these notifications and no others."""

    def lookup(identity: int | str, is_signal: bool) -> Outcome:
        if is_signal:
            return (signals or {}).get(identity, PENDING)
        assert isinstance(identity, int)
        return (completions or {}).get(identity, PENDING)

    return lookup


@pytest.mark.parametrize(("left", "right"), list(product(Outcome, Outcome)))
def test_two_completions_under_each_combinator(left: Outcome, right: Outcome) -> None:
    both = {left, right}
    lookup = known({1: left, 2: right})
    assert is_resolved(Future((1, 2)), lookup) == (both != {PENDING})
    assert is_resolved(Future((1, 2), combinator=FIRST), lookup) == (both != {PENDING})
    assert is_resolved(Future((1, 2), combinator=ALL), lookup) == (PENDING not in both)
    assert is_resolved(Future((1, 2), combinator=FIRST_SUCCEEDED), lookup) == (SUCCESS in both or both == {FAILURE})
    assert is_resolved(Future((1, 2), combinator=ALL_SUCCEEDED), lookup) == (FAILURE in both or both == {SUCCESS})


def test_leaves_of_all_three_kinds_and_nested_nodes_are_children_alike() -> None:
    node = Future((1,), (17,), ("go",), (Future((2,), combinator=FIRST),), ALL)
    assert is_resolved(node, known({1: SUCCESS, 2: FAILURE}, {17: SUCCESS, "go": SUCCESS}))
    assert not is_resolved(node, known({2: SUCCESS}, {17: SUCCESS, "go": SUCCESS}))
    assert not is_resolved(node, known({1: SUCCESS, 2: SUCCESS}, {"go": SUCCESS}))
    assert not is_resolved(node, known({1: SUCCESS, 2: SUCCESS}, {17: SUCCESS}))
    assert not is_resolved(node, known({1: SUCCESS}, {17: SUCCESS, "go": SUCCESS}))


def test_a_signal_and_a_completion_of_one_number_differ() -> None:
    assert not is_resolved(Future((1,)), known(signals={1: SUCCESS}))
    assert not is_resolved(Future(signals=(1,)), known({1: SUCCESS}))


def test_a_gather_beside_implicit_cancellation() -> None:
    """What an SDK sends for gather(a, b): either everything or the cancel signal goes on."""
    root = Future(signals=(1,), nested=(Future((1, 2), combinator=ALL),), combinator=FIRST)
    assert not is_resolved(root, known({1: SUCCESS}))
    assert is_resolved(root, known({1: SUCCESS, 2: FAILURE}))
    assert is_resolved(root, known(signals={1: SUCCESS}))


def test_the_outcome_of_a_nested_node_counts() -> None:
    def beside_pending(child: Future, combinator: Combinator) -> Future:
        return Future((9,), nested=(child,), combinator=combinator)

    failed = Future((1, 2), combinator=FIRST_SUCCEEDED)
    lookup = known({1: FAILURE, 2: FAILURE})
    assert is_resolved(beside_pending(failed, ALL_SUCCEEDED), lookup)
    assert not is_resolved(beside_pending(failed, FIRST_SUCCEEDED), lookup)

    all_completed = Future((1, 2), combinator=ALL)
    assert not is_resolved(beside_pending(all_completed, ALL_SUCCEEDED), lookup)
    assert is_resolved(beside_pending(all_completed, FIRST_SUCCEEDED), lookup)


@pytest.mark.parametrize("combinator", [FIRST_SUCCEEDED, ALL_SUCCEEDED])
def test_what_only_the_sdk_can_tell_resumes_at_once(combinator: Combinator) -> None:
    mapped = Future(signals=(17,))
    race = Future((1, 2), combinator=FIRST)
    lookup = known({1: SUCCESS, 2: FAILURE}, {17: SUCCESS})
    for child in (mapped, race):
        inner = Future((9,), nested=(child,), combinator=combinator)
        assert is_resolved(inner, lookup)
        assert is_resolved(Future((8,), nested=(inner,), combinator=ALL), lookup)
        assert not is_resolved(inner, known())


def test_nodes_without_children() -> None:
    for combinator in (UNKNOWN, FIRST):
        assert not is_resolved(Future(combinator=combinator), known())
    for combinator in (ALL, FIRST_SUCCEEDED, ALL_SUCCEEDED):
        assert is_resolved(Future(combinator=combinator), known())


IDS = st.integers(1, 3)
SMALL_TREES = st.recursive(
    st.builds(Future, st.lists(IDS, max_size=2).map(tuple), combinator=st.sampled_from(Combinator)),
    lambda children: st.builds(
        Future,
        st.lists(IDS, max_size=2).map(tuple),
        nested=st.lists(children, max_size=3).map(tuple),
        combinator=st.sampled_from(Combinator),
    ),
    max_leaves=6,
)
OUTCOMES = st.dictionaries(IDS, st.sampled_from([SUCCESS, FAILURE]))


@given(SMALL_TREES, OUTCOMES, OUTCOMES)
def test_more_notifications_never_undo_a_resume(
    tree: Future, some: dict[int, Outcome], more: dict[int, Outcome]
) -> None:
    if is_resolved(tree, known(some)):
        assert is_resolved(tree, known(more | some))


@given(strategies.futures)
def test_everything_listed_is_found_flattened(tree: Future) -> None:
    def walk(node: Future) -> list[Future]:
        return [node, *(inner for child in node.nested for inner in walk(child))]

    nodes = walk(tree)
    assert list(waiting_completions(tree)) == list(dict.fromkeys(i for node in nodes for i in node.completions))
    signals = waiting_signals(tree)
    assert len(set(signals)) == len(signals)
    assert set(signals) == {signal for node in nodes for signal in (*node.signals, *node.named_signals)}


@given(strategies.futures)
def test_trees_survive_storing(tree: Future) -> None:
    text = to_json(tree)
    assert from_json(text) == tree
    assert from_json(text.encode()) == tree


def test_the_stored_form() -> None:
    tree = Future(
        signals=(1,), nested=(Future((1, 2), combinator=ALL), Future(named_signals=("go",))), combinator=FIRST
    )
    assert to_json(tree) == '[[2,[1,2],[],[],0],[0,[],[],["go"],0],[1,[],[1],[],2]]'
    with pytest.raises(msgspec.ValidationError):
        from_json('{"nested": []}')


def _nested(depth: int) -> Future:
    future = Future((1,))
    for _ in range(depth - 1):
        future = Future(nested=(future,))
    return future


def test_the_deepest_tree_allowed() -> None:
    tree = _nested(AWAIT_DEPTH_MAX)
    assert not is_resolved(tree, known())
    assert is_resolved(tree, known({1: SUCCESS}))
    assert to_json(from_json(to_json(tree))) == to_json(tree)
    assert waiting_completions(tree) == (1,)


def test_a_deeper_tree_is_refused() -> None:
    tree = _nested(AWAIT_DEPTH_MAX + 1)
    for look in (lambda: is_resolved(tree, known()), lambda: to_json(tree), lambda: waiting_signals(tree)):
        with pytest.raises(ProtocolViolation, match=f"deeper than {AWAIT_DEPTH_MAX}") as caught:
            look()
        assert caught.value.code == "RT0025"
