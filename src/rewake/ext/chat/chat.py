"""Chat: the virtual objects of a conversation and the web app in front of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rewake.ext.chat.inbox import DOUBLE_TEXTS, DoubleText
from rewake.ext.chat.session import Speak, chat_objects

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from rewake.ext.chat.ingress import IngressClient

PREFIX = "/api/chat"


class Chat:
    """Conversations with an agent, or with a team of agents.

    name: of the virtual object, whose keys are the ids of conversations.   agent: of the OpenAI Agents SDK, of Pydantic
    AI, or an async function from a message to the answer.   start_with: who gets a new message: the given agent, or the
    one that spoke last.   approvals: how questions are asked, see `rewake.ext.kernel.Approvals`; True: without a
    deadline.   approvals_wait: in the turn, so that its invocation stays open; or between turns, so that the invocation
    ends, and the answers start another one on the code that is deployed then.   double_text: what happens to a message
    that arrives during a turn: `queue`, `steer`, `interrupt` or `reject`, see inbox.py.   options: further arguments of
    each run, such as max_turns.

    services: for `restate.app(...)`. Raises TypeError for an unknown kind of agent, ValueError for an unknown policy.
    """

    def __init__(
        self,
        name: str,
        agent: Any,
        *,
        start_with: Literal["first", "last"] = "first",
        approvals: Any = True,
        approvals_wait: Literal["in_turn", "between_turns"] = "in_turn",
        double_text: DoubleText = "queue",
        options: dict[str, Any] | None = None,
    ) -> None:
        if double_text not in DOUBLE_TEXTS:
            raise ValueError(f"double_text is {double_text!r}: it must be one of {', '.join(DOUBLE_TEXTS)}.")
        self.name = name
        speak = _speaker(agent, starts_with_last=start_with == "last", approvals=approvals, options=options or {})
        self.services = chat_objects(name, speak, double_text, keeps=approvals_wait == "between_turns")
        self._ingress: IngressClient | None = None

    def routes(
        self,
        prefix: str = PREFIX,
        *,
        ingress_url: str | None = None,
        authorize: Callable[[Request, str], Awaitable[str | None]] | None = None,
        allowed_origins: Iterable[str] = (),
    ) -> list[BaseRoute]:
        """The routes for a Starlette or FastAPI app of your own, see routes.py.

        ingress_url: of the engine; None: the variable REWAKE_INGRESS_URL, else http://localhost:8080.   authorize: gets
        the request and the id of the conversation. It raises starlette's HTTPException unless the caller may use the
        conversation, and returns the caller's name, which is stored with answers to approvals.   allowed_origins: of
        pages on other sites.
        """
        from rewake.ext.chat.ingress import IngressClient
        from rewake.ext.chat.routes import Routes

        self._ingress = IngressClient(self.name, ingress_url)
        return list(Routes(self._ingress, authorize, allowed_origins).routes(prefix))

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Closes connections to the engine at the end, for a Starlette or FastAPI app with these routes."""
        yield
        if self._ingress is not None:
            await self._ingress.close()

    def web(self, static: str | Path | None = None, *, prefix: str = PREFIX, **options: Any) -> Starlette:
        """An ASGI app with the routes, and the pages of a folder at `/`. options: those of `routes`."""
        from starlette.applications import Starlette
        from starlette.routing import Mount
        from starlette.staticfiles import StaticFiles

        routes = self.routes(prefix, **options)
        if static is not None:
            routes.append(Mount("/", StaticFiles(directory=static, html=True)))
        return Starlette(routes=routes, lifespan=self.lifespan)


def _speaker(agent: Any, *, starts_with_last: bool, approvals: Any, options: dict[str, Any]) -> Speak:
    package = type(agent).__module__.partition(".")[0]
    if package == "agents":
        from rewake.ext.chat.openai import OpenAITurns

        return OpenAITurns(agent, starts_with_last=starts_with_last, approvals=approvals, options=options)
    if package == "pydantic_ai" or package == "rewake":
        from rewake.ext.chat.pydantic import PydanticTurns

        return PydanticTurns(agent, approvals=approvals, options=options)
    if callable(agent) and not isinstance(agent, type):
        found: Speak = agent
        return found
    raise TypeError(
        f"A chat speaks with an agent of the OpenAI Agents SDK or of Pydantic AI, or with an async function; "
        f"{agent!r} is a {type(agent).__name__}."
    )
