"""The web UI on the admin port, under /ui: server-rendered, works without JavaScript, and shows runs as agents.

rewake.runs reads runs; here they become pages, and people act.

ui_app.py    routes, errors                         web.py        HTML or its JSON twin, headers, forms
run.py       one run, from run_data.py              step.py       one step in full
graph.py     handoffs as a drawing                  compare.py    a fork beside its origin
sessions.py  virtual objects and their state        services.py   services, deployments, playground
actions.py   what a person may do                   bulk.py       ... to all runs that match; operations.py, forms.py
sign_in.py   a token for a cookie, where tokens are asked for
elsewhere.py the same pages for a server elsewhere: engine_elsewhere.py acts
abilities.py what the server behind the pages can do
"""

from .mount import ui_routes

__all__ = ["ui_routes"]
