"""What tells two states of an exploration apart.

That is everything but times, generations, histories and counters; without them the space is finite. Instances of one version are
interchangeable, so they are sorted and renumbered.
"""

from __future__ import annotations

from collections.abc import Hashable
from types import MappingProxyType

from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.fault import RETRY_AFTER_S, AdapterFault, EffectKey
from echoplaned.core.holding import is_held
from echoplaned.core.ids import InstanceKey
from echoplaned.core.instances import MAX_FAILURES
from echoplaned.core.queries import needs_instances
from echoplaned.core.replacing import replace
from echoplaned.core.rollout_state import Hold, Rollout
from echoplaned.core.routes import ready_endpoints
from echoplaned.core.signals import publish_fault
from echoplaned.core.state import Instance, InstanceState, Model, RoutesProgress, State, Version
from echoplaned.testing import builders

MODEL = "m"
SAID = "because"
"""What every verdict of an exploration gives as its reason."""
LEADER = "leader-1"
_FAILURES_SEEN = 1
_WORN = len(RETRY_AFTER_S)
_PUBLISH = ("publish", MODEL, 1)


def canonical(state: State, now_s: float = 0.0) -> State:
    """Return the state reduced to what tells it apart from others.

    Times, generations, histories and counters are taken out, instances renumbered.
    """
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
        ending = FailureDetail(Reason.ROLLED_BACK, "") if rollout.ending is not None else None
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
        # What a gate says holds nothing but its own window; every other hold is told by its kind.
        rollout = replace(rollout, hold=_hold(rollout), held_reason="")
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
        faults=_canonical_faults(model),
        past_rollouts=(),
        update_time_s=0.0,
        create_time_s=0.0,
    )


def _hold(rollout: Rollout) -> Hold | None:
    return None if rollout.hold is Hold.GATES else rollout.hold


def _canonical_faults(model: Model) -> tuple[AdapterFault, ...]:
    """Return the routes' fault, which alone decides anything, as given up and due.

    Those of other work only count towards its end, which ``with_failures_exhausted`` reaches at once.
    """
    fault = publish_fault(model)
    return () if fault is None else (replace(fault, key=_PUBLISH, count=_WORN + 1, retry_at_s=0.0),)


def with_failures_exhausted(state: State, key: EffectKey) -> State:
    """Return the state in which the next failure of an effect gives it up."""
    fault = AdapterFault(key, "adapter", "Bug", _WORN, 0.0)
    others = {name: tuple(f for f in m.faults if not f.is_about(key)) for name, m in state.models.items()}
    return _with_models(state, {n: replace(m, faults=(*others[n], fault)) for n, m in state.models.items()})


def by_faults(state: State) -> State:
    """Return the state in which all failed versions failed by an adapter's fault."""
    failure = FailureDetail(Reason.ADAPTER_FAILED, "")
    models = {}
    for name, model in state.models.items():
        versions = {n: replace(v, failure=failure) if v.failure else v for n, v in model.versions.items()}
        models[name] = replace(model, versions=MappingProxyType(versions))
    return _with_models(state, models)


def _with_models(state: State, models: dict[str, Model]) -> State:
    return replace(state, models=MappingProxyType(models))


def _canonical_version(version: Version, now_s: float) -> Version:
    instances = tuple(_canonical_instance(i, now_s) for i in version.instances)
    ordered = sorted(instances, key=shape)
    instances = tuple(_renumbered(version, n, i) for n, i in enumerate(ordered))
    failure = FailureDetail(Reason.ENGINE_START_FAILED, "") if version.failure is not None else None
    return replace(version, instances=instances, next_ordinal=len(instances), failure=failure, load_duration_s=0.0)


def shape(i: Instance, now_s: float = 0.0) -> tuple[str, str, int, bool, bool, bool, bool]:
    """Return what tells two instances of a version apart."""
    held = is_held(i, now_s)
    return (i.state, i.outcome or "", _failures(i), _waits(i, now_s), i.ready_since_s is None, i.silent, held)


def _waits(i: Instance, now_s: float) -> bool:
    return i.state is InstanceState.STARTING and i.restart_at_s is not None and i.restart_at_s > now_s


def _failures(i: Instance) -> int:
    """Return the count of failures so that the one after the first is the last.

    One restart and one end show every branch that five do.
    """
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
        held_since_s=0.0 if is_held(i, now_s) else None,
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
            needs_instances(v),
            v.delete_when_stopped,
            v.failure is not None,
            tuple(sorted(shape(i, now_s) for i in v.instances)),
        )
        for name, v in sorted(model.versions.items())
    )
    r = model.rollout
    rollout = (
        None
        if r is None
        else (r.phase, r.stage, r.cluster_acknowledged, r.paused, _hold(r), r.outcome, r.ending is not None)
    )
    routed = model.routes.clusters if model.routes is not None else ()
    clusters = tuple((c.version, c.weight_ppm, c.routed) for c in routed)
    operations = tuple(sorted((o.operation_id, o.cancelled) for o in state.operations.values() if not o.done))
    return (
        versions,
        rollout,
        clusters,
        model.progress.acknowledged,
        publish_fault(model) is not None,
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
        flags = ("" if needs_instances(version) else " unwanted") + (" failed" if version.failure is not None else "")
        parts.append(f"{name}[{states}{flags}]")
    r = model.rollout
    if r is not None:
        parts.append(f"{r.phase} {r.stage} {r.hold or ''}{' paused' if r.paused else ''}")
    acknowledged = "acked" if model.progress.acknowledged else "unacked"
    return " ".join((*parts, acknowledged, "deleting" if model.deleting else ""))


__all__ = ["MODEL", "SAID", "by_faults", "canonical", "describe", "key_of", "shape", "with_failures_exhausted"]
