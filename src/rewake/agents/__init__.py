"""What Rewake knows of agent frameworks: the one place below the UI, the CLI and telemetry that reads what they write.

introspection.py   which agents an app is made of, told at discovery     roster.py    the same, read where it is shown
decoding.py        replies of models and stored conversations            routing.py   handoffs and routing decisions
prices.py          what a model call costs
Reads hostile input and imports no framework; knows no journal, no database and no clock.
"""
