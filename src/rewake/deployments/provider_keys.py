"""Missing keys of model providers: the app has imported a client library, but its variable is not set.

Without this check a missing key shows only at the first model call, as a retry in the log while the caller waits. So it
is reported at the start. The check runs in the handlers' process after the import, since an app may set its environment
itself (dotenv). Source of the names: the clients' own documentation.
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
"""Client library -> its variables; one of them is enough."""


def missing_keys(modules: Container[str] | None = None, environ: Mapping[str, str] | None = None) -> list[str]:
    """The missing variables, the usual one for each imported client.

    modules, environ: this process's by default. This is only a hint: a client may get its key from elsewhere.
    """
    modules = sys.modules if modules is None else modules
    environ = os.environ if environ is None else environ
    return [names[0] for client, names in _KEYS.items() if client in modules and not any(map(environ.get, names))]
