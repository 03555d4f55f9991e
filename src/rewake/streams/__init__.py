"""Live streams of runs: a side log beside the journal, of what handlers say while a step runs, and the engine's marks.

events.py     what a reader gets: the vocabulary, as structs and as JSON

Deltas are for people who watch; nothing durable depends on them. The marks come from the engine's commits, so they are
true even when a handler dies; the final text is always the journal's.

A handler writes to the URL in its attempt's header `x-rewake-stream`, one request for each try of a step:

    POST {url}, content-type application/x-ndjson, transfer-encoding chunked
    {"step": "Intake: model", "kind": "model", "agent": "Intake"}
    "Hel"
    "lo"
    {"type": "response.function_call_arguments.delta", "delta": "{"}

The first line names the step as it is called in the journal; kind and agent are optional. Every further line is one
delta: a JSON string is text, any other JSON value is the framework's own event. A body that ends with its last chunk
has said all; one that is cut shows that its try has failed, and its deltas are void. The URL is enough to write: it
holds a capability for this attempt of this invocation, and nothing else. See docs/reference/streams.md.
"""
