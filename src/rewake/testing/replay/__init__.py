"""Recorded journals on new code: finds the runs that would break if the code were deployed.

files.py      a journal as a file, its format and its version     replayer.py   replays one journal without effects
export.py     journals of an engine or a server, as files         report.py     the results, as text and JSON
"""
