"""Awaits: decides whether a suspended invocation can go on, and stores its await tree.

`is_resolved` gets a Future and a lookup from id to outcome. In doubt it returns True: a resume that is too early costs
one replay, one that is too late is a lost wake-up. The caller's lookup knows only notifications that the last attempt
was not sent. No function here recurses; a tree deeper than AWAIT_DEPTH_MAX is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final, TypeAlias, assert_never

import msgspec

from rewake.protocol.errors import AWAIT_TREE_TOO_DEEP, ProtocolViolation
from rewake.protocol.messages import Combinator, Future

AWAIT_DEPTH_MAX: Final = 1000


class Outcome(Enum):
    """The known outcome of one awaited thing. Void, a value, an id and keys all count as success."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"


PENDING: Final = Outcome.PENDING
SUCCESS: Final = Outcome.SUCCESS
FAILURE: Final = Outcome.FAILURE

Lookup: TypeAlias = Callable[[int | str, bool], Outcome]
"""Outcome of (id, is_signal): a completion id, or the index or name of a signal."""


class _Undetermined(Enum):
    """Resolved, but only the SDK can determine whether with success or failure."""

    UNDETERMINED = "undetermined"


UNDETERMINED: Final = _Undetermined.UNDETERMINED

_NodeOutcome: TypeAlias = Outcome | _Undetermined
_FlatNode: TypeAlias = tuple[int, tuple[int, ...], tuple[int, ...], tuple[str, ...], int]


def too_deep() -> ProtocolViolation:
    """The error for a tree that no SDK builds by accident."""
    return ProtocolViolation(f"await tree is deeper than {AWAIT_DEPTH_MAX} levels", AWAIT_TREE_TOO_DEEP)


def is_resolved(future: Future, lookup: Lookup) -> bool:
    """Whether the await `future` can go on. Raises ProtocolViolation RT0025 if the tree is too deep.

    Source: service-protocol 5.4. A child that is resolved but undetermined under a combinator that must know
    success from failure resumes the whole await at once.
    """
    outcomes: list[_NodeOutcome] = []
    for node in _bottom_up(future) if future.nested else (future,):
        split = len(outcomes) - len(node.nested)
        children = outcomes[split:]
        del outcomes[split:]
        children.extend(lookup(number, False) for number in node.completions)
        children.extend(lookup(index, True) for index in node.signals)
        children.extend(lookup(name, True) for name in node.named_signals)
        outcome = _combine(node.combinator, children)
        if outcome is None:
            return True
        outcomes.append(outcome)
    return outcomes.pop() is not PENDING


def _combine(combinator: Combinator, children: list[_NodeOutcome]) -> _NodeOutcome | None:
    """Outcome of a node from those of its children; None if only the SDK can determine whether it is resolved."""
    resolved: list[_NodeOutcome] = [child for child in children if child is not PENDING]
    match combinator:
        case Combinator.UNKNOWN:
            return UNDETERMINED if resolved else PENDING
        case Combinator.FIRST_COMPLETED:
            # The order in which they came is not known here, so the outcome is known only if all agree.
            if not resolved:
                return PENDING
            return resolved[0] if len(set(resolved)) == 1 else UNDETERMINED
        case Combinator.ALL_COMPLETED:
            return SUCCESS if len(resolved) == len(children) else PENDING
        case Combinator.FIRST_SUCCEEDED_OR_ALL_FAILED:
            return _until(SUCCESS, FAILURE, children, resolved)
        case Combinator.ALL_SUCCEEDED_OR_FIRST_FAILED:
            return _until(FAILURE, SUCCESS, children, resolved)
        case _:
            assert_never(combinator)


def _until(
    first: Outcome, otherwise: Outcome, children: list[_NodeOutcome], resolved: list[_NodeOutcome]
) -> _NodeOutcome | None:
    """`first` as soon as one child is, `otherwise` once all children are."""
    if first in resolved:
        return first
    if UNDETERMINED in resolved:
        return None
    return otherwise if len(resolved) == len(children) else PENDING


def waiting_completions(future: Future) -> tuple[int, ...]:
    """Completion ids anywhere in the tree, each once, in the order they appear."""
    return tuple(dict.fromkeys(number for node in _top_down(future) for number in node.completions))


def waiting_signals(future: Future) -> tuple[int | str, ...]:
    """Signals anywhere in the tree, by index or name, each once, in the order they appear."""
    found: dict[int | str, None] = {}
    for node in _top_down(future):
        found.update(dict.fromkeys(node.signals))
        found.update(dict.fromkeys(node.named_signals))
    return tuple(found)


def to_json(future: Future) -> str:
    """`future` as stored: its nodes from the leaves up, each with the count of the nodes before it that it contains."""
    nodes: list[_FlatNode] = [
        (int(node.combinator), node.completions, node.signals, node.named_signals, len(node.nested))
        for node in _bottom_up(future)
    ]
    return msgspec.json.encode(nodes).decode()


def from_json(text: str | bytes) -> Future:
    """The tree in text of `to_json`. Raises msgspec.ValidationError for any other text."""
    nodes = msgspec.json.decode(text, type=list[_FlatNode])
    built: list[Future] = []
    for combinator, completions, signals, named_signals, nested_count in nodes:
        split = len(built) - nested_count
        nested = tuple(built[split:])
        del built[split:]
        built.append(Future(completions, signals, named_signals, nested, Combinator(combinator)))
    return built.pop()


def _top_down(future: Future) -> list[Future]:
    """Every node, parents before their children, siblings in order."""
    return _walk(future, lambda node: reversed(node.nested))


def _bottom_up(future: Future) -> list[Future]:
    """Every node in post-order, so a node's children come just before it."""
    return _walk(future, lambda node: node.nested)[::-1]


def _walk(future: Future, pushed: Callable[[Future], Iterable[Future]]) -> list[Future]:
    nodes = []
    stack = [(future, 1)]
    while stack:
        node, depth = stack.pop()
        if depth > AWAIT_DEPTH_MAX:
            raise too_deep()
        nodes.append(node)
        stack.extend((child, depth + 1) for child in pushed(node))
    return nodes
