"""What rewake.ext.pydantic uses beyond the public interfaces, each with what breaks without it.

Run with the oldest and the newest version by `make frameworks`: a version that changes one of them fails here, by name.
"""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path

import pytest
import restate.ext.pydantic as official
from packaging.requirements import Requirement
from packaging.version import Version
from pydantic_ai import __version__
from pydantic_ai.durable_exec import BaseDurabilityCapability
from pydantic_ai.durable_exec._toolset import unwrap_tool_call_result, wrap_tool_call_result
from pydantic_ai.models import StreamedResponse
from pydantic_ai.tool_manager import ToolManager
from pydantic_ai.toolsets import AbstractToolset, FunctionToolset

import rewake.ext.pydantic as ours

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


def test_toolsets_may_have_no_id_and_get_one() -> None:
    """agent.py: `RestateAgent` names them by their place, as the official extension asks for no ids."""
    toolset = FunctionToolset[None]([])
    assert toolset._explicit_id is None
    toolset._id = "toolset-1"
    assert toolset.id == toolset._explicit_id == "toolset-1"
    assert isinstance(toolset, AbstractToolset)
