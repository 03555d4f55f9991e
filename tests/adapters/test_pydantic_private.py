"""What rewake.ext.pydantic uses beyond the public interfaces, each with what breaks without it.

Run with the oldest and the newest version by `make frameworks`: a version that changes one of them fails here, by name.
"""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path
from typing import Any

import pytest
import restate.ext.pydantic as official
from packaging.requirements import Requirement
from packaging.version import Version
from pydantic_ai import Agent, __version__, capabilities
from pydantic_ai.durable_exec import BaseDurabilityCapability, _utils
from pydantic_ai.durable_exec._toolset import unwrap_tool_call_result, wrap_tool_call_result
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import StreamedResponse
from pydantic_ai.tool_manager import ToolManager
from pydantic_ai.toolsets import AbstractToolset, FunctionToolset

import rewake.ext.pydantic as ours
from rewake.ext.pydantic.taking_over import _HAS_SPOKEN

ROOT = Path(__file__).parents[2]


def test_this_version_is_one_that_we_claim() -> None:
    """And the oldest one of the claim is the one that `make frameworks` runs."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["pydantic"]
    [claim] = [Requirement(each) for each in extras if "pydantic-ai-slim" in each and "restate" not in each]
    [oldest] = [each.version for each in claim.specifier if each.operator == ">="]
    assert Version(__version__) in claim.specifier
    assert f"pydantic-ai-slim=={oldest}.0 " in (ROOT / "tools/test-frameworks.sh").read_text()


def test_the_official_extensions_names_exist_here() -> None:
    assert set(official.__all__) <= set(ours.__all__)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_find_model_id", ["model"]),  # durability.py: a model object given for one run is found again by its id
        ("_dispatch_event_stream_event", ["ctx", "event"]),  # durability.py: events while tools run make no steps
        ("_effective_event_stream_handler", []),
        ("_build_durable_model", ["ctx", "request_context"]),  # live.py: streams are live
    ],
)
def test_the_base_calls_what_we_override(name: str, parameters: list[str]) -> None:
    found = inspect.signature(getattr(BaseDurabilityCapability, name))
    assert [*found.parameters] == ["self", *parameters]


def test_the_body_of_a_streamed_request_asks_who_hears_it() -> None:
    """live.py: from here the events go to the stream."""
    assert "_model_stream_event_handler()" in inspect.getsource(BaseDurabilityCapability)


def test_a_stream_keeps_its_parts() -> None:
    """live.py: a stream before its end gives the parts that have come, and is finished when its answer is stored."""
    fields = inspect.get_annotations(StreamedResponse)
    assert {"_event_iterator", "_finished"} <= {*fields}
    assert hasattr(StreamedResponse, "_parts_manager")


def test_one_event_can_be_given_as_a_stream() -> None:
    """durability.py: as handlers of events take them."""
    assert inspect.isasyncgenfunction(BaseDurabilityCapability._single_event_stream)


def test_results_of_tools_cross_as_values() -> None:
    """wrappers.py: `ModelRetry` and its like are stored as what they are."""
    assert callable(wrap_tool_call_result) and callable(unwrap_tool_call_result)


def test_the_users_mode_of_parallel_calls_can_be_asked_for() -> None:
    """durability.py: `sequential` of the user is respected."""
    assert ToolManager.get_parallel_execution_mode(None) == "parallel"  # type: ignore[arg-type]  # reads a contextvar


def test_an_agents_toolsets_are_registered_by_id() -> None:
    """toolsets.py: others, of one run, are made durable in the same way."""
    durability = ours.RewakeDurability[None]()
    bound: Any = durability.for_agent(Agent("test", name="desk", tools=[len], capabilities=[durability]))
    [registered] = bound._toolsets_by_id.values()
    assert type(bound._wrap_leaf_toolset(FunctionToolset([len], id="late"))) is type(registered)
    assert registered.visit_and_replace(lambda leaf: leaf) is registered


def test_toolsets_may_have_no_id_and_get_one() -> None:
    """agent.py: `RestateAgent` names them by their place, as the official extension asks for no ids."""
    toolset = FunctionToolset[None]([])
    assert toolset._explicit_id is None
    toolset._id = "toolset-1"
    assert toolset.id == toolset._explicit_id == "toolset-1"
    assert isinstance(toolset, AbstractToolset)


def test_a_capability_of_models_knows_which_are_left() -> None:
    """taking_over.py: the failure of the last one is no other model's turn."""
    if not hasattr(capabilities, "ModelFallback"):
        pytest.skip("this version has no such capability")
    assert capabilities.ModelFallback("test")._remaining == ["test"]


def test_an_error_of_a_stream_that_has_spoken_is_marked() -> None:
    """taking_over.py: no other model takes over from there."""
    if not hasattr(_utils, "mark_streamed_before_failing"):
        pytest.skip("this version does not mark it")
    error = ModelHTTPError(503, "some-model")
    _utils.mark_streamed_before_failing(error, ModelResponse(parts=[]))
    assert hasattr(error, _HAS_SPOKEN)
