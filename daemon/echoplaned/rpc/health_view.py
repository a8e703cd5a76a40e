"""Health of models and versions, read off the state.

An instance is healthy while it is READY, that is, while its real inferences come back right.
"""

from __future__ import annotations

from echoplane.v1 import types_pb2
from echoplaned.core.queries import version_state
from echoplaned.core.signals import publish_fault
from echoplaned.core.state import InstanceState, Model, Version, VersionState


def ready_count(version: Version) -> int:
    """Return how many instances of a version answer."""
    return sum(i.state is InstanceState.READY for i in version.instances)


def version_health(version: Version) -> types_pb2.HealthState:
    """Return a version's health: SERVING while every wanted instance answers."""
    ready = ready_count(version)
    if not ready:
        return types_pb2.HEALTH_STATE_NOT_SERVING
    return types_pb2.HEALTH_STATE_SERVING if ready >= version.spec.shape.replicas else types_pb2.HEALTH_STATE_DEGRADED


def traffic_versions(model: Model) -> tuple[Version, ...]:
    """Return the versions that requests reach.

    Where there are none yet, the one that shall serve.
    """
    clusters = model.routes.clusters if model.routes is not None else ()
    names = [c.version for c in clusters if c.routed and c.weight_ppm] or [model.serving_version]
    return tuple(model.versions[name] for name in names if name in model.versions)


def model_health(model: Model) -> types_pb2.HealthState:
    """Return a model's health: that of the versions with traffic together.

    UNSPECIFIED while its first version is loaded.
    """
    versions = traffic_versions(model)
    states = {version_health(version) for version in versions}
    if states == {types_pb2.HEALTH_STATE_SERVING} and publish_fault(model) is not None:
        return types_pb2.HEALTH_STATE_DEGRADED  # clients may still follow the routes before these, or have none
    if states == {types_pb2.HEALTH_STATE_SERVING}:
        return types_pb2.HEALTH_STATE_SERVING
    if not states or states == {types_pb2.HEALTH_STATE_NOT_SERVING}:
        never = all(v.load_duration_s is None and version_state(v) is VersionState.LOADING for v in versions)
        return types_pb2.HEALTH_STATE_UNSPECIFIED if never and versions else types_pb2.HEALTH_STATE_NOT_SERVING
    return types_pb2.HEALTH_STATE_DEGRADED


def why_not(model: Model) -> str:
    """Say in one sentence why a model is not SERVING; empty: it is."""
    if model_health(model) == types_pb2.HEALTH_STATE_SERVING:
        return ""
    if model.deleting:
        return "the model is being deleted"
    fault = publish_fault(model)
    parts = ["" if fault is None else fault.alarm, *(_version_reason(version) for version in traffic_versions(model))]
    return "; ".join(part for part in parts if part) or "no version of it was loaded"


def _version_reason(version: Version) -> str:
    ready, wanted = ready_count(version), version.spec.shape.replicas
    if ready >= wanted:
        return ""
    state = version_state(version)
    cause = f" ({version.failure.message})" if version.failure is not None else ""
    return f"version {version.key.version} is {state.value}: {ready} of {wanted} instances answer{cause}"
