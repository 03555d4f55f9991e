"""Runs of the engine whose database is here: raw tables by their keys and indexes, read-only.

database.py    the Reading of one request           listing.py     the list of runs
scan.py        ways through many runs, fast         conditions.py  a filter as SQL
statements.py  the way to the database              statuses.py    statuses in SQL       summaries.py  rows as summaries
"""
