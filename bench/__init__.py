"""Side-by-side speed and memory: Rewake against `restate-server` driving the same app.

`python -m bench` runs it. app.py is what both peers run, load.py the callers, peers.py how each peer is started,
processes.py what its processes cost, waiting.py the suspended invocations, crowds.py depth, fan-out and busy keys,
report.py the numbers as text. Nothing here is imported by the package.
"""
