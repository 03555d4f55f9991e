"""provider_keys: a hint for each client that is imported and has no key."""

from __future__ import annotations

import pytest

from rewake.deployments.provider_keys import missing_keys


@pytest.mark.parametrize(
    ("modules", "environ", "missing"),
    [
        ({"openai"}, {}, ["OPENAI_API_KEY"]),
        ({"openai"}, {"OPENAI_API_KEY": ""}, ["OPENAI_API_KEY"]),
        ({"openai"}, {"OPENAI_API_KEY": "sk"}, []),
        ({"google.genai", "openai"}, {"GEMINI_API_KEY": "k"}, ["OPENAI_API_KEY"]),
        ({"json"}, {}, []),
    ],
)
def test_missing_keys(modules: set[str], environ: dict[str, str], missing: list[str]) -> None:
    assert missing_keys(modules, environ) == missing
