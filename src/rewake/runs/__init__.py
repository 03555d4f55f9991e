"""Reads runs for the UI, the CLI and telemetry: a journal becomes steps, agents, waits and costs.

A run is fetched first, then shaped by pure functions, so all readers see the same.

facts.py     summaries, failures, statuses: plain data      filters.py    which runs to list
reading.py   the interface for all reads                    local/        implements it on this engine's database
listing.py   the list of runs                               elsewhere/    implements it over another server's admin API
displays.py  one row for each kind of entry                 steps.py      journal entries become steps
records.py   a fetched run                                  timeline.py   steps become a picture, to scale
agents.py    a record read as agents (walk.py)              speakers.py   the agent of each reply and step
turns.py     the resulting conversation                     directory.py  the agents of each handler
choices.py   choices of earlier runs                        retries.py    failed attempts in the conversation
spending.py  tokens and their cost                          tree.py       a run and all below it, for pictures
waits.py     what a run waits for                           questions.py  the question in a wait
inbox.py     all open questions to people                   kept.py       questions between turns, from state
approvals.py questions of `ask()`                           effects.py    the effects of a run
mismatch.py  replay mismatches                              stacktrace.py the app's line in a stack trace
covered.py   the runs of some services alone
"""
