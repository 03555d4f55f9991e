"""A chat made from agents: durable conversations, and the routes that chat front ends expect.

    from rewake.ext.chat import Chat

    desk = Chat("Desk", router)     # an agent of the OpenAI Agents SDK or of Pydantic AI
    app = restate.app([desk.service])
    web = desk.web()                # an ASGI app: `rewake run` serves it, FastAPI can mount it

See docs/how-to/chat.md. session.py is the object on the engine, routes.py what browsers call, following.py what is
between them, formats/ how it looks to `useChat` and to clients of AG-UI.
"""

from rewake.ext.chat.chat import Chat

__all__ = ["Chat"]
