"""Access: who may call handlers, read, operate and administer, by tokens.

tokens.py    what a token is, what it allows, and how it is written   token_file.py  where they are kept
gate.py      the token that a request shows                           sign_ins.py    people who signed in on a page
credentials.py  the other side: the token a command of ours shows
"""
