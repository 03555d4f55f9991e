"""The UI's app: paths and their pages. Reading happens on threads, so that no page can stall the engine.

Every page is HTML and, for `?format=json`, the same data as JSON. Forms end in a redirect, so that reloading repeats
nothing. Made by mount.py at the first request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from rewake.admin.covered import covered_engine
from rewake.agents.effects import Effect
from rewake.core import ids
from rewake.core.ids import InvalidId
from rewake.errors import RewakeError
from rewake.runs.agents import agent_trace_with_choices, is_of_agents
from rewake.runs.covered import covered
from rewake.runs.effects import effects_of
from rewake.runs.facts import STATUSES, RunSummary
from rewake.runs.filters import ORDERS, filter_from
from rewake.runs.listing import Counts, run_page
from rewake.runs.reading import OpenReading, Reading, read_on_thread
from rewake.runs.spending import Remembered
from rewake.runs.steps import steps_of
from rewake.runs.turns import AgentTrace
from rewake.runs.waits import Wait, questions_left, waiting_for
from rewake.ui import patterns
from rewake.ui.abilities import Abilities
from rewake.ui.actions import Actions
from rewake.ui.approvals import Approvals
from rewake.ui.compare import ComparePage, compare_page
from rewake.ui.graph import handoff_graph
from rewake.ui.port import UiEngine
from rewake.ui.run import RunView, run_view
from rewake.ui.run_data import Family, family_of, run_data
from rewake.ui.services import Playground, deployments_page, service_page, services_page
from rewake.ui.sessions import session_page, sessions_page
from rewake.ui.sign_in import SignIn
from rewake.ui.step import StepDetail, step_data, step_detail
from rewake.ui.web import HEADERS, STATIC, Problem, Web, run_url, wants_json

log = structlog.get_logger("rewake.ui")

_Found = TypeVar("_Found")
_Endpoint = Callable[[Request], Awaitable[Response]]


class AgentPage(msgspec.Struct):
    """A run's summary and its agents."""

    run: RunSummary
    trace: AgentTrace
    waiting: list[Wait]
    family: Family
    effects: list[Effect] = []
    left: list[Wait] = []


class ProblemPage(msgspec.Struct):
    status: int
    message: str
    hint: str = ""


def build_ui(engine: UiEngine, open_reading: OpenReading, abilities: Abilities) -> ASGIApp:
    """The app under /ui: acts through `engine`, reads what `open_reading` opens, offers `abilities`."""
    pages = _Pages(engine, open_reading, Web(abilities))
    engine = covered_engine(engine, pages.read)
    actions = Actions(engine, pages.web, pages.read)
    playground = Playground(engine, pages.web, pages.read)
    sign_in = SignIn(pages.web)
    approvals = Approvals(engine, pages.web, pages.read)
    routes: list[tuple[str, str, _Endpoint]] = [
        ("/", "GET", pages.runs),
        ("/runs/{run}", "GET", pages.run),
        ("/runs/{run}/agents", "GET", pages.agents),
        ("/runs/{run}/compare", "GET", pages.compare),
        ("/runs/{run}/steps/{index:int}", "GET", pages.step),
        ("/runs/{run}/awakeables/{awakeable}", "POST", actions.answer),
        ("/runs/{run}/fork", "POST", actions.fork),
        ("/approvals", "GET", approvals.show),
        ("/approvals", "POST", approvals.answer),
        ("/approvals/{approval}", "GET", approvals.show_one),
        ("/confirm", "POST", actions.confirm),
        ("/actions", "POST", actions.act),
        ("/sessions", "GET", pages.sessions),
        ("/sessions/{service}", "GET", pages.session),
        ("/sessions/{service}/state", "POST", actions.change_state),
        ("/sessions/{service}/promises", "POST", actions.complete_promise),
        ("/services", "GET", pages.services),
        ("/services/{service}", "GET", pages.service),
        ("/services/{service}/{handler}", "GET", playground.show),
        ("/services/{service}/{handler}", "POST", playground.send),
        ("/deployments", "GET", pages.deployments),
        ("/deployments/{deployment}/remove", "POST", actions.remove_deployment),
        ("/patterns", "GET", pages.patterns),
        ("/help", "GET", pages.help),
        ("/sign-in", "GET", sign_in.show),
        ("/sign-in", "POST", sign_in.begin),
        ("/sign-out", "POST", sign_in.end),
        ("/static/{version}/{name}", "GET", _static),
    ]
    by_path: dict[str, dict[str, _Endpoint]] = {}
    for path, method, endpoint in routes:
        by_path.setdefault(path, {})[method] = endpoint
    app = Starlette(
        routes=[Route(path, _dispatch(methods), methods=list(methods)) for path, methods in by_path.items()],
        exception_handlers={
            Problem: pages.on_problem,
            RewakeError: pages.on_rewake_error,
            404: pages.on_not_found,
            405: pages.on_not_found,
            ClientDisconnect: pages.on_caller_gone,
            Exception: pages.on_bug,
        },
    )
    app.router.redirect_slashes = False
    return app


