"""A chat made from agents: durable conversations, and the routes that chat front ends expect.

    from rewake.ext.chat import Chat

    desk = Chat("Desk", router)     # an agent of the OpenAI Agents SDK or of Pydantic AI
    app = restate.app(desk.services)
    web = desk.web()                # an ASGI app: `rewake run` serves it, FastAPI can mount it

See docs/how-to/chat.md. session.py and inbox.py are the objects on the engine, routes.py the HTTP routes for browsers;
following.py connects them. formats/ turns events into JSON for `useChat` and for clients of AG-UI.
"""

from rewake.ext.chat.chat import Chat
from rewake.ext.chat.steering import later_messages

__all__ = ["Chat", "later_messages"]
