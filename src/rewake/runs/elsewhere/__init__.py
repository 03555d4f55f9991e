"""Runs of a server elsewhere: its public `sys_*` tables and its registry, over the admin API.

reading.py   the Reading of one request       journals.py   journals, each fetched once
listing.py   the list of runs                 rows.py       rows become values      services.py   the registry as values
"""
