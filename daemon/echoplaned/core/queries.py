"""What follows from the state: nothing here is stored."""

from __future__ import annotations

import hashlib

from echoplaned.core.facts import ModelFacts
from echoplaned.core.ids import InstanceKey, VersionKey
from echoplaned.core.memory import MeasuredMemory
from echoplaned.core.spec import Tier
from echoplaned.core.state import (
    Instance,
    InstanceState,
    Model,
    State,
    Version,
    VersionState,
)

_ON_THE_WAY = frozenset({InstanceState.PENDING, InstanceState.STARTING, InstanceState.PROBING})


def version_state(version: Version) -> VersionState:
    """Return a version's state, which follows from its instances.

    READY while at least one instance is.
    """
    states = {instance.state for instance in version.instances}
    if InstanceState.READY in states:
        return VersionState.READY
    if states & _ON_THE_WAY:
        return VersionState.LOADING
    if states:
        return VersionState.DRAINING
    return VersionState.FAILED if version.failure is not None else VersionState.COLD


def is_ready(model: Model, version_id: str) -> bool:
    """Whether a version exists and has a READY instance."""
    version = model.versions.get(version_id)
    return version is not None and any(i.state is InstanceState.READY for i in version.instances)


def is_complete(version: Version) -> bool:
    """Whether as many instances are READY as the version wants."""
    ready = sum(i.state is InstanceState.READY for i in version.instances)
    return ready >= version.spec.shape.replicas


def is_at_rest(model: Model, version_id: str) -> bool:
    """Whether a version has no instance, alive or dying."""
    version = model.versions.get(version_id)
    return version is None or not version.instances


def is_lost_for_good(model: Model, version_id: str) -> bool:
    """Whether a version answers nothing, and nothing will make it answer.

    It failed, its load was cancelled before it was ready, it is being deleted, or it does not exist.
    """
    version = model.versions.get(version_id)
    if version is None:
        return True
    if not needs_instances(version):
        return not is_ready(model, version_id)
    return not version.instances and version.failure is not None


def is_given_up(model: Model, version_id: str) -> bool:
    """Whether an instance of a version was given up for good.

    None takes its place, though others of the version may still answer.
    """
    version = model.versions.get(version_id)
    return version is not None and version.failure is not None


def has_served(model: Model) -> bool:
    """Whether the traffic has, or had, a version that was READY."""
    serving = model.versions.get(model.serving_version)
    routed = model.routes is not None and any(cluster.routed for cluster in model.routes.clusters)
    return serving is not None and (routed or serving.load_duration_s is not None)


def needs_instances(version: Version) -> bool:
    """Whether instances of a version shall exist."""
    return version.desired_tier is not Tier.COLD


def observed_tier(version: Version) -> Tier:
    """Return where a version is kept at present.

    Until engines can park, where instances are is HOT.
    """
    return Tier.HOT if version.instances else Tier.COLD


def find_instance(state: State, key: InstanceKey) -> tuple[Model, Version, Instance] | None:
    """Return an instance with its model and version; None if it has gone."""
    model = state.models.get(key.version.model)
    version = model.versions.get(key.version.version) if model is not None else None
    if model is None or version is None:
        return None
    for instance in version.instances:
        if instance.key == key:
            return model, version, instance
    return None


def find_facts(state: State, key: VersionKey) -> ModelFacts | None:
    """Return what is known of a version; None if it has gone."""
    model = state.models.get(key.model)
    version = model.versions.get(key.version) if model is not None else None
    return None if version is None else version.facts


def reserved_bytes(state: State, device_id: str) -> int:
    """Return the bytes that instances hold on a device.

    Those of every state in which an instance holds any.
    """
    return sum(
        instance.placement.bytes_on(device_id)
        for model in state.models.values()
        for version in model.versions.values()
        for instance in version.instances
        if instance.placement is not None
    )


def free_bytes(state: State, device_id: str) -> int:
    """Return what a device has left for reservations; 0 for an unknown device."""
    for device in state.devices:
        if device.device_id == device_id:
            return device.capacity_bytes - device.reserve_bytes - reserved_bytes(state, device_id)
    return 0


def available_bytes(state: State, device_id: str) -> int:
    """Return how many bytes of a device a new instance may have.

    What is left for reservations, or less where less is measured as free. Negative where more is reserved, or promised, than there is.
    """
    free, measured = free_bytes(state, device_id), find_measured(state, device_id)
    return free if measured is None else min(free, measured.left_bytes(reserved_bytes(state, device_id)))


def find_measured(state: State, device_id: str) -> MeasuredMemory | None:
    """Return a device as it was last looked at; None: it was not, or it does not tell."""
    return next((one for one in state.measured if one.device_id == device_id), None)


def etag(model: Model) -> str:
    """Return a model's etag, by which a caller notices that others changed it.

    It is over what callers set and the serving version, nothing that moves by itself.
    """
    parts = [model.model_id, model.serving_version, repr(model.labels)]
    parts += [repr(model.aliases)] if model.aliases else []  # without any it is what a release before them said
    parts += [f"{name}:{version.pinned}" for name, version in sorted(model.versions.items())]
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).hexdigest()


def weight_ppm(model: Model, version_id: str) -> int:
    """Return a version's share of the model's published traffic, in millionths."""
    clusters = model.routes.clusters if model.routes is not None else ()
    return next((c.weight_ppm for c in clusters if c.version == version_id and c.routed), 0)


def owned_engines(state: State) -> frozenset[tuple[InstanceKey, int]]:
    """Return instance and generation of every process that the state knows of."""
    return frozenset(
        (instance.key, instance.generation)
        for model in state.models.values()
        for version in model.versions.values()
        for instance in version.instances
    )


def version_exists(state: State, key: VersionKey) -> bool:
    """Whether there is such a version, in whatever state."""
    model = state.models.get(key.model)
    return model is not None and key.version in model.versions
