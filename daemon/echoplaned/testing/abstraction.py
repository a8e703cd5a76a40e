"""What tells two states of an exploration apart: everything but times, generations, histories and counters.

Without them the space is finite. Instances of one version are interchangeable, so they are sorted and renumbered.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from types import MappingProxyType

from echoplaned.core.failure import Failure, Reason
from echoplaned.core.fold import is_wanted
from echoplaned.core.ids import InstanceKey
from echoplaned.core.instances import MAX_FAILURES
from echoplaned.core.routes import ready_endpoints
from echoplaned.core.state import Instance, InstanceState, Model, RoutesProgress, State, Version
from echoplaned.testing import builders

MODEL = "m"
SAID = "because"
"""What every verdict of an exploration gives as its reason."""
LEADER = "leader-1"
_FAILURES_SEEN = 1


def canonical(state: State, now_s: float = 0.0) -> State:
    """Return the state with times, generations, histories and counters taken out, instances renumbered."""
    models = {name: _canonical_model(model, now_s) for name, model in state.models.items()}
    return State(
        devices=state.devices,
        models=MappingProxyType(models),
        operations=MappingProxyType(
            {k: replace(o, create_time_s=0.0, end_time_s=None) for k, o in state.operations.items() if not o.done}
        ),
    )


def _canonical_model(model: Model, now_s: float) -> Model:
    versions = {name: _canonical_version(v, now_s) for name, v in model.versions.items()}
    rollout = model.rollout
    if rollout is not None:
        ending = Failure(Reason.ROLLED_BACK, "") if rollout.ending is not None else None
        rollout = replace(
            rollout,
            evidence_window=0,
            create_time_s=0.0,
            phase_since_s=0.0,
            observe_since_s=None if rollout.observe_since_s is None else 0.0,
            verdicts=(),
            history=(),
            ending=ending,
        )
        if rollout.held_reason == SAID:
            rollout = replace(rollout, held_reason="")
    routes = model.routes
    if routes is not None:
        # Every step ends with routes that name the READY instances; renumbered here as these are.
        clusters = tuple(replace(c, endpoints=ready_endpoints(versions[c.version])) for c in routes.clusters)
        routes = replace(routes, epoch=1, clusters=clusters)
    progress = RoutesProgress(1 if routes is not None else 0, 0.0, acknowledged=model.progress.acknowledged)
    return replace(
        model,
        versions=MappingProxyType(versions),
        rollout=rollout,
        routes=routes,
        progress=progress,
        past_rollouts=(),
        update_time_s=0.0,
        create_time_s=0.0,
    )


def _canonical_version(version: Version, now_s: float) -> Version:
    instances = tuple(_canonical_instance(i, now_s) for i in version.instances)
    ordered = sorted(instances, key=shape)
    instances = tuple(_renumbered(version, n, i) for n, i in enumerate(ordered))
    failure = Failure(Reason.ENGINE_START_FAILED, "") if version.failure is not None else None
    return replace(version, instances=instances, next_ordinal=len(instances), failure=failure, load_duration_s=0.0)


def shape(i: Instance, now_s: float = 0.0) -> tuple[str, str, int, bool, bool]:
    """Return what tells two instances of a version apart."""
    return (i.state, i.outcome or "", _failures(i), _waits(i, now_s), i.ready_since_s is None)


def _waits(i: Instance, now_s: float) -> bool:
    return i.state is InstanceState.STARTING and i.restart_at_s is not None and i.restart_at_s > now_s


def _failures(i: Instance) -> int:
    """From the first failure on the next one is the last: one restart and one end show every branch that five do."""
    return i.failures if i.failures < _FAILURES_SEEN else MAX_FAILURES - 1


def _canonical_instance(i: Instance, now_s: float) -> Instance:
    return replace(
        i,
        generation=1,
        failures=_failures(i),
        restart_at_s=1.0 if _waits(i, now_s) else None,
        ready_since_s=0.0 if i.ready_since_s is not None else None,
        drain_deadline_s=0.0 if i.drain_deadline_s is not None else None,
        measured_bytes=0,
        failure=None,
        alarm=False,
    )


def _renumbered(version: Version, ordinal: int, i: Instance) -> Instance:
    found = builders.endpoints(f"127.0.0.1:{ordinal}") if i.endpoints else ()
    return replace(i, key=InstanceKey(version.key, ordinal), endpoints=found, leader_id=LEADER if i.leader_id else "")


def key_of(state: State, now_s: float = 0.0) -> Hashable:
    """Return what tells two states apart, times and counters left out."""
    model = state.models.get(MODEL)
    if model is None:
        return "deleted"
    versions = tuple(
        (
            name,
            is_wanted(v),
            v.delete_when_stopped,
            v.failure is not None,
            tuple(sorted(shape(i, now_s) for i in v.instances)),
        )
        for name, v in sorted(model.versions.items())
    )
    r = model.rollout
    held = r.held_reason if r is not None and r.held_reason != SAID else ""
    rollout = (
        None
        if r is None
        else (r.phase, r.stage, r.cluster_acknowledged, r.paused, held, r.outcome, r.ending is not None)
    )
    routed = model.routes.clusters if model.routes is not None else ()
    clusters = tuple((c.version, c.weight_ppm, c.routed) for c in routed)
    operations = tuple(sorted((o.operation_id, o.cancelled) for o in state.operations.values() if not o.done))
    return (
        versions,
        rollout,
        clusters,
        model.progress.acknowledged,
        model.serving_version,
        bool(model.deleting),
        operations,
    )


def describe(state: State) -> str:
    """Return a state in a line, for a person."""
    model = state.models.get(MODEL)
    if model is None:
        return "deleted"
    parts = []
    for name, version in sorted(model.versions.items()):
        states = " ".join(f"{i.state}{'/' + i.outcome if i.outcome else ''}" for i in version.instances)
        flags = ("" if is_wanted(version) else " unwanted") + (" failed" if version.failure is not None else "")
        parts.append(f"{name}[{states}{flags}]")
    r = model.rollout
    if r is not None:
        parts.append(f"{r.phase} {r.stage} {r.held_reason}{' paused' if r.paused else ''}")
    acknowledged = "acked" if model.progress.acknowledged else "unacked"
    return " ".join((*parts, acknowledged, "deleting" if model.deleting else ""))


__all__ = ["MODEL", "SAID", "canonical", "describe", "key_of", "shape"]
