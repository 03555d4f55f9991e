"""HTTP/1.1 for all ports of callers and operators: ingress, admin API, UI, `rewake serve`, scripted model server.

server.py     a listening socket and its connections    listening.py   makes that socket
http1.py      one HTTP/1.1 connection, on httptools     connection.py  base of connections, for any version
exchange.py   a request as an ASGI app sees it          http1_exchange.py   the same for HTTP/1.1
answer.py     an answer as bytes                        upgrade.py     offers of another protocol
limits.py     bytes, connections and time of callers    origins.py     which web pages may call a port
tls.py        a certificate and its renewal            half_closed.py  callers that ended their side
"""
