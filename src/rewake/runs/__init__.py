"""A run read in one place, for the UI, the CLI and telemetry: what its journal says, as people see it.

First fetched, then shaped by pure functions, so that whoever asks sees the same.

facts.py     summaries, failures, statuses: plain data      filters.py    which runs to list
reading.py   what is asked of a server's runs               local/        ... answered by this engine's database
listing.py   the list of runs                               elsewhere/    ... by a server elsewhere, over its admin API
displays.py  how each kind of entry is shown                steps.py      journal entries to steps
records.py   a run as it was fetched                        timeline.py   steps to a picture, to scale
agents.py    a record as agents: walk.py goes through it    speakers.py   who speaks, and who is consulted
turns.py     what comes out                                 directory.py  the agents of each handler
choices.py   what earlier runs chose                        retries.py    failed attempts in the conversation
spending.py  tokens and what they cost
tree.py      a run and all below it, for pictures
waits.py     what a run waits for, and whom                 questions.py  what is asked
stacktrace.py  where an error came from
"""
