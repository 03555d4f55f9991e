"""Finds the agents of an app: those that each handler reaches, among the objects of imported frameworks.

A journal has a router's choice, but not its candidates; the app has them. This walks from a handler's function through
the objects it names, and writes the agents into the handler's metadata. The SDK puts that into discovery, so other
servers get it too. It imports no framework and calls no code of the user. Called before discovery; a failure here is
ignored. roster.py reads the metadata.
"""

from __future__ import annotations

import functools
import gc
import json
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

METADATA_KEY: Final = "rewake.agents"
"""Key of a handler's metadata with its agents, as JSON."""

OBJECTS_MAX: Final = 50_000
OBJECTS_PER_HANDLER_MIN: Final = 2_000
"""Objects to visit. An app has hundreds; a client library that is reached by chance has thousands."""

METADATA_CHARS_MAX: Final = 16_000
_AGENTS_MAX: Final = 64
_NAMES_MAX: Final = 64
_NAME_CHARS_MAX: Final = 200

_NOT_NAMES: Final = frozenset({"", "LangGraph"})
"""Names that frameworks give to unnamed agents."""

_PLAIN: Final = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis))

Facts = dict[str, Any]
Describer = tuple[type, Callable[[Any], Facts]]
"""A class of agents, and the function that describes one."""


