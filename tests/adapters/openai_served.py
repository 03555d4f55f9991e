"""The handlers of openai_app.py for a web server."""

from openai_app import make

app = make()
