"""Correction of a stored state after the clock was put forward or back.

What the state waits for comes after as long as it would have.
"""

from __future__ import annotations

from types import MappingProxyType

from echoplaned.core.replacing import replace
from echoplaned.core.rollout_state import Rollout
from echoplaned.core.state import Instance, Model, State, Version


def shift_times(state: State, shift_s: float) -> State:
    """Return the state with every time that decides something moved by some seconds.

    What only tells when something happened (creation, history, ends) was right by the clock of its day, and stays.
    """
    if not shift_s:
        return state
    models = {name: _model(model, shift_s) for name, model in state.models.items()}
    return replace(state, models=MappingProxyType(models))


def _model(model: Model, shift_s: float) -> Model:
    versions = {name: _version(version, shift_s) for name, version in model.versions.items()}
    rollout = _rollout(model.rollout, shift_s) if model.rollout is not None else None
    return replace(model, versions=MappingProxyType(versions), rollout=rollout)


def _version(version: Version, shift_s: float) -> Version:
    instances = tuple(_instance(instance, shift_s) for instance in version.instances)
    # A load that has ended has its duration; of one under way the beginning decides how long it will have taken.
    started_s = version.load_started_s + (shift_s if version.load_duration_s is None else 0.0)
    return replace(version, instances=instances, load_started_s=started_s)


def _instance(instance: Instance, shift_s: float) -> Instance:
    return replace(
        instance,
        restart_at_s=_moved(instance.restart_at_s, shift_s),
        ready_since_s=_moved(instance.ready_since_s, shift_s),
        drain_deadline_s=_moved(instance.drain_deadline_s, shift_s),
        held_since_s=_moved(instance.held_since_s, shift_s),
    )


def _rollout(rollout: Rollout, shift_s: float) -> Rollout:
    return replace(
        rollout,
        phase_since_s=rollout.phase_since_s + shift_s,
        observe_since_s=_moved(rollout.observe_since_s, shift_s),
    )


def _moved(time_s: float | None, shift_s: float) -> float | None:
    return None if time_s is None else time_s + shift_s
