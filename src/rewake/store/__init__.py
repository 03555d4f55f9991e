"""The store: all durable data, in one SQLite database.

store.py is the engine's interface (open, submit, reader, timers, recovery). writing.py turns a Batch into statements,
reader.py implements the core's Reader, rows.py maps structs to rows, schema.py has the tables and migrations.
large_values.py stores values of 2 KiB and more apart from their rows, source_lines.py the lines that made commands.
checkpoints.py moves the log into the database.
connection.py opens files, private.py makes them private, lock.py keeps a second engine out, wal.py refuses the log of
another database. backup.py and upkeep.py need no engine. Operators' SQL is in rewake.sql.
"""
