"""The admin API operators, the CLI and the UI use (http-api.md 2), as a Starlette app on a port of its own.

app.py           the app: routes, versions, errors        engine_port.py   what it needs of the engine
services.py      services, their settings and state       invocations.py   cancel, kill, purge ... one or many
deployments.py   deployments                              query.py         SQL
about.py         health, version, empty Kafka lists       openapi.py       descriptions of services and of this API
requests.py      reading requests                         refusals.py      errors and how they look
render.py        services and deployments as JSON          covered.py       the engine for a token of some services
"""
