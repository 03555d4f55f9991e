"""The front door callers use: HTTP requests in, results of invocations out (http-api.md 1).

asgi.py       ASGI <-> Request, Response                  api.py        Ingress: from Request to Response
paths.py      what a path means                           calls.py      call and send
results.py    attach, output, lookup, awakeables, health  refusals.py   errors of ours and how they look
message.py    Request and Response                        cors.py       headers for pages that are allowed
"""
