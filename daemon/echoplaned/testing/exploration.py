"""Exhaustive exploration of the core: every order of events from a model that serves one version and is updated to another.

States are compared without times, generations and counters, so that the space is finite. Time is two events: a short one (restarts
are due, soaking ends) and a long one (every deadline has passed). Nothing else of the core is abstracted: the real ``step`` runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from echoplaned.core import events as ev
from echoplaned.core.failure import Failure, Reason
from echoplaned.core.fold import free_bytes, is_ready
from echoplaned.core.ids import InstanceKey
from echoplaned.core.instances import MAX_FAILURES
from echoplaned.core.rollouts import is_judged
from echoplaned.core.routes import ready_endpoints
from echoplaned.core.state import (
    WEIGHT_TOTAL_PPM,
    Instance,
    InstanceState,
    Model,
    Phase,
    Rollout,
    RoutesProgress,
    State,
    Verdict,
    Version,
)
from echoplaned.core.state import GateVerdict as G
from echoplaned.core.step import event_time, step
from echoplaned.errors import EchoplaneError
from echoplaned.testing import builders

SHORT_S, LONG_S = 5.0, 10_000.0
MODEL, OLD, NEW = "m", "v1", "v2"
_FAILURES_SEEN = 1
_SAID = "because"


@dataclass(frozen=True, slots=True)
class Found:
    """What an exploration saw. ``problems`` are broken invariants and rollouts that cannot end."""

    states: int
    transitions: int
    phases: frozenset[Phase]
    problems: tuple[str, ...]


@dataclass(slots=True)
class _Graph:
    good: dict[Hashable, set[Hashable]] = field(default_factory=dict)  # reached from, by events of adapters that answer
    ended: set[Hashable] = field(default_factory=set)
    seen: dict[Hashable, str] = field(default_factory=dict)


def explore(replicas: int, limit: int = 2_000_000) -> Found:
    """Explore every order of events for two versions with that many instances each."""
    start = canonical(_serving(replicas))
    graph = _Graph(seen={key_of(start): "start"})
    queue: deque[State] = deque([start])
    problems: list[str] = []
    phases: set[Phase] = set()
    transitions = 0
    while queue and len(graph.seen) < limit and len(problems) < 20:
        state = queue.popleft()
        here = key_of(state)
        _note_end(state, here, graph, phases)
        for event, answers in possible(state):
            after = _apply(state, event)
            if after is None:
                continue
            transitions += 1
            problems += [f"{text} after {event} in {graph.seen[here]}" for text in broken(state, after)]
            there = key_of(after, event_time(event))
            if answers:
                graph.good.setdefault(there, set()).add(here)
            if there not in graph.seen:
                graph.seen[there] = _describe(after)
                queue.append(canonical(after, event_time(event)))
    problems += _stuck(graph)
    return Found(len(graph.seen), transitions, frozenset(phases), tuple(problems))


def _serving(replicas: int) -> State:
    """Return a model whose first version serves, with an update asked for."""
    state = builders.empty_state()
    state = builders.run(
        state, ev.LoadRequested(ev.Request(0.0, "load"), builders.order(MODEL, OLD, replicas=replicas))
    )
    for ordinal in range(replicas):
        key = InstanceKey.parse(f"{MODEL}/{OLD}#{ordinal}")
        state = builders.run(state, *_up(state, key))
        state = builders.run(state, ev.ProbesPassed(0.0, key, 1))
    return builders.run(state, _acknowledged(state), _update(replicas))


def _up(state: State, key: InstanceKey) -> tuple[ev.Event, ...]:
    reserved = ev.Reserved(0.0, key, "host", 128 * builders.MIB, state.ledger_epoch)
    return (reserved, ev.EngineReady(0.0, key, 1, f"127.0.0.1:{key.ordinal}", 1))


def _update(replicas: int) -> ev.UpdateRequested:
    order = builders.order(MODEL, NEW, replicas=replicas)
    return ev.UpdateRequested(ev.Request(0.0, "update"), order, "r1", builders.policy())


def _acknowledged(state: State) -> ev.RoutesProgressed:
    routes = state.models[MODEL].routes
    return ev.RoutesProgressed(
        0.0,
        MODEL,
        routes.epoch if routes is not None else 0,
        acknowledged=True,
        acknowledged_count=1,
        subscriber_count=1,
    )


def possible(state: State) -> Iterator[tuple[ev.Event, bool]]:
    """Yield every event that may come in a state, and whether it is a plain answer of an adapter that works."""
    yield ev.Tick(SHORT_S), True
    yield ev.Tick(LONG_S), True
    yield ev.Recovered(0.0, ()), False
    model = state.models.get(MODEL)
    if model is None:
        return
    yield ev.Recovered(0.0, tuple(_alive(model))), False
    yield ev.DeleteModelRequested(ev.Request(0.0, "delete"), MODEL, force=True), False
    for version in model.versions.values():
        shapes = set()
        for instance in version.instances:
            if _shape(instance) not in shapes:  # two alike: what happens to one may as well happen to the other
                shapes.add(_shape(instance))
                yield from _instance_events(state, instance)
    if model.routes is not None and not model.progress.acknowledged:
        yield _acknowledged(state), True
    if model.rollout is not None:
        yield from _rollout_events(model, model.rollout)


def _alive(model: Model) -> Iterator[ev.FoundEngine]:
    for version in model.versions.values():
        for i in version.instances:
            if i.address:
                yield ev.FoundEngine(i.key, i.generation, i.address, i.pid)


def _instance_events(state: State, i: Instance) -> Iterator[tuple[ev.Event, bool]]:
    """Yield what planner and engine may say of an instance; of the bad news, what its state lets them see."""
    failure = Failure(Reason.ENGINE_START_FAILED, "cannot load")
    key, generation = i.key, i.generation
    match i.state:
        case InstanceState.PENDING:
            yield ev.Reserved(0.0, key, "host", 128 * builders.MIB, state.ledger_epoch), True
            yield ev.Refused(0.0, key, Failure(Reason.MEMORY_INSUFFICIENT, "no room"), state.ledger_epoch), False
            return
        case InstanceState.STARTING if i.restart_at_s is None:
            yield ev.EngineReady(0.0, key, generation, f"127.0.0.1:{key.ordinal}", 1), True
        case InstanceState.PROBING:
            yield ev.ProbesPassed(0.0, key, generation), True
            yield ev.ProbesFailed(0.0, key, generation, "wrong"), False
        case InstanceState.READY:
            yield ev.ProbesFailed(0.0, key, generation, "wrong"), False
        case InstanceState.DRAINING:
            yield ev.EngineDrained(0.0, key, generation), True
        case InstanceState.STOPPING:
            yield ev.EngineStopped(0.0, key, generation), True
        case _:
            pass
    yield ev.EngineLost(0.0, key, generation, "died"), False
    yield ev.EngineStuck(0.0, key, generation, "stuck"), False
    yield ev.EngineGaveUp(0.0, key, generation, failure), False


def _rollout_events(model: Model, rollout: Rollout) -> Iterator[tuple[ev.Event, bool]]:
    request = ev.Request(0.0, "steer")
    yield ev.AbortRequested(request, MODEL, rollout.rollout_id, "by hand"), False
    yield ev.PromoteRequested(request, MODEL, rollout.rollout_id, "by hand"), False
    if rollout.paused:
        yield ev.ResumeRequested(request, MODEL, rollout.rollout_id), True
    else:
        yield ev.PauseRequested(request, MODEL, rollout.rollout_id), False
    if model.routes is not None:
        yield ev.RoutesRefused(0.0, MODEL, model.routes.epoch, "client", "bad"), False
    if is_judged(rollout):
        for verdict in (G.PASS, G.HOLD, G.FAIL):
            verdicts = (Verdict("errors", verdict, _SAID),)
            judged = ev.GatesJudged(0.0, MODEL, rollout.rollout_id, rollout.stage, rollout.window, verdicts)
            yield judged, verdict is not G.HOLD


def _apply(state: State, event: ev.Event) -> State | None:
    try:
        return step(state, event).state
    except EchoplaneError:
        if not isinstance(event, ev.CallerEvent):
            raise
        return None


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
            window=0,
            create_time_s=0.0,
            phase_since_s=0.0,
            observe_since_s=None if rollout.observe_since_s is None else 0.0,
            verdicts=(),
            history=(),
            ending=ending,
        )
        if rollout.held_reason == _SAID:
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
    ordered = sorted(instances, key=_shape)
    instances = tuple(_renumbered(version, n, i) for n, i in enumerate(ordered))
    failure = Failure(Reason.ENGINE_START_FAILED, "") if version.failure is not None else None
    return replace(version, instances=instances, next_ordinal=len(instances), failure=failure, load_duration_s=0.0)


def _shape(i: Instance, now_s: float = 0.0) -> tuple[str, str, int, bool, bool]:
    """Return what tells two instances of a version apart."""
    return (i.state, i.goal or "", _failures(i), _waits(i, now_s), i.ready_since_s is None)


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
    address, pid = (f"127.0.0.1:{ordinal}", 1) if i.address else ("", 0)
    return replace(i, key=InstanceKey(version.key, ordinal), address=address, pid=pid)


def key_of(state: State, now_s: float = 0.0) -> Hashable:
    """Return what tells two states apart, times and counters left out."""
    model = state.models.get(MODEL)
    if model is None:
        return "deleted"
    versions = tuple(
        (name, v.wanted, v.forget, v.failure is not None, tuple(sorted(_shape(i, now_s) for i in v.instances)))
        for name, v in sorted(model.versions.items())
    )
    r = model.rollout
    held = r.held_reason if r is not None and r.held_reason != _SAID else ""
    rollout = None if r is None else (r.phase, r.stage, r.introduced, r.paused, held, r.goal, r.ending is not None)
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


def broken(before: State, after: State) -> list[str]:
    """Return which invariants a step has broken."""
    problems = []
    if any(free_bytes(after, device.device_id) < 0 for device in after.devices):
        problems.append("a device is overcommitted")
    model = after.models.get(MODEL)
    if model is not None:
        problems += _broken_weights(model)
    problems += _leaked(before, after)
    earlier = before.models.get(MODEL)
    if earlier is not None and model is not None and earlier.rollout is not None and model.rollout is not None:
        skipped = model.rollout.stage - earlier.rollout.stage
        if skipped not in {0, 1}:
            problems.append(f"stage went from {earlier.rollout.stage} to {model.rollout.stage}")
    return problems


def _broken_weights(model: Model) -> list[str]:
    routed = [c for c in (model.routes.clusters if model.routes is not None else ()) if c.routed]
    problems = []
    if routed and sum(c.weight_ppm for c in routed) != WEIGHT_TOTAL_PPM:
        problems.append("weights do not add up")
    ready = [c for c in routed if is_ready(model, c.version)]
    if ready and any(c.weight_ppm and not is_ready(model, c.version) for c in routed):
        problems.append("weight on a version that is not READY while another one is")
    return problems


def _leaked(before: State, after: State) -> list[str]:
    """An instance may vanish only from PENDING (no process yet) or STOPPING (its process has gone)."""
    kept = {i.key for m in after.models.values() for v in m.versions.values() for i in v.instances}
    return [
        f"{i.key} vanished from {i.state}"
        for m in before.models.values()
        for v in m.versions.values()
        for i in v.instances
        if i.key not in kept and i.state not in {InstanceState.PENDING, InstanceState.STOPPING}
    ]


def _note_end(state: State, here: Hashable, graph: _Graph, phases: set[Phase]) -> None:
    model = state.models.get(MODEL)
    if model is not None and model.rollout is not None:
        phases.add(model.rollout.phase)
    elif model is None or not model.deleting:
        graph.ended.add(here)


def _stuck(graph: _Graph) -> list[str]:
    """Return states from which no chain of plain answers leads to the end of the rollout (or of the deletion)."""
    reached = set(graph.ended)
    queue = deque(reached)
    while queue:
        for earlier in graph.good.get(queue.popleft(), ()):
            if earlier not in reached:
                reached.add(earlier)
                queue.append(earlier)
    return [f"stuck: {text}" for key, text in graph.seen.items() if key not in reached][:10]


def _describe(state: State) -> str:
    model = state.models.get(MODEL)
    if model is None:
        return "deleted"
    parts = []
    for name, version in sorted(model.versions.items()):
        states = " ".join(f"{i.state}{'/' + i.goal if i.goal else ''}" for i in version.instances)
        flags = ("" if version.wanted else " unwanted") + (" failed" if version.failure is not None else "")
        parts.append(f"{name}[{states}{flags}]")
    r = model.rollout
    if r is not None:
        parts.append(f"{r.phase} {r.stage} {r.held_reason}{' paused' if r.paused else ''}")
    acknowledged = "acked" if model.progress.acknowledged else "unacked"
    return " ".join((*parts, acknowledged, "deleting" if model.deleting else ""))


__all__ = ["Found", "broken", "canonical", "explore", "key_of", "possible"]
