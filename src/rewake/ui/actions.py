"""Actions of a person: operations on runs after a confirmation, answers to awakeables, changes of state, forks.

Every form carries the token of web.py. operations.py carries out one operation, bulk.py those on all runs that match a
filter.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from rewake import formats
from rewake.admin.invocations import REFUSALS
from rewake.admin.services import REJECTED_CODE
from rewake.core import ids
from rewake.core.effects import ReplyStatus
from rewake.core.ids import InvalidId
from rewake.core.keyed import state_version
from rewake.errors import RewakeError
from rewake.operations import Operation
from rewake.protocol.messages import Failure, Success
from rewake.runs.facts import RunSummary
from rewake.runs.reading import Read
from rewake.ui.bulk import Bulk
from rewake.ui.forms import json_value, own_path
from rewake.ui.operations import operate, operation_named, refused_elsewhere
from rewake.ui.port import UiEngine
from rewake.ui.web import Problem, Web, run_url, see, session_url

RUNS_MAX: Final = 1_000


class ConfirmPage(msgspec.Struct):
    """The planned operation and its runs. back: where to go afterwards."""

    action: Operation
    runs: list[RunSummary]
    back: str
    deployments: list[str]


class Actions:
    """Endpoints of forms."""

    def __init__(self, engine: UiEngine, web: Web, read: Read) -> None:
        self._engine = engine
        self._web = web
        self._read = read
        self._bulk = Bulk(engine, web, read)

    async def confirm(self, request: Request) -> Response:
        """Ask before anything is done, with the number of runs."""
        fields = await self._web.form(request)
        if fields.get("all") == "yes":
            return await self._bulk.confirm(request, fields)
        action, chosen = _chosen(fields)
        runs, deployments = await self._read(
            lambda found: (
                [run for each in chosen if (run := found.summary(each)) is not None],
                [item.id for item in found.deployments()] if action.facts.takes_deployment else [],
            )
        )
        if not runs:
            raise Problem(404, "These runs are no longer known.", "Completed runs are deleted after their retention.")
        page = ConfirmPage(action, runs, own_path(fields.get("back")), deployments)
        return self._web.page(request, "confirm.html", page, now_ms=self._engine.now_ms(), notice="")

    async def act(self, request: Request) -> Response:
        """Do it, and report for how many runs it worked."""
        fields = await self._web.form(request)
        if fields.get("query"):
            return await self._bulk.act(request, fields)
        action, chosen = _chosen(fields)
        deployment = fields.get("deployment") or None
        done, problems, new_id = 0, [], None
        for invocation_id in chosen:
            outcome = await operate(self._engine, action, invocation_id, deployment)
            if outcome.problem is not None:
                problems.append(outcome.problem)
                continue
            done += 1
            new_id = outcome.new_id or new_id
        notice = f"{done} {'run' if done == 1 else 'runs'} {action.facts.done}." if done else ""
        if problems:
            more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
            notice = f"{notice} {problems[0]}{more}.".strip()
        if new_id is not None and len(chosen) == 1:
            return see(run_url(new_id), notice)
        gone = action is Operation.PURGE and done and len(chosen) == 1
        return see("/ui/" if gone else own_path(fields.get("back")), notice)

    async def answer(self, request: Request) -> Response:
        """Resolve or reject an awakeable of a run."""
        fields = await self._web.form(request)
        run_id = request.path_params["run"]
        try:
            invocation_id, signal = ids.awakeable_id_parse(request.path_params["awakeable"])
        except InvalidId as error:
            raise Problem(404, f"That is no awakeable: {error.reason}.") from None
        result = _answer(fields)
        try:
            reply = await self._engine.complete_awakeable(invocation_id, signal, result)
        except RewakeError as error:
            raise Problem(409, refused_elsewhere(error), error.hint) from None
        if reply.status is ReplyStatus.NOT_FOUND:
            raise Problem(404, "The run that waited is not known any more.")
        return see(own_path(fields.get("back") or run_url(run_id)), _told(result))

    async def complete_promise(self, request: Request) -> Response:
        """Resolve or reject a promise of a workflow."""
        fields = await self._web.form(request)
        service, key, name = request.path_params["service"], fields.get("key", ""), fields.get("name", "")
        result = _answer(fields)
        try:
            status = await self._engine.complete_promise(service, key, name, result)
        except RewakeError as error:
            raise Problem(409, refused_elsewhere(error), error.hint) from None
        if status is ReplyStatus.NOT_FOUND:
            raise Problem(404, "The workflow that waited is not known any more.")
        if status is ReplyStatus.ALREADY_COMPLETED:
            raise Problem(409, "The promise was completed before; the first answer counts.")
        return see(own_path(fields.get("back") or session_url(service, key)), _told(result))

    async def fork(self, request: Request) -> Response:
        """Continue from a step as a new run, with another result of that step if one is given."""
        fields = await self._web.form(request)
        try:
            invocation_id = ids.invocation_id_from_str(request.path_params["run"])
        except InvalidId as error:
            raise Problem(404, f"That is no run's id: {error.reason}.") from None
        index = fields.get("from", "")
        if not (index.isascii() and index.isdigit() and len(index) <= 10):
            raise Problem(400, "The form has no step.")
        replaced = None
        if fields.get("replace") == "yes":
            replaced = json_value(fields.get("value", ""))
        deployment = fields.get("deployment") or "keep"
        try:
            reply = await self._engine.restart_as_new(
                invocation_id,
                from_index=int(index),
                deployment=deployment,
                result=replaced,
                overwrite_state=fields.get("overwrite") == "yes",
            )
        except RewakeError as error:
            raise Problem(409, refused_elsewhere(error), error.hint) from None
        refusal = REFUSALS[Operation.RESTART].get(reply.status)
        if refusal is not None or reply.invocation_id is None:
            message = refusal.message.format(id=request.path_params["run"]) if refusal else "The run was not forked."
            raise Problem(409, message, refusal.hint if refusal else "")
        return see(run_url(ids.invocation_id_to_str(reply.invocation_id)), "Forked: this is the new run.")

    async def remove_deployment(self, request: Request) -> Response:
        """Remove a deployment that nothing needs any more."""
        await self._web.form(request)
        deployment_id = request.path_params["deployment"]
        try:
            was_known = await self._engine.remove_deployment(deployment_id, force=False)
        except RewakeError as error:
            raise Problem(409, error.message, error.hint or "") from None
        return see("/ui/deployments", "Removed." if was_known else "It was not there any more.")

    async def change_state(self, request: Request) -> Response:
        """Set, add or remove one value of a key, if the state has not changed since the person saw it."""
        fields = await self._web.form(request)
        service, key = request.path_params["service"], fields.get("key", "")
        name, version = fields.get("name", "").encode(), fields.get("version", "")
        if not name:
            raise Problem(400, "The value has no name.", "Every value of a session has a name.")
        state = await self._read(lambda found: found.state(service, key))
        if state_version(state) != version:
            hint = "Go back and reload the page to see the current state."
            raise Problem(409, "The state has changed since you opened the page; nothing was saved.", hint)
        if fields.get("remove") == "yes":
            state.pop(name, None)
        else:
            state[name] = json_value(fields.get("value", ""))
        await self._engine.mutate_state(service, key, state, version)
        return see(session_url(service, key), "Saved; it applies once nothing runs on the key.")


def _answer(fields: Any) -> Success | Failure:
    """A person's answer: a value, or a reason to reject."""
    if fields.get("outcome") == "reject":
        return Failure(REJECTED_CODE, fields.get("reason", "").strip() or "Rejected")
    return Success(json_value(fields.get("value", "")))


def _told(result: Success | Failure) -> str:
    return "Rejected." if isinstance(result, Failure) else "Answered."


def _chosen(fields: Any) -> tuple[Operation, list[bytes]]:
    """The action and the runs of a form."""
    action = operation_named(name := fields.get("action", ""))
    if action is None:
        raise Problem(400, f"There is no action {formats.shortened(name, 40)!r}.")
    texts = list(dict.fromkeys(fields.getlist("run")))
    if not texts:
        raise Problem(400, "No run is selected.", "Tick the runs first.")
    if len(texts) > RUNS_MAX:
        raise Problem(400, f"More than {RUNS_MAX} runs are selected.", "Do it in parts.")
    try:
        return action, [ids.invocation_id_from_str(text) for text in texts]
    except InvalidId as error:
        raise Problem(400, f"One of the ids is not valid: {error.reason}.") from None
