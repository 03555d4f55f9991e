"""The sound apps: each Python app of the tour, as it is and with the other import where rewake.ext has it."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from rewake.examples import EXAMPLES
from rewake.testing.crash.playing import Call

TESTS: Final = Path(__file__).parents[1]
APPROVED: Final = '{"approved": true}'
OTHER_IMPORT: Final = re.compile(r"from restate\.ext\.(?=openai|pydantic)")


def sound_apps() -> Iterator[tuple[str, Call]]:
    """Their names, and what is called."""
    sys.path[:0] = [str(TESTS / each) for each in ("e2e", "conformance")]
    from tour import CHAIN, TOURS

    calls = {each.name: (each.path, each.ask(each.claim)) for each in (*TOURS, CHAIN)}
    calls["claim_approvals"] = ("/ClaimDesk/{key}/message", "My bumper is broken.")
    calls["chat_desk"] = ("/ChatDesk/{key}/turn", {"id": "m1", "text": "I was charged twice, I want a refund"})
    for example in EXAMPLES:
        if example.name in calls:
            yield from _with_each_import(example.folder, *calls[example.name])


def _with_each_import(folder: Path, path: str, body: object) -> Iterator[tuple[str, Call]]:
    service, *key, handler = path.format(key="ada").strip("/").split("/")
    call = Call(
        app=str(folder / "app.py"),
        service=service,
        key=key[0] if key else None,
        handler=handler,
        body=json.dumps(body),
        answer=APPROVED,
        rules=str(folder / "models.py"),
    )
    yield folder.name, call
    changed = {each.name: OTHER_IMPORT.sub("from rewake.ext.", each.read_text()) for each in folder.glob("*.py")}
    if any(code != (folder / name).read_text() for name, code in changed.items()):
        with tempfile.TemporaryDirectory() as place:
            copy = Path(shutil.copytree(folder, Path(place) / folder.name))
            for name, code in changed.items():
                (copy / name).write_text(code)
            yield f"{folder.name} on rewake.ext", msgspec.structs.replace(call, app=str(copy / "app.py"))
