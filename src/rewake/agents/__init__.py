"""Agent frameworks: reads their objects and journaled values, for the UI, the CLI and telemetry.

introspection.py   writes an app's agents into discovery      roster.py     reads them back
decoding.py        models' replies, stored conversations      routing.py    handoffs and routing decisions
frameworks.py      one table: a row for each framework        prices.py     the cost of a model call
replies.py         a reply in one form for all frameworks     envelope.py   steps of `rewake.ext`
approvals.py       questions of `ask()`                       effects.py    effects of `rewake.ext`
kept.py            questions between turns, from state
The input may be hostile. No framework is imported, and no journal, database or clock is used.
"""
