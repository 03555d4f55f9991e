"""The cost of a model call, from the price list of `genai-prices`, if installed. Unknown models have no price."""

from __future__ import annotations

import importlib
import importlib.util
from functools import lru_cache
from typing import Any, Final

from rewake.agents.replies import ModelReply

_PACKAGE: Final = "genai_prices"


def cost_of(reply: ModelReply, model: str | None = None) -> float | None:
    """US dollars; None if the model or its price is not known. model: used if the reply names no model."""
    model = reply.model or model
    if model is None or reply.input_tokens is None or reply.output_tokens is None:
        return None
    rate = _rate(model, reply.provider)
    if rate is None:
        return None
    return (reply.input_tokens * rate[0] + reply.output_tokens * rate[1]) / 1_000_000


@lru_cache(maxsize=1)
def has_list() -> bool:
    """Whether a price list is installed."""
    return importlib.util.find_spec(_PACKAGE) is not None


@lru_cache(maxsize=256)
def _rate(model: str, provider: str | None) -> tuple[float, float] | None:
    """Dollars for a million input tokens and for a million output tokens."""
    try:
        prices: Any = importlib.import_module(_PACKAGE)
        usage = prices.Usage
        parts = [
            prices.calc_price(usage(input_tokens=into, output_tokens=out), model_ref=model, provider_id=provider)
            for into, out in ((1_000, 0), (0, 1_000))
        ]
    except (ImportError, LookupError, ValueError, AttributeError, TypeError):
        return None
    return float(parts[0].total_price) * 1_000, float(parts[1].total_price) * 1_000
