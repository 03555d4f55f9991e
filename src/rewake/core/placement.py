"""Placement: the deployment, protocol version and state for the next attempt of an invocation.

It only reads: the registry, the invocation's pin, the state of its key. Called by lifecycle.begin, and to move an
invocation to another deployment.
"""

from __future__ import annotations

from rewake.core.ids import DeploymentId
from rewake.core.model import AttemptError, Deployment, Invocation, Target
from rewake.core.settings import PROTOCOL_VERSION_MIN
from rewake.core.state import State
from rewake.protocol.discovery import ManifestError, choose_protocol_version

NO_DEPLOYMENT = "no deployment was found to process the invocation"
DEPLOYMENT_GONE = (
    "the invocation has a deployment id associated, but it was not found in the registry; "
    "register the deployment again, or pause the invocation and resume it on another one"
)


def deployment_and_version(state: State, invocation: Invocation) -> tuple[Deployment, int] | AttemptError:
    """The deployment and protocol version of the next attempt, or the reason why it cannot run."""
    deployment = _deployment_of(state, invocation)
    if isinstance(deployment, AttemptError):
        return deployment
    if invocation.pinned_version is not None:
        return deployment, invocation.pinned_version
    try:
        version = choose_protocol_version(
            deployment.min_protocol_version,
            deployment.max_protocol_version,
            ours_min=PROTOCOL_VERSION_MIN,
            ours_max=state.settings.protocol_version_max,
        )
    except ManifestError as error:
        return AttemptError(500, error.message, "RT0013")
    return deployment, version


def _deployment_of(state: State, invocation: Invocation) -> Deployment | AttemptError:
    if invocation.pinned_deployment_id is not None:
        pinned = state.deployments.get(invocation.pinned_deployment_id)
        return pinned or AttemptError(500, DEPLOYMENT_GONE, "RT0011")
    service = state.services.get(invocation.target.service)
    deployment = state.deployments.get(service.deployment_id) if service else None
    return deployment or AttemptError(500, NO_DEPLOYMENT, "RT0011")


def eager_state(state: State, invocation: Invocation) -> tuple[tuple[tuple[bytes, bytes], ...], bool]:
    """State for Start, in key order up to the limit, and whether it is partial."""
    target = invocation.target
    if target.key is None or state.options_of(target).enable_lazy_state:
        return (), True
    values = sorted(state.values_of(target.service, target.key).items())
    size = 0
    for count, (name, value) in enumerate(values):
        size += len(name) + len(value)
        if size > state.settings.eager_state_bytes_max:
            return tuple(values[:count]), True
    return tuple(values), False


def deployment_named(state: State, target: Target, deployment: str) -> DeploymentId | None:
    """The deployment with this id, or the latest one of the target's service for "latest"; None if it is unknown."""
    if deployment != "latest":
        named = state.deployments.get(deployment)
        return named.id if named else None
    service = state.services.get(target.service)
    return service.deployment_id if service and service.deployment_id in state.deployments else None
