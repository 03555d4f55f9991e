"""Clients of a server elsewhere: its admin API and its ingress, over the one HTTP client of http.py.

All of them block, so an event loop calls them on threads. Deployments are reached by rewake.deployments.http instead:
their requests are full duplex, and the engine has thousands of them at a time.
"""
