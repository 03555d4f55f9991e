"""`rewake demo`: the claim router is killed in the middle, resumes, and answers the same request.

command.py   the subcommand and its options          story.py      what happens, in order, and the checks that it did
engine.py    the engine as a child process            providers.py  the scripted model server, or the real one
narrator.py  the lines on the terminal                relay.py      the relay: counts and holds calls to a provider
Every line comes from the journal, the processes or the provider's records; nothing is assumed.
"""

from rewake.cli.demo.command import demo

__all__ = ["demo"]
