"""How a handler is reached: the narrow interface of base.py and the transports behind it.

in_process.py calls the app inside the engine's loop, worker.py in a supervised child process; framed_attempt.py turns
the bytes of either into messages and judges response heads, so that the transports stay small. app_loader.py finds the
`restate.app(...)` object of a file or module. Called by the engine; knows the protocol, never the core or the store.
"""
