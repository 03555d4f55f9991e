"""Serves an app as an HTTP deployment that any Restate server can call: `rewake serve`.

server.py puts the app on a port, connection.py is one HTTP/2 connection, stream.py one request on it as the ASGI app
sees it. HTTP/1.1 comes from http_server/.
"""
