"""Live streams of runs: a log beside the journal, with deltas from handlers and marks from the engine's commits.

events.py   the events that a reader gets           marks.py     commits become marks; pure
hub.py      the streams of one engine               run_log.py   the stream of one run while it is in use
files.py    the side log on disk                    offers.py    the URL that an attempt writes to
writers.py  lines of a request become deltas        sending.py   a stream as server-sent events
live_text.py  the text that a person sees

Deltas are for people who watch; nothing durable depends on them. Marks stay true when a handler dies, because they come
from commits. The final text is always the journal's.

A handler writes to the URL in its attempt's header `x-rewake-stream`, one request for each try of a step:

    POST {url}, content-type application/x-ndjson, transfer-encoding chunked
    {"step": "Intake: model", "kind": "model", "agent": "Intake"}
    "Hel"
    "lo"
    {"type": "response.function_call_arguments.delta", "delta": "{"}

The first line has the step's name in the journal; kind and agent are optional. Every further line is one delta: a JSON
string is text, any other JSON value is an event of the framework. A body that ends with its last chunk is complete. If
the body is cut, the try has failed and its deltas are void. A writer needs nothing but the URL: it holds a capability
for this attempt of this invocation. See docs/reference/streams.md.
"""
