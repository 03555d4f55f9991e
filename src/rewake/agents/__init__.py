"""What Rewake knows of agent frameworks: the one place below the UI, the CLI and telemetry that reads what they write.

introspection.py   which agents an app is made of, for discovery     roster.py    the same, read where it is shown
decoding.py        replies of models and stored conversations            routing.py   handoffs and routing decisions
frameworks.py      one table: what each framework writes                 prices.py    what a model call costs
replies.py         a reply in one form for all; values that may be anything
Reads hostile input and imports no framework; knows no journal, no database and no clock.
"""
