"""Clients of another server: its admin API and its ingress, over the HTTP client of http.py.

They block, so an event loop calls them on threads. Deployments are called by rewake.deployments.http instead: their
requests are full duplex, and the engine has thousands of them at a time.
"""
