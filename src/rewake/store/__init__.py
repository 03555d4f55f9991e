"""The store: everything durable, in one SQLite database.

store.py is the face the engine uses (open, submit, reader, timers, recovery). writing.py turns a Batch into statements,
reader.py answers the core's Reader, rows.py maps structs to rows, schema.py has the tables and migrations.
large_values.py keeps values of 2 KiB and more apart from their rows; checkpoints.py folds the log in. connection.py
opens files, lock.py keeps a second engine out, wal.py refuses the log of another database. backup.py and upkeep.py need
no engine. The SQL that operators see is in rewake.sql.
"""
