"""The ingress: callers send HTTP requests and get results of invocations (http-api.md 1).

asgi.py       ASGI <-> Request, Response                  api.py        Ingress: from Request to Response
paths.py      a path becomes a Route                      calls.py      call and send
results.py    attach, output, lookup, awakeables, health  refusals.py   the ingress's own errors as HTTP
message.py    Request and Response                        cors.py       headers for allowed web pages
streaming.py  events, deltas, stop
"""