def _dispatch(methods: dict[str, _Endpoint]) -> _Endpoint:
    async def dispatch(request: Request) -> Response:
        return await methods["GET" if request.method == "HEAD" else request.method](request)

    return dispatch


class _Pages:
    """The pages that only read."""

    def __init__(self, engine: UiEngine, open_reading: OpenReading, web: Web) -> None:
        self.engine = engine
        self._open_reading = open_reading
        self.web = web
        self._counts = Counts()
        self.remembered = Remembered()

    async def read(self, find: Callable[[Reading], _Found]) -> _Found:
        return await read_on_thread(self._open_reading, lambda reading: find(covered(reading)))

    async def _show(self, request: Request, template: str, data: Any, status: int = 200, **more: Any) -> Response:
        more.setdefault("notice", request.query_params.get("notice", ""))
        now_ms = self.engine.now_ms()
        return await asyncio.to_thread(self.web.page, request, template, data, now_ms=now_ms, status=status, **more)

    async def runs(self, request: Request) -> Response:
        wanted = filter_from(request.query_params)
        page = await self.read(lambda found: run_page(found, wanted, self._counts))
        return await self._show(request, "runs.html", page, statuses=STATUSES, orders=ORDERS)

    async def run(self, request: Request) -> Response:
        invocation_id = run_id_of(request)
        first_row = _number(request, "row")
        step_index = _number(request, "step") if request.query_params.get("step") else None
        scale = "work" if request.query_params.get("scale") == "work" else "time"
        is_refresh = "x-rewake-part" in request.headers  # of a page that shows the timeline already
        is_bare = not (request.query_params or is_refresh or wants_json(request))

        def find(found: Reading) -> RunView | None:
            """None when the page of agents suits the run better."""
            invocation = found.invocation(invocation_id)
            if invocation is None:
                raise run_unknown(request)
            if is_bare and is_of_agents(found, invocation):
                return None
            data = run_data(found, invocation, first_row=first_row, step_index=step_index)
            if data is None:
                raise run_unknown(request)
            return run_view(data, scale)

        view = await self.read(find)
        if view is None:
            return RedirectResponse(run_url(request.path_params["run"], "agents"), 303)
        return await self._show(request, "run.html", view, tab="timeline")

    async def step(self, request: Request) -> Response:
        """One step alone, for programs; people see it beside the timeline."""
        invocation_id, index = run_id_of(request), request.path_params["index"]

        def find(found: Reading) -> StepDetail:
            invocation = found.invocation(invocation_id)
            if invocation is None:
                raise run_unknown(request)
            steps = steps_of(found.entries(invocation_id))
            data = step_data(found, invocation, index, steps, found.events(invocation_id))
            if data is None:
                raise Problem(404, f"The run has no step {index}.", "Its journal may be past its retention.")
            return step_detail(data)

        return await self._show(request, "step.html", await self.read(find))

    async def agents(self, request: Request) -> Response:
        invocation_id = run_id_of(request)

        def find(found: Reading) -> AgentPage:
            invocation, summary = found.invocation(invocation_id), found.summary(invocation_id)
            if invocation is None or summary is None:
                raise run_unknown(request)
            steps = steps_of(found.entries(invocation_id))
            waiting = waiting_for(found, invocation, steps)
            trace = agent_trace_with_choices(found, invocation, with_retries=True)
            effects = effects_of(found, invocation, steps)
            left = questions_left(found, invocation)
            return AgentPage(summary, trace, waiting, family_of(found, invocation), effects, left)

        page = await self.read(find)
        return await self._show(request, "agents.html", page, tab="agents", graph=handoff_graph(page.trace))

    async def compare(self, request: Request) -> Response:
        """A run beside the one it was restarted or forked from."""
        invocation_id = run_id_of(request)

        def find(found: Reading) -> ComparePage:
            new = found.invocation(invocation_id)
            if new is None:
                raise run_unknown(request)
            old = None if new.restarted_from is None else found.invocation(new.restarted_from)
            page = None if old is None else compare_page(found, old, new)
            if page is None:
                raise Problem(404, "There is no run to compare it with.", "Only restarts and forks have one.")
            return page

        page = await self.read(find)
        graphs = [handoff_graph(trace) for trace in (page.trace_before, page.trace)]
        return await self._show(request, "compare.html", page, graphs=graphs)

    async def sessions(self, request: Request) -> Response:
        parameters = request.query_params
        page = await self.read(
            lambda found: sessions_page(
                found, parameters.get("service", ""), parameters.get("text", ""), parameters.get("after", "")
            )
        )
        return await self._show(request, "sessions.html", page)

    async def session(self, request: Request) -> Response:
        service, key = request.path_params["service"], request.query_params.get("key")
        if key is None:
            raise Problem(404, "The address names no key.", "Sessions are listed by service.")
        after = request.query_params.get("after_value", "")
        page = await self.read(lambda found: session_page(found, service, key, self.remembered, after_value=after))
        return await self._show(request, "session.html", page)

    async def services(self, request: Request) -> Response:
        page = await self.read(services_page)
        return await self._show(request, "services.html", page)

    async def service(self, request: Request) -> Response:
        page = await self.read(lambda found: service_page(found, request.path_params["service"]))
        return await self._show(request, "service.html", page)

    async def deployments(self, request: Request) -> Response:
        page = await self.read(deployments_page)
        return await self._show(request, "deployments.html", page)

    async def patterns(self, request: Request) -> Response:
        now_ms = self.engine.now_ms()
        return await self._show(request, "patterns.html", patterns.page(now_ms), graph=patterns.graph())

    async def help(self, request: Request) -> Response:
        return await self._show(request, "help.html", ProblemPage(200, ""))

    # What goes wrong

    async def on_problem(self, request: Request, problem: Any) -> Response:
        return await self._problem(request, problem.status, problem.message, problem.hint)

    async def on_rewake_error(self, request: Request, error: Any) -> Response:
        log.warning("page_failed", path=request.url.path, code=error.code.value, error=error.message)
        return await self._problem(request, 503, f"{error.code.value}  {error.message}", error.hint or "")

    async def on_not_found(self, request: Request, _error: Any) -> Response:
        return await self._problem(request, 404, "There is no such page.", "The runs are at /ui/.")

    async def on_caller_gone(self, _request: Request, _error: Any) -> Response:
        return Response(status_code=400)  # nobody reads it

    async def on_bug(self, request: Request, error: Any) -> Response:
        log.error("page_failed", path=request.url.path, exc_info=error)
        return await self._problem(request, 500, "The page could not be made.", "The log says why; please report it.")

    async def _problem(self, request: Request, status: int, message: str, hint: str) -> Response:
        return await self._show(request, "problem.html", ProblemPage(status, message, hint), status=status, notice="")


async def _static(request: Request) -> Response:
    path = STATIC / request.path_params["name"]
    if path.parent != STATIC or not path.is_file():
        raise Problem(404, "There is no such file.")
    return FileResponse(path, headers={**HEADERS, "cache-control": "public, max-age=31536000, immutable"})


def run_id_of(request: Request) -> bytes:
    """The id in the path. Raises Problem."""
    try:
        return ids.invocation_id_from_str(request.path_params["run"])
    except InvalidId as error:
        raise Problem(404, f"{request.path_params['run']!r} is not a run's id: {error.reason}.") from None


def run_unknown(request: Request) -> Problem:
    hint = "It may have been deleted: completed runs are kept for their handler's retention."
    return Problem(404, f"There is no run {request.path_params['run']}.", hint)


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "0")
    return min(int(text), 1 << 31) if text.isascii() and text.isdigit() and len(text) < 12 else 0
