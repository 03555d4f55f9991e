"""The public `sys_*` tables and their SQL, read-only, over the store's own tables.

Covers one statement a query: SELECT (with WITH, joins, subqueries, window functions, what SQLite has of these), SHOW
and DESCRIBE; the tables and columns of catalog.py with the public names and types; of the public server's dialect
intervals, arithmetic with points in time, `::` and CAST to its types, ILIKE, unnamed subqueries, and the functions of
functions.py. Everything else means what it means in SQLite. Frozen: what official tools and the documentation ask
works and is tested (tests/unit/sql); the dialect grows only when one of them needs more.

query.py     runs a statement, values by type      views.py         the tables as views, from ours
catalog.py   tables, columns, types                 functions.py     functions SQLite has not
tokens.py    SQL as tokens                          rewriting.py     ids by primary key, SHOW, DESCRIBE
dialect.py   the public dialect in SQLite's         column_types.py  names and types of a result's columns
"""
