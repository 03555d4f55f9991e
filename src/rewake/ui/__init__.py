"""The web UI on the admin port, under /ui: server-rendered, works without JavaScript, and shows runs as agents.

ui_app.py    routes, errors                         web.py        HTML or its JSON twin, headers, forms
runs.py      the list of runs                       run.py        one run: its timeline's rows
steps.py     journal entries to steps               timeline.py   steps to a picture, to scale
step.py      one step in full                       waits.py      what a run waits for, and whom
stacktrace.py  where an error came from
agents.py    what a run says as agents              graph.py      handoffs as a drawing
sessions.py  virtual objects and their state        services.py   services, deployments, playground
actions.py   what a person may do                   bulk.py       ... to all runs that match; operations.py, forms.py
compare.py   a fork beside its origin
reading.py   what pages read                        formats.py    how values look
database.py  ... of this engine's database          scan.py       runs by filter, fast; conditions.py
remote.py    the same pages for a server elsewhere: remote_engine.py acts, remote_reading.py reads
abilities.py what the server behind the pages can do
"""

from .mount import ui_routes

__all__ = ["ui_routes"]
