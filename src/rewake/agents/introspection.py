"""Which agents an app is made of: what each handler can reach in the objects of frameworks that are imported already.

A journal holds what a router chose, never what it could have chosen; the app does. Agents are found by walking from a
handler's function through what it names and what that holds, and are written into the handler's metadata, which the
SDK puts into discovery: so a server elsewhere learns of them too. Imports no framework and calls nothing of the
user's. Called before discovery; whatever fails here, discovery goes on without. Read by roster.py.
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
"""Of a handler: its agents, as JSON."""

OBJECTS_MAX: Final = 50_000
OBJECTS_PER_HANDLER_MIN: Final = 2_000
"""Objects looked at. An app's own are hundreds; a client library reached by chance has thousands."""

METADATA_CHARS_MAX: Final = 16_000
_AGENTS_MAX: Final = 64
_NAMES_MAX: Final = 64
_NAME_CHARS_MAX: Final = 200

_NOT_NAMES: Final = frozenset({"", "LangGraph"})
"""Names that frameworks give to an agent nobody named."""

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
                continue  # The user knows better; or this was here before.
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
    """Facts of the agents that a handler reaches, by name; of two with one name the first.

    One that has no name anywhere has the service's.
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
    """What create_agent made: a graph with a node for the model and one for its tools. No other graph is an agent."""
    node = graph.nodes.get("model")
    if node is None:
        return {}
    tools = getattr(getattr(graph.nodes.get("tools"), "bound", None), "tools_by_name", {})
    chat = getattr(sys.modules.get("langchain_core.language_models"), "BaseChatModel", ())
    walk = _walk(node, stop_at=lambda value: _is(value, chat), objects_max=OBJECTS_PER_HANDLER_MIN)
    model = next((value for value in walk if _is(value, chat)), None)
    return {"name": _agent_name(graph), "model": _model(model), "tools": _names(tools), "asks": _asks(graph, tools)}


def _asks(agent: Any, tools: dict[str, Any]) -> dict[str, str]:
    """Tools behind which another agent works, with its name. Agents as tools come back with an answer."""
    kinds: tuple[type[Any], ...] = tuple(kind for kind, _ in _describers())
    found = {}
    for name, tool in tools.items():
        for value in _walk(tool, stop_at=lambda value: _is(value, kinds), objects_max=OBJECTS_PER_HANDLER_MIN):
            if _is(value, kinds) and value is not agent and _agent_name(value) not in ("", _agent_name(agent)):
                found[_name(name)] = _agent_name(value)
                break
    return found


def _agent_name(agent: Any) -> str:
    """An agent's own name, else that of the variable which holds it in a module of the app."""
    own = _name(agent.name)
    return own if own not in _NOT_NAMES else _variable_of(agent)


def _variable_of(agent: Any) -> str:
    for name, module in list(sys.modules.items()):
        if type(module) is not types.ModuleType:  # a lazy one would come to life
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
    """What can be reached from an object, nearest first.

    Objects that stop_at accepts are given, but their content is not; `start` is always looked into.
    """
    seen = {id(start)}
    kept = [start]  # An id says who an object is as long as it lives.
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
    """As isinstance, without asking the object: a lazy one would come to life."""
    return issubclass(type(value), kinds)


def _children(value: Any) -> Iterable[Any]:
    """What an object holds, as the garbage collector sees it: no code of anybody runs."""
    if _is(value, types.FunctionType):
        return _function_children(value)
    return () if _is(value, (type, types.ModuleType)) else gc.get_referents(value)


def _function_children(function: types.FunctionType) -> Iterator[Any]:
    """Its closure; and of the user's own functions what their code names."""
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
    """Whether a function was installed or came with Python. Our examples are installed, and still an app."""
    if _is_example(str(function.__module__)):  # None of one that exec made
        return False
    return function.__code__.co_filename.startswith(_libraries())


def _is_example(module: str) -> bool:
    return module.startswith("rewake.examples")


@functools.cache
def _libraries() -> tuple[str, ...]:
    """Where installed code is. Looked up only where there are agents: a worker's start is the time of a resume."""
    import sysconfig

    return tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
