"""Deployments reached by URL: HTTP/2 full duplex, over TLS too, and HTTP/1.1 request and response.

HttpDeployment is the DeploymentClient; everything else serves it. Read in this order: client.py, exchange.py (one
request, whatever carries it), http2_state.py (the pure half of a connection), http2.py (its socket and clocks),
http2_pool.py, http1.py. identity.py signs requests, address.py reads URLs.
"""
