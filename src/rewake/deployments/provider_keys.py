"""Keys of model providers that a loaded app will miss: the client library is imported, but its variable is not set.

A missing key shows only at the first model call, as a retry in the log while the caller waits. So it is reported at the
start. Read where handlers run, after the import: an app may set its environment itself (dotenv). Source of the names:
the clients' own documentation.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Container, Mapping
from typing import Final

_KEYS: Final = {
    "openai": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "google.genai": ("GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"),
    "mistralai": ("MISTRAL_API_KEY",),
    "groq": ("GROQ_API_KEY",),
}
"""Client library -> the variables of which one is enough."""


def missing_keys(modules: Container[str] | None = None, environ: Mapping[str, str] | None = None) -> list[str]:
    """The variables that are not set, the usual one of each imported client.

    modules, environ: this process' own by default. Some clients may have a key from elsewhere: it is a hint, no error.
    """
    modules = sys.modules if modules is None else modules
    environ = os.environ if environ is None else environ
    return [names[0] for client, names in _KEYS.items() if client in modules and not any(map(environ.get, names))]
