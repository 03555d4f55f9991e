"""ModelServerClient: counts, holds and releases calls of a model server in another process.

For tests and demos that kill the processes they test, so the counts must be kept outside. It makes blocking calls to
the control routes of app.py, and uses only the standard library.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, cast
from urllib.parse import quote, urlencode

from .script import CallCount
from .server import client_environment

WAIT_DEFAULT_S = 30.0
REPLY_GRACE_S = 5.0


class ModelServerClient:
    """A client of `python -m rewake.testing.models` at its printed URL.

    Every method raises ValueError for an unknown rule, and OSError if no server answers.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def env(self) -> dict[str, str]:
        """Environment variables that point model clients at that server."""
        return client_environment(self.url)

    def counts(self) -> dict[str, CallCount]:
        """Calls per rule."""
        found = cast(dict[str, dict[str, int]], self._ask("GET", "/_counts"))
        return {rule: CallCount(**count) for rule, count in found.items()}

    def requests(self, rule_name: str | None = None) -> list[dict[str, Any]]:
        """The recorded requests, oldest first, of all rules or of one."""
        query = "" if rule_name is None else f"?{urlencode({'rule': rule_name})}"
        return cast(list[dict[str, Any]], self._ask("GET", f"/_requests{query}"))

    def hold(self, rule_name: str) -> None:
        """Hold the calls of a rule until `release`."""
        self._ask("POST", f"/_hold/{quote(rule_name, safe='')}")

    def release(self, rule_name: str) -> None:
        """Answer the held calls, and answer later ones at once."""
        self._ask("POST", f"/_release/{quote(rule_name, safe='')}")

    def reset(self) -> None:
        """Clear all records and counts, and set the gates back to the rules' own."""
        self._ask("POST", "/_reset")

    def wait(self, rule_name: str, *, timeout_s: float = WAIT_DEFAULT_S, **at_least: int) -> None:
        """Return once the rule has so many calls `held`, `asked` or `answered`.   Raises TimeoutError.

        Without a number it waits for one held call: `client.wait("router")`, `client.wait("router", asked=2)`.
        """
        if unknown := set(at_least) - {"held", "asked", "answered"}:
            raise TypeError(f"wait() knows held, asked and answered, not {', '.join(sorted(unknown))}")
        query = urlencode({**at_least, "timeout_s": timeout_s})
        self._ask("GET", f"/_wait/{quote(rule_name, safe='')}?{query}", timeout_s + REPLY_GRACE_S)

    def _ask(self, method: str, path: str, timeout_s: float = WAIT_DEFAULT_S) -> Any:
        request = urllib.request.Request(f"{self.url}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as problem:
            body = json.load(problem)
            if problem.code == 408:
                raise TimeoutError(f"{path} timed out; so far: {body}") from None
            raise ValueError(body.get("error", body)) from None
