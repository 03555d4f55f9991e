"""HTTP/1.1 for every port Rewake opens: ingress, admin API and UI, `rewake serve`, scripted model server.

server.py       a listening socket and its connections     listening.py   how such a socket is made
http1.py        one connection, on httptools' parser       connection.py  what one is in any version of HTTP
exchange.py     a request as an ASGI app sees it (http1_exchange.py)   answer.py      an answer as bytes
upgrade.py      offers of another protocol                 limits.py      what callers may use
origins.py      which web pages may call a port            tls.py         a certificate and its renewal
"""
