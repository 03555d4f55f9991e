"""Transports to handlers, behind the narrow interface of base.py.

in_process.py calls the app inside the engine's loop. worker.py runs it in a child process, worker_pool.py and
quarantine.py supervise those, worker_main.py and mux.py are the child's side and the framing. http/ reaches a
deployment by URL. framed_attempt.py turns the bytes of each into messages, so that transports stay small. app_loader.py
finds the `restate.app(...)` object of a file or module, own_servers.py that of a program that starts a server. Hooks
into the SDK: containment.py, waking.py, signatures.py, mismatch_trace.py, step_lines.py, channels.py. web.py and its
neighbours run a program's web app beside the engine.
"""
