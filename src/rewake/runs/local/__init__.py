"""Runs of this machine's engine: reads its tables by their keys and indexes, read-only.

database.py    the Reading of one request           listing.py     the list of runs
scan.py        fast searches through many runs      conditions.py  a filter as SQL
statements.py  access to the database               statuses.py    statuses in SQL
summaries.py   rows become summaries                figures.py     reads for telemetry
"""
