"""The public `sys_*` tables and their SQL, read-only, over the store's own tables.

A query is one statement: SELECT (with SQLite's WITH, joins, subqueries and window functions), SHOW or DESCRIBE. The
tables and columns are those of catalog.py, with the public names and types. Of the public server's dialect these work:
intervals, arithmetic with timestamps, `::` and CAST to its types, ILIKE, unnamed subqueries, and the functions of
functions.py. Everything else is SQLite's. The dialect is frozen: the queries of official tools and of the documentation
work and are tested (tests/unit/sql), and it grows only if one of them needs more.

query.py     runs a statement, types its values     views.py         the tables as views on the store's
catalog.py   tables, columns, types                 functions.py     functions that SQLite lacks
threads.py   runs queries beside the event loop     stopping.py      deadline and limits of a query
effects.py   the table of effects                   tokens.py        SQL as tokens
rewriting.py ids by primary key, SHOW, DESCRIBE     dialect.py       the public dialect becomes SQLite's
column_types.py  names and types of a result's columns
"""
