"""Formats of front ends: pure functions from events of a turn (events.py) to the JSON that a client reads.

plain.py    our events as they are
ai_sdk.py   the AI SDK's UI message stream, which `useChat` reads
ag_ui.py    AG-UI 1.0, which `@ag-ui/client` reads
"""
