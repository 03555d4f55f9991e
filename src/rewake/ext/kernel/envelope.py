"""The persisted form of what agents do: one JSON object for each step of an agent, the same for all frameworks.

Stored data, read for ever: names and meanings here are pinned by tests; a change that old readers would get wrong gets
a new version. The adapters read it at replay, and so do pages, CLI and telemetry.

The result of a step of the agent layer is this object, in UTF-8 JSON without spaces:

    {"rewake": 1, "kind": "model", "framework": "openai-agents", "agent": "Medical", "path": ["Boss", "Medical"],
     "calls": ["call_1"], "model": "gpt-5", "usage": {"requests": 1, "input_tokens": 812, "output_tokens": 40},
     "request_id": "req_7", "handoff": "Billing", "fingerprint": "9f2c61d0a4b7e813", "value": {...}}

| field | in | meaning |
| --- | --- | --- |
| rewake | all | version of this form: 1. No other object that a step stores has this key beside `kind` |
| kind | all | what the step did: see `Kind` |
| framework | all | whose form `value` has: `openai-agents`, `pydantic-ai`, `vercel-ai`; `kernel` of the kernel |
| agent | most | name of the agent whose step it is; absent outside of any agent |
| path | most | agents from the outermost asker down to `agent`, which is the last. A handoff replaces the last one |
| calls | nested | ids of the tool calls that led here: `path[i + 1]` answers `calls[i]`. One shorter than `path` |
| call | tool, mcp, approval, handoff | id of the model's call that this step answers |
| tool | tool, mcp, approval, guardrail | name of the tool, or of the guardrail |
| server | mcp | name of the MCP server |
| model | model | name of the model that was asked, where known |
| usage | model, guardrail | integers: requests, input_tokens, output_tokens, cached_tokens, reasoning_tokens |
| request_id | model | the provider's id of the request |
| handoff | model | the agent that this answer hands over to |
| fingerprint | model, tool, mcp, approval | 16 hex digits: of instructions and tools, or of a call's arguments |
| attempts | all | how often the body ran in place before it succeeded, absent if once |
| branch | tool, guardrail, handoff | true: the body uses the context, its own entries follow, and `value` is null |
| value | all | what the framework gets back at replay, in the framework's own JSON form |

Absent fields are left out; readers ignore fields they do not know. Values by kind:

- `model`: openai-agents: the fields of its ModelResponse (`output`, `usage`, `response_id`, ...), or of the Responses
  API's `response` after a streamed call (`object: "response"`); pydantic-ai: its ModelResponse (`kind: "response"`);
  vercel-ai (packages/vercel-ai): in superjson's form what `doGenerate` gives, or `parts` of a stream, and `response`.
- `tool`, `mcp`: what the call returned, in the form of values.py; `{"$context": {...}, "$value": ...}` where it changed
  fields of the run's context. `mcp` without `call`: the list of tools.
- `order`: the ids of the calls let in; `[]` closes a round.
- `guardrail`: `{"tripped": false, "info": ...}`; of a tool: `{"behavior": {"type": ...}, "info": ...}`.
- `approval`: a question, open until the outcome follows: `{"id": ..., "awakeables": [ids to answer by], "question":
  text, "arguments": text, "digest": sha256 hex, "asked_at_ms": ..., "deadline_at_ms": ... or null, "who": [...],
  "quorum": 1}`, with `refused` and `answers` where it is asked again; `id` is the first awakeable, and stays. Outcome:
  `{"outcome": "approved" | "denied" | "expired", "id": ..., "digest": ..., "at_ms": ..., "who": ..., "why": ...,
  "answers": [{"approved": true, "who": ..., "why": ..., "at_ms": ...}]}`. One that waits between turns has `kept`, the
  id of its turn, in place of `awakeables`, and `definition`: see keeping.py. pydantic-ai's external events: `{"token":
  awakeable, "answer": what was answered at once, or null}`.
- `effect`: `{"effect": name, "key": ..., "state": ..., "at_ms": ...}`; the last one of a key counts. States: `sent`
  (the marker: it may be done from here on), `done` and `verified` with `result` (in the form of values.py), and `who`,
  `why` where a person said so; `failed` (refused) with `why` and `code`; `not_done` (not sent, to be tried again) and
  `unknown` with `why`; `undone`, `undo_failed` with `why`.
- `undoable`: no step, but the answer of a call that asks for it: `{"answer": text, "undo": [...]}`, or `base64` instead
  of `answer`. Each of `undo`: `{"service": ..., "key": of the object or null, "function": name, "args": [...],
  "kwargs": {...}, "name": of the effect, "step": ..., "effect": its key, "about": its envelope}`; see undoable.py.
- `handoff`: null; the agent that takes over is the field `handoff`.
- `steering`: `{"id": ..., "text": ...}`: a user's message that came while agents were at work, and that they read
  from here on.

Names of steps are `Agent: what`: `Intake: model`, `Medical: file_claim` (a tool), `Medical: guardrail relevance`,
`Medical: mcp files` (the list of tools), `Medical: read_file` (a call to it), `Intake: handoff Medical`, and `order`.
Of a question: `Medical: ask pay`, `Medical: notify pay`, `Medical: remind pay`, `Medical: answer pay`; outside of any
agent `ask`, `notify`, `remind`, `answer`. Of an effect: `Medical: send pay`, `Medical: effect pay`, `Medical: pause
pay`, `Medical: undo pay`; outside of any agent without its name. Of a message: `steering`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from restate.serde import Serde

VERSION: Final = 1
Kind = Literal[
    "model",
    "tool",
    "handoff",
    "decision",
    "approval",
    "guardrail",
    "mcp",
    "session",
    "order",
    "effect",
    "steering",
    "undoable",
]
_FINGERPRINT_BYTES: Final = 8


class EnvelopeUnreadable(Exception):
    """The stored result of a step is not an envelope, or of a version that is newer than this library."""


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """One step of an agent, as it is stored. The fields are those of the module's table."""

    kind: Kind
    framework: str
    value: Any = None
    agent: str | None = None
    path: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    call: str | None = None
    tool: str | None = None
    server: str | None = None
    model: str | None = None
    usage: dict[str, int] | None = None
    request_id: str | None = None
    handoff: str | None = None
    fingerprint: str | None = None
    attempts: int = 1
    branch: bool = False

    def with_value(self, value: Any, **fields: Any) -> Envelope:
        """The same step with its outcome. fields: what became known with it, such as usage."""
        return dataclasses.replace(self, value=value, **fields)


