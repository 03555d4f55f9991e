"""The service protocol, bytes to typed values and back: pure code, no I/O, no clock, versions 5 to 7.

framing.py cuts a byte stream into frames; codec.py turns a frame's payload into a message of messages.py, by the tables
of shapes.py, kinds.py and protobuf.py; futures.py codes await trees, and awaiting.py evaluates them. peeking.py reads
only the heads of messages. discovery.py reads an endpoint's manifest; journal_json.py renders entries for the SQL
tables. errors.py has the error for an SDK that breaks the protocol.
"""
