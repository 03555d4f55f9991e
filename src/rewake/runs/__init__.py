"""A run read in one place, for the UI, the CLI and telemetry: what its journal says, as people see it.

facts.py     summaries, failures, statuses: plain data      filters.py   which runs to list
reading.py   what is asked of a server's runs               local/       ... answered by this engine's database
listing.py   the list of runs                               elsewhere/   ... by a server elsewhere, over its admin API
steps.py     journal entries to steps                       timeline.py  steps to a picture, to scale
agents.py    what a run says as agents; turns.py            spending.py  tokens and what they cost
waits.py     what a run waits for, and whom                 stacktrace.py  where an error came from
"""