def as_json(envelope: Envelope) -> dict[str, Any]:
    """The object that is stored."""
    return {
        "rewake": VERSION,
        **{name: given for name in _FIELDS if (given := getattr(envelope, name)) not in _ABSENT[name]},
        "value": envelope.value,
    }


def encode(envelope: Envelope) -> bytes:
    """JSON. Raises TypeError or ValueError for a value that JSON cannot hold."""
    return json.dumps(as_json(envelope), ensure_ascii=False, separators=(",", ":")).encode()


def decode(stored: bytes) -> Envelope:
    """Raises EnvelopeUnreadable for anything else than an envelope of a known version."""
    try:
        told = json.loads(stored)
    except ValueError as problem:
        raise EnvelopeUnreadable(f"A step of an agent holds no JSON: {problem}.") from problem
    version = told.get("rewake") if isinstance(told, dict) else None
    if not isinstance(version, int) or "kind" not in told:
        raise EnvelopeUnreadable(
            "The journal has the result of another library where a step of rewake.ext was expected. The run began with "
            "other code: let it end on that code, or start it anew."
        )
    if version > VERSION:
        raise EnvelopeUnreadable(
            f"A step was stored in version {version} of the envelope; this library knows versions up to {VERSION}. "
            "Install a newer rewake where the handlers run."
        )
    known = {name: told[name] for name in (*_FIELDS, "value") if name in told}
    for name in ("path", "calls"):
        known[name] = tuple(known.get(name, ()))
    return Envelope(**known)


class EnvelopeSerde(Serde[Envelope]):
    """The SDK's serde for envelopes of steps."""

    def serialize(self, obj: Envelope | None) -> bytes:
        """JSON of an envelope."""
        return b"" if obj is None else encode(obj)

    def deserialize(self, buf: bytes) -> Envelope | None:
        """The envelope again."""
        return decode(buf) if buf else None


def fingerprint(*parts: Any) -> str:
    """16 hex digits that are equal for equal parts. parts: texts, or JSON values, which are compared by content."""
    digest = hashlib.blake2b(digest_size=_FINGERPRINT_BYTES)
    for part in parts:
        text = part if isinstance(part, str) else json.dumps(part, sort_keys=True, default=str)
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


_FIELDS: Final = tuple(field.name for field in dataclasses.fields(Envelope) if field.name != "value")
_ABSENT: Final[dict[str, tuple[Any, ...]]] = {
    name: (1,) if name == "attempts" else (None, (), {}, False) for name in _FIELDS
}