def tell_agents(app: Any) -> None:
    """Write the agents of each handler of an ASGI app into the handler's metadata. Never raises."""
    try:
        describers = _describers()
        if not describers:
            return
        handlers = list(_handlers_of(app))
        entries = {id(handler.fn) for handler in handlers}
        objects_max = max(OBJECTS_MAX // max(len(handlers), 1), OBJECTS_PER_HANDLER_MIN)
        for handler in handlers:
            if METADATA_KEY in (handler.metadata or {}):
                continue  # Set by the user, or by an earlier call.
            agents = _agents_of(handler, entries - {id(handler.fn)}, describers, objects_max)
            found = json.dumps(agents, ensure_ascii=False)
            if agents and len(found) <= METADATA_CHARS_MAX:
                handler.metadata = {**(handler.metadata or {}), METADATA_KEY: found}
    except Exception:  # noqa: BLE001  # an app is the user's, and may be anything: discovery matters more than this.
        return


def _handlers_of(app: Any) -> Iterator[Any]:
    """The SDK's handlers, of the endpoints that an app holds, through middleware too."""
    endpoint = getattr(sys.modules.get("restate.endpoint"), "Endpoint", None)
    if endpoint is None:
        return
    for found in _walk(app, stop_at=lambda value: _is(value, endpoint), objects_max=OBJECTS_PER_HANDLER_MIN):
        if _is(found, endpoint):
            for service in found.services.values():
                yield from service.handlers.values()


def _agents_of(handler: Any, others: set[int], describers: list[Describer], objects_max: int) -> list[Facts]:
    """Facts of the agents that a handler reaches; of two with one name the first.

    An agent without any name gets the service's.
    """
    facts: dict[str, Facts] = {}
    for value in _walk(handler.fn, stop_at=lambda value: id(value) in others, objects_max=objects_max):
        described = _described(value, describers, _name(handler.service_tag.name))
        if described is not None and described["name"] not in facts and len(facts) < _AGENTS_MAX:
            facts[described["name"]] = described
    return [facts[name] for name in sorted(facts)]


# The frameworks


def _describers() -> list[Describer]:
    """The class of agents and the describing function of each framework that is imported."""
    known = (
        ("agents", "Agent", _openai_agent),
        ("google.adk.agents", "LlmAgent", _adk_agent),
        ("pydantic_ai", "Agent", _pydantic_agent),
        ("langgraph.graph.state", "CompiledStateGraph", _langchain_agent),
    )
    found = ((getattr(sys.modules.get(module), name, None), tell) for module, name, tell in known)
    return [(kind, tell) for kind, tell in found if isinstance(kind, type)]


def _described(value: Any, describers: list[Describer], service: str) -> Facts | None:
    for kind, tell in describers:
        if _is(value, kind):
            try:
                facts = {name: fact for name, fact in tell(value).items() if fact}
            except Exception:  # noqa: BLE001  # a release that is not as those known: leave the agent out
                return None
            return {"name": service} | facts if facts else None
    return None


def _openai_agent(agent: Any) -> Facts:
    handoffs = [getattr(item, "agent_name", None) or getattr(item, "name", None) for item in agent.handoffs]
    named = {_name(item.tool_name): _name(item.agent_name) for item in agent.handoffs if hasattr(item, "tool_name")}
    return {
        "name": _name(agent.name),
        "model": _model(agent.model) or _openai_default(),
        "is_default_model": not _model(agent.model),
        "handoffs": _names(handoffs),
        "handoff_tools": named,
        "tools": _names(getattr(tool, "name", None) for tool in agent.tools),
        "asks": _asks(agent, {tool.name: tool for tool in agent.tools}),
    }


def _openai_default() -> str:
    models = sys.modules.get("agents.models")
    default = getattr(models, "get_default_model", None)
    return _name(default()) if callable(default) else ""


def _adk_agent(agent: Any) -> Facts:
    handoffs = [item.name for item in agent.sub_agents]
    parent = agent.parent_agent
    if parent is not None:  # ADK lets an agent go back to its parent and over to its siblings.
        if not getattr(agent, "disallow_transfer_to_parent", False):
            handoffs.append(parent.name)
        if not getattr(agent, "disallow_transfer_to_peers", False):
            handoffs += [item.name for item in parent.sub_agents if item is not agent]
    tools = {_tool_name(tool): tool for tool in agent.tools}
    return {
        "name": _name(agent.name),
        "model": _model(agent.model),
        "handoffs": _names(handoffs),
        "tools": _names(tools),
        "asks": _asks(agent, tools),
        "parent": _name(parent.name) if parent is not None else "",
    }


def _pydantic_agent(agent: Any) -> Facts:
    tools = {name: tool for toolset in agent.toolsets for name, tool in getattr(toolset, "tools", {}).items()}
    return {
        "name": _agent_name(agent),
        "model": _model(agent.model),
        "tools": _names(tools),
        "asks": _asks(agent, tools),
    }


def _langchain_agent(graph: Any) -> Facts:
    """An agent of create_agent: a graph with nodes for the model and for its tools. Other graphs are not agents."""
    node = graph.nodes.get("model")
    if node is None:
        return {}
    tools = getattr(getattr(graph.nodes.get("tools"), "bound", None), "tools_by_name", {})
    chat = getattr(sys.modules.get("langchain_core.language_models"), "BaseChatModel", ())
    walk = _walk(node, stop_at=lambda value: _is(value, chat), objects_max=OBJECTS_PER_HANDLER_MIN)
    model = next((value for value in walk if _is(value, chat)), None)
    return {"name": _agent_name(graph), "model": _model(model), "tools": _names(tools), "asks": _asks(graph, tools)}


def _asks(agent: Any, tools: dict[str, Any]) -> dict[str, str]:
    """Tools that run another agent -> that agent's name. Such agents return an answer."""
    kinds: tuple[type[Any], ...] = tuple(kind for kind, _ in _describers())
    found = {}
    for name, tool in tools.items():
        for value in _walk(tool, stop_at=lambda value: _is(value, kinds), objects_max=OBJECTS_PER_HANDLER_MIN):
            if _is(value, kinds) and value is not agent and _agent_name(value) not in ("", _agent_name(agent)):
                found[_name(name)] = _agent_name(value)
                break
    return found


def _agent_name(agent: Any) -> str:
    """An agent's name, else the name of its variable in a module of the app."""
    own = _name(agent.name)
    return own if own not in _NOT_NAMES else _variable_of(agent)


def _variable_of(agent: Any) -> str:
    for name, module in list(sys.modules.items()):
        if type(module) is not types.ModuleType:  # access would load a lazy module
            continue
        held = vars(module)
        path = held.get("__file__")
        if isinstance(path, str) and (not path.startswith(_libraries()) or _is_example(name)):
            found = next((variable for variable, value in list(held.items()) if value is agent), "")
            if found:
                return _name(found.strip("_"))
    return ""


def _model(model: Any) -> str:
    """The name of a model given by name or as an object."""
    if isinstance(model, str):
        return _name(model.rpartition(":")[2] if ":" in model and "/" not in model else model)
    for attribute in ("model_name", "model"):
        named = getattr(model, attribute, None)
        if isinstance(named, str):
            return _name(named)
    return ""


def _tool_name(tool: Any) -> str:
    return _name(getattr(tool, "name", None)) or _name(getattr(tool, "__name__", None))


def _names(values: Any) -> list[str]:
    return [name for name in dict.fromkeys(map(_name, values)) if name][:_NAMES_MAX]


def _name(value: Any) -> str:
    return value[:_NAME_CHARS_MAX] if isinstance(value, str) else ""


# Walking


def _walk(start: Any, *, stop_at: Callable[[Any], bool], objects_max: int) -> Iterator[Any]:
    """All objects reachable from `start`, nearest first.

    Objects that stop_at accepts are returned, but not their content; the content of `start` always is.
    """
    seen = {id(start)}
    kept = [start]  # Keeps objects alive: an id is unique only among living objects.
    queue = deque([start])
    while queue:
        value = queue.popleft()
        yield value
        if value is not start and stop_at(value):
            continue
        for child in _children(value):
            if not _is(child, _PLAIN) and id(child) not in seen and len(seen) < objects_max:
                seen.add(id(child))
                kept.append(child)
                queue.append(child)


def _is(value: Any, kinds: type | tuple[type, ...]) -> bool:
    """Like isinstance, without access to the object's attributes, which would load a lazy one."""
    return issubclass(type(value), kinds)


def _children(value: Any) -> Iterable[Any]:
    """An object's references from the garbage collector, so no code of the user runs."""
    if _is(value, types.FunctionType):
        return _function_children(value)
    return () if _is(value, (type, types.ModuleType)) else gc.get_referents(value)


def _function_children(function: types.FunctionType) -> Iterator[Any]:
    """A function's closure, and for the user's own functions the objects that their code names."""
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # Not filled yet.
            continue
    if _is_library(function):
        return
    for names in _names_in(function.__code__):
        for position, name in enumerate(names):
            value = function.__globals__.get(name)
            if _is(value, types.ModuleType):
                yield from (vars(value).get(other) for other in names[position:])
            else:
                yield value


def _names_in(code: types.CodeType) -> Iterator[tuple[str, ...]]:
    """The names of a function's code and of the functions inside it."""
    yield code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


def _is_library(function: types.FunctionType) -> bool:
    """Whether a function is installed or part of Python. Our installed examples count as apps."""
    if _is_example(str(function.__module__)):  # None of one that exec made
        return False
    return function.__code__.co_filename.startswith(_libraries())


def _is_example(module: str) -> bool:
    return module.startswith("rewake.examples")


@functools.cache
def _libraries() -> tuple[str, ...]:
    """Folders of installed code. Computed only if there are agents, since a worker's start delays a resume."""
    import sysconfig

    return tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
