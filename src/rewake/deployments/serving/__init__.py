"""Serving an app as an HTTP deployment: what `rewake serve` runs for any Restate server to call.

server.py listens and stops, connection.py is one HTTP/2 connection, stream.py one request as the ASGI app sees it.
"""
