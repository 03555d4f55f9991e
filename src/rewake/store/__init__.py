"""The store: everything durable, in one SQLite database.

store.py is the face the engine uses (open, submit, reader, timers, recovery). writing.py turns a Batch into statements,
reading.py answers the core's Reader, rows.py maps structs to rows, schema.py has the tables and migrations.
connection.py opens and checks files, lock.py keeps a second engine out. The SQL that operators see is in rewake.sql.
"""
