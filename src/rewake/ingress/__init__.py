"""The front door callers use: HTTP requests in, results of invocations out (http-api.md 1).

protocol.py   HTTP/1.1 bytes <-> Request, Response       asgi.py       the same as an ASGI app, for embedding
api.py        Ingress: from Request to Response          paths.py      what a path means
calls.py      call and send                              results.py    attach, output, lookup, awakeables, health
message.py    Request and Response                       refusals.py   errors of ours and how they look
"""
