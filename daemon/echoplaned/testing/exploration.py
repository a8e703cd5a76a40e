"""Exhaustive exploration of the core, from one served version to another.

Every order of events from a model that serves one version and is updated to another is played. States are compared without times,
generations and counters, so that the space is finite. Time is two events: a short one (restarts are due, soaking ends) and a long one
(every deadline has passed). Nothing else of the core is abstracted: the real ``step`` runs.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from echoplaned.core import commands as cmd
from echoplaned.core import engine_events as eng
from echoplaned.core import events as ev
from echoplaned.core.desired_effects import desired_effects
from echoplaned.core.errors import DaemonError
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.ids import InstanceKey
from echoplaned.core.placement import on_one_device
from echoplaned.core.queries import find_instance, free_bytes, is_ready
from echoplaned.core.rollout_state import GateVerdict as G
from echoplaned.core.rollout_state import Phase, Rollout, Verdict
from echoplaned.core.rollouts import is_heard
from echoplaned.core.signals import publish_fault
from echoplaned.core.state import WEIGHT_TOTAL_PPM, Instance, InstanceState, Model, State
from echoplaned.core.step import StepInput, event_time, step
from echoplaned.testing import builders
from echoplaned.testing.abstraction import (
    LEADER,
    MODEL,
    SAID,
    by_faults,
    canonical,
    describe,
    key_of,
    shape,
    with_failures_exhausted,
)

SHORT_S, LONG_S = 5.0, 10_000.0
OLD, NEW = "v1", "v2"


@dataclass(frozen=True, slots=True)
class Found:
    """What an exploration saw.

    Attributes:
        states: number of different states.
        transitions: number of steps from a state to the next.
        phases: phases in which a rollout was seen.
        problems: broken invariants and rollouts that cannot end; empty: none.
    """

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
    with _without_collector():
        return _explore(canonical(_serving(replicas)), limit)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keep the garbage collector off within the block.

    Frozen states hold no cycles; a collector that walks millions of them again and again takes longer than the exploration.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _explore(start: State, limit: int) -> Found:
    graph = _Graph(seen={key_of(start): "start"})
    queue: deque[State] = deque([start])
    problems: list[str] = []
    phases: set[Phase] = set()
    transitions = 0
    while queue and len(graph.seen) < limit and len(problems) < 20:
        state = queue.popleft()
        here = key_of(state)
        _note_end(state, here, graph, phases)
        for before, event, answers in _ways(state):
            after = _apply(before, event)
            if after is None:
                continue
            transitions += 1
            wrong = (*find_broken_invariants(before, after), *find_wrong_rollbacks(before, event, after))
            problems += [f"{text} after {event} in {graph.seen[here]}" for text in wrong]
            there = key_of(after, event_time(event))
            if answers:
                graph.good.setdefault(there, set()).add(here)
            if there not in graph.seen:
                graph.seen[there] = describe(after)
                queue.append(canonical(after, event_time(event)))
    problems += _stuck(graph)
    return Found(len(graph.seen), transitions, frozenset(phases), tuple(problems))


def _serving(replicas: int) -> State:
    """Return a model whose first version serves, with an update asked for."""
    state = builders.empty_state()
    state = builders.run(
        state, cmd.LoadVersion(cmd.Request(0.0, "load"), builders.order(MODEL, OLD, replicas=replicas))
    )
    for ordinal in range(replicas):
        key = InstanceKey.parse(f"{MODEL}/{OLD}#{ordinal}")
        state = builders.run(state, *_up(state, key))
        state = builders.run(state, eng.ProbesPassed(0.0, key, 1))
    return builders.run(state, _acknowledged(state), _update(replicas))


def _up(state: State, key: InstanceKey) -> tuple[StepInput, ...]:
    return (_placed(state, key), _ready(key, 1))


def _placed(state: State, key: InstanceKey) -> ev.InstancePlaced:
    return ev.InstancePlaced(0.0, key, on_one_device("host", 128 * builders.MIB), state.reservation_epoch)


def _ready(key: InstanceKey, generation: int) -> eng.EngineReady:
    return eng.EngineReady(0.0, key, generation, builders.endpoints(f"127.0.0.1:{key.ordinal}"), LEADER)


def _update(replicas: int) -> cmd.UpdateModel:
    order = builders.order(MODEL, NEW, replicas=replicas)
    return cmd.UpdateModel(cmd.Request(0.0, "update"), order, "r1", builders.policy())


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


def _ways(state: State) -> Iterator[tuple[State, StepInput, bool]]:
    """Yield every event that may come, with the state that it comes in.

    Reasons and counts are abstracted, so another state may be meant than the given one.

    An adapter's fault comes as the one that gives the work up; those before only count (the transcripts have them), but for one of
    routes, which bars the same ways. At a start that finds the engines, every version that is down may be down by a fault.
    """
    for event, answers in possible(state):
        if isinstance(event, ev.AdapterFailed):
            yield with_failures_exhausted(state, event.key), event, answers
            continue
        yield state, event, answers
        if isinstance(event, ev.Recovered) and event.found:
            yield by_faults(state), event, answers


def possible(state: State) -> Iterator[tuple[StepInput, bool]]:
    """Yield every event that may come, and whether it is a plain answer.

    A plain answer is one of an adapter that works.
    """
    yield ev.Tick(SHORT_S), True
    yield ev.Tick(LONG_S), True
    yield ev.Recovered(0.0, ()), False
    model = state.models.get(MODEL)
    if model is None:
        return
    yield ev.Recovered(0.0, tuple(_alive(model))), False
    yield cmd.DeleteModel(cmd.Request(0.0, "delete"), MODEL, force=True), False
    for version in model.versions.values():
        shapes = set()
        for instance in version.instances:
            if shape(instance) not in shapes:  # two alike: what happens to one may as well happen to the other
                shapes.add(shape(instance))
                yield from _instance_events(state, instance)
    if model.routes is not None and not model.progress.acknowledged:
        yield _acknowledged(state), True
    if model.rollout is not None:
        yield from _rollout_events(model, model.rollout)
    for effect in desired_effects(model, state.reservation_epoch, 0.0):
        yield ev.AdapterFailed(0.0, effect.key, "adapter", "Bug"), False


def _alive(model: Model) -> Iterator[ev.FoundEngine]:
    for version in model.versions.values():
        for i in version.instances:
            if i.endpoints:
                yield ev.FoundEngine(i.key, i.generation, i.endpoints, i.leader_id)


def _instance_events(state: State, i: Instance) -> Iterator[tuple[StepInput, bool]]:
    """Yield what planner and engine may say of an instance.

    Of the bad news, what its state lets them see.
    """
    failure = FailureDetail(Reason.ENGINE_START_FAILED, "cannot load")
    key, generation = i.key, i.generation
    match i.state:
        case InstanceState.PENDING:
            yield _placed(state, key), True
            yield (
                ev.PlacementRefused(
                    0.0, key, FailureDetail(Reason.MEMORY_INSUFFICIENT, "no room"), state.reservation_epoch
                ),
                False,
            )
            return
        case InstanceState.STARTING if i.restart_at_s is None:
            yield _ready(key, generation), True
        case InstanceState.PROBING:
            yield eng.ProbesPassed(0.0, key, generation), True
            yield eng.ProbesFailed(0.0, key, generation, "wrong"), False
        case InstanceState.READY:
            yield eng.ProbesFailed(0.0, key, generation, "wrong"), False
            yield from _silence(state, i)
        case InstanceState.DRAINING:
            yield eng.EngineDrained(0.0, key, generation), True
        case InstanceState.STOPPING if i.held_since_s is not None:
            yield eng.EngineDrained(0.0, key, generation), True
        case InstanceState.STOPPING:
            yield eng.EngineStopped(0.0, key, generation), True
        case _:
            pass
    yield eng.EngineLost(0.0, key, generation, "died"), False
    yield eng.EngineStuck(0.0, key, generation, "stuck"), False
    yield eng.EngineGaveUp(0.0, key, generation, failure), False


def _silence(state: State, i: Instance) -> Iterator[tuple[StepInput, bool]]:
    """Yield that an instance falls silent, or is heard again.

    Of one that is alone it would change no route.
    """
    found = find_instance(state, i.key)
    if found is not None and len(found[1].instances) > 1:
        kind = eng.EngineReporting if i.silent else eng.EngineSilent
        yield kind(0.0, i.key, i.generation), i.silent


def _rollout_events(model: Model, rollout: Rollout) -> Iterator[tuple[StepInput, bool]]:
    request = cmd.Request(0.0, "steer")
    yield cmd.AbortRollout(request, MODEL, rollout.rollout_id, "by hand"), False
    yield cmd.PromoteRollout(request, MODEL, rollout.rollout_id, "by hand"), False
    if rollout.paused:
        yield cmd.ResumeRollout(request, MODEL, rollout.rollout_id), True
    else:
        yield cmd.PauseRollout(request, MODEL, rollout.rollout_id), False
    if model.routes is not None:
        yield ev.RoutesRefused(0.0, MODEL, model.routes.epoch, "client", "bad"), False
    for verdict in (G.PASS, G.HOLD, G.FAIL):
        verdicts = (Verdict("errors", verdict, SAID),)
        if is_heard(rollout, verdicts):
            judged = ev.GatesJudged(0.0, MODEL, rollout.rollout_id, rollout.stage, rollout.evidence_window, verdicts)
            yield judged, verdict is not G.HOLD


def _apply(state: State, event: StepInput) -> State | None:
    try:
        return step(state, event).state
    except DaemonError:
        if not isinstance(event, cmd.Command):
            raise
        return None


def find_broken_invariants(before: State, after: State) -> list[str]:
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


def find_wrong_rollbacks(before: State, event: StepInput, after: State) -> Iterator[str]:
    """Yield what is wrong where a rollout turns back for a fault of the daemon's.

    Neither an adapter that failed nor routes that could not be published in time are a reason.
    """
    model, now = before.models.get(MODEL), after.models.get(MODEL)
    if model is None or model.rollout is None or now is None or now.rollout is None:
        return
    waits = isinstance(event, ev.Tick) and publish_fault(model) is not None
    turned = now.rollout.phase is Phase.REVERTING and model.rollout.phase is not Phase.REVERTING
    if turned and (waits or (isinstance(event, ev.AdapterFailed) and event.key[0] in {"publish", "gates"})):
        yield f"{model.rollout.phase} turned back for a fault of an adapter"
    if (
        isinstance(event, ev.Tick)
        and publish_fault(model) is not None
        and not model.deleting
        and _new_drains(model, now)
    ):
        yield "an instance is drained that clients may still follow"


def _new_drains(before: Model, after: Model) -> bool:
    """Whether an instance that was READY is on its way out."""
    ready = {i.key for v in before.versions.values() for i in v.instances if i.state is InstanceState.READY}
    return any(
        i.key in ready and i.state is InstanceState.DRAINING for v in after.versions.values() for i in v.instances
    )


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
    """Return instances that vanished while they still had a process.

    They may only from PENDING (no process yet) or STOPPING (its process has gone).
    """
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
    """Return states from which no plain answers lead to the rollout's end.

    The deletion's end counts as well.
    """
    reached = set(graph.ended)
    queue = deque(reached)
    while queue:
        for earlier in graph.good.get(queue.popleft(), ()):
            if earlier not in reached:
                reached.add(earlier)
                queue.append(earlier)
    return [f"stuck: {text}" for key, text in graph.seen.items() if key not in reached][:10]


__all__ = ["Found", "explore", "find_broken_invariants", "possible"]
