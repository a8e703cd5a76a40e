"""The versions that could be evicted to make room."""

from __future__ import annotations

from echoplaned.core.names import version_name
from echoplaned.core.plan import EvictionCandidate
from echoplaned.core.state import InstanceState, Model, State, Version

_UNKNOWN_RELOAD_S = 60.0


def candidates_of(state: State) -> tuple[EvictionCandidate, ...]:
    """Return the versions that could be evicted to make room.

    They are ready, on one device, and nobody needs them at once: not serving, not pinned, not in a rollout.
    Nothing is parked here: no engine says yet how soon it would wake.
    """
    return tuple(
        candidate
        for model in state.models.values()
        if model.rollout is None
        for version in model.versions.values()
        if (candidate := _candidate(model, version)) is not None
    )


def _candidate(model: Model, version: Version) -> EvictionCandidate | None:
    ready = all(instance.state is InstanceState.READY for instance in version.instances)
    placements = [instance.placement for instance in version.instances if instance.placement is not None]
    devices = {device_id for placement in placements for device_id in placement.device_ids}
    if version.pinned or not ready or len(devices) != 1 or version.key.version == model.serving_version:
        return None
    return EvictionCandidate(
        name=version_name(version.key.model, version.key.version),
        device_id=devices.pop(),
        bytes=sum(placement.total_bytes for placement in placements),
        wake_seconds=None,
        reload_seconds=version.load_duration_s or _UNKNOWN_RELOAD_S,
    )
