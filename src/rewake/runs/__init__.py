"""A run read in one place, for the UI, the CLI and telemetry: what its journal says, as people see it.

reading.py   what is asked of a server's runs          local/       ... answered by this engine's database
steps.py     journal entries to steps                  elsewhere/   ... by a server elsewhere, over its admin API
agents.py    what a run says as agents; turns.py       spending.py  tokens and what they cost
timeline.py  steps to a picture, to scale              waits.py     what a run waits for, and whom
stacktrace.py  where an error came from
"""
