"""Serving an app as an HTTP deployment: what `rewake serve` runs for any Restate server to call.

server.py puts it on a port, connection.py is one HTTP/2 connection, stream.py one request on it as the ASGI app sees
it. HTTP/1.1 is that of http_server/.
"""
