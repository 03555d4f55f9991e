"""The service protocol, bytes to typed values and back: pure code, no I/O, no clock, versions 5 to 7.

framing.py cuts a byte stream into frames; codec.py turns a frame's payload into one of the values of messages.py.
awaiting.py decides whether a suspended invocation can go on; discovery.py reads an endpoint's manifest;
journal_json.py renders entries for the SQL tables. errors.py says when the SDK is to blame.
"""
