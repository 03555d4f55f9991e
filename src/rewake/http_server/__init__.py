"""What every port that speaks HTTP/1.1 shares: ingress, admin API, `rewake serve`, the scripted model server.

upgrade.py reads a request that offers another protocol, connection.py is uvicorn's connection with that mended.
"""
