"""What counts as another definition of a tool: of function toolsets, wherever they are wrapped, and of others."""

from __future__ import annotations

from typing import Any

import pytest
import restate
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
from pydantic_ai.toolsets import AbstractToolset, ExternalToolset, FunctionToolset, WrapperToolset

from rewake.ext.pydantic import BetweenTurns


def definition(tool: str, *toolsets: AbstractToolset[Any]) -> str:
    agent = Agent(TestModel(), name="Claims", toolsets=toolsets)
    return BetweenTurns(restate.VirtualObject("Desk"), agent).definition({"tool": tool})


def pay(description: str = "Pay a claim.") -> FunctionToolset[Any]:
    made = FunctionToolset[Any]()

    @made.tool_plain(description=description)
    def pay(amount: int) -> str:
        return f"paid {amount}"

    return made


def test_a_renamed_tool_counts_with_its_description_and_arguments() -> None:
    changed = pay("Pay two claims.")
    for name, wrapped, wrapped_anew in (
        ("pay", pay(), changed),
        ("bank_pay", pay().prefixed("bank"), changed.prefixed("bank")),
        ("spend", pay().renamed({"spend": "pay"}), changed.renamed({"spend": "pay"})),
        ("bank_spend", pay().renamed({"spend": "pay"}).prefixed("bank").filtered(lambda ctx, tool: True),
         changed.renamed({"spend": "pay"}).prefixed("bank").filtered(lambda ctx, tool: True)),
    ):  # fmt: skip
        assert definition(name, wrapped) == definition(name, wrapped)
        assert definition(name, wrapped) != definition(name, wrapped_anew), name


@pytest.mark.parametrize("toolset", [pay().prefixed("bank"), pay().renamed({"spend": "pay"})])
def test_a_tool_that_is_gone(toolset: AbstractToolset[Any]) -> None:
    """Under its old name it is gone, too: the model's call would find nothing."""
    with pytest.raises(LookupError, match="has no tool 'pay' any more"):
        definition("pay", toolset)


@pytest.mark.parametrize("other", [ExternalToolset[Any]([]), WrapperToolset(FunctionToolset[Any]())])
def test_toolsets_that_list_their_tools_in_a_run_may_have_any(other: AbstractToolset[Any]) -> None:
    """Such a tool counts by its name; the definition of another one is still known."""
    assert definition("elsewhere", other) != definition("pay", other)
    assert definition("pay", other) != definition("pay", other, pay()) == definition("pay", pay())
