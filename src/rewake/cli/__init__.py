"""The `rewake` command. Nothing imports this package but `python -m rewake` and the console script.

main.py       the command itself                           exits.py     exit codes, and how errors look
run.py        `run` and `server`, options alone            settings.py  flag > environment > rewake.toml > default
engine_process.py  what both do, once started
ui.py         the web UI for a server elsewhere             serve.py     an app over HTTP, without an engine
example.py    writes an app of the tour into a folder      demo/        runs one, kills it, and tells the story
invocations.py, registry.py, state.py, sql.py: reading and changing a running engine, over admin_client.py.
Modules of subcommands import what is heavy inside their functions, so that `rewake --help` stays quick.
"""
