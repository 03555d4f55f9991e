"""What animals post to: the lab's other side."""

import json
import os
import urllib.request


def post(path: str, body: dict[str, object], key: str | None = None) -> str:
    """Post once, with an idempotency key or without."""
    request = urllib.request.Request(  # noqa: S310
        os.environ["CRASH_TEST_URL"] + path,
        json.dumps(body).encode(),
        {"content-type": "application/json"} | ({"idempotency-key": key} if key else {}),
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return str(json.load(answer)["number"])
