"""Access control by tokens: who may call handlers, read, operate and administer.

tokens.py       a token, its role and its text         token_file.py  the file of tokens
gate.py         finds the token of a request           sign_ins.py    people who signed in on a page
credentials.py  the token that our own commands send
coverage.py     the services that a request's token is for
"""
