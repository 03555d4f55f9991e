"""A run read in one place, for the UI, the CLI and telemetry: what its journal says, as people see it.

facts.py     summaries, failures, statuses: plain data      filters.py   which runs to list
reading.py   what is asked of a server's runs               local/       ... answered by this engine's database
listing.py   the list of runs                               elsewhere/   ... by a server elsewhere, over its admin API
displays.py  how each kind of entry is shown                steps.py     journal entries to steps
timeline.py  steps to a picture, to scale                   spending.py  tokens and what they cost
agents.py    what a run says as agents; turns.py            stacktrace.py  where an error came from
waits.py     what a run waits for, and whom
"""
