"""``step(state, event) -> (state, effects)``: the one way in which the state changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from echoplaned.core import events, instances, recovery
from echoplaned.core.calibration import with_reading
from echoplaned.core.commands import Command
from echoplaned.core.commands.model import ConfigureModel, DeleteModel, on_configure, on_delete_model
from echoplaned.core.commands.operation import CancelOperation, DeleteOperation, on_cancel, on_delete_operation
from echoplaned.core.commands.rollout import (
    AbortRollout,
    PauseRollout,
    PromoteRollout,
    ResumeRollout,
    on_abort,
    on_pause,
    on_promote,
    on_resume,
)
from echoplaned.core.commands.update import UpdateModel, on_update
from echoplaned.core.commands.version import DeleteVersion, LoadVersion, on_delete_version, on_load
from echoplaned.core.derive import implied_effects
from echoplaned.core.draft import Draft
from echoplaned.core.effects import Effect, EffectKey, KeyedEffect, Persist
from echoplaned.core.events import Event
from echoplaned.core.failure import Failure, Reason
from echoplaned.core.reconcile import reconcile, trim_operations
from echoplaned.core.rollouts import accepts, apply_verdicts, fire, is_judged
from echoplaned.core.state import Model, RoutesProgress, State
from echoplaned.core.tables import RolloutSignal

StepInput = Event | Command
"""What moves the state: a fact, or what somebody asks for."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one event leads to. ``effects``: Persist first, if anything durable changed."""

    state: State
    effects: tuple[Effect, ...]


def step(state: State, event: StepInput) -> Step:
    """Apply one fact or command.

    Raises:
        EchoplaneError: a command is refused; nothing has changed. A fact never raises.
    """
    draft = Draft(state, event_time(event))
    _HANDLERS[type(event)](draft, event)
    everything = (
        isinstance(event, events.Tick | events.Recovered) or draft.state.reservation_epoch != state.reservation_epoch
    )
    for model_id in sorted(draft.state.models.keys() if everything else draft.touched):
        reconcile(draft, model_id)
    return _finish(state, draft, everything=everything)


def event_time(event: StepInput) -> float:
    """Return the time that an event carries, in seconds since the epoch."""
    return event.request.now_s if isinstance(event, Command) else event.now_s


def _finish(before: State, draft: Draft, *, everything: bool) -> Step:
    keyed = _new_effects(draft, everything=everything)
    effects: list[Effect] = []
    if draft.announces or not same_durably(before, draft.state):
        draft.state = replace(draft.state, store_epoch=before.store_epoch + 1)
        effects.append(Persist(draft.state.store_epoch))
    effects += [*keyed, *draft.extra_effects, *draft.announces]
    return Step(draft.state, tuple(effects))


def _new_effects(draft: Draft, *, everything: bool) -> list[KeyedEffect]:
    """Return the effects that the state implies and that were not handed out yet; note which hold now."""
    state = draft.state
    names = state.models.keys() if everything or draft.touched - state.models.keys() else draft.touched
    issued: dict[str, frozenset[EffectKey]] = {n: keys for n, keys in state.issued.items() if n in state.models}
    fresh: list[KeyedEffect] = []
    for name in sorted(names & state.models.keys()):
        implied = implied_effects(state.models[name], state.reservation_epoch, draft.now_s)
        known = issued.get(name, frozenset())
        fresh += [effect for effect in implied if effect.key not in known]
        issued[name] = frozenset(effect.key for effect in implied)
    draft.state = replace(state, issued=MappingProxyType(issued))
    return fresh


def same_durably(before: State, after: State) -> bool:
    """Whether two states are equal in everything that the store keeps."""
    if before.operations is not after.operations and before.operations != after.operations:
        return False
    if before.calibrations is not after.calibrations and before.calibrations != after.calibrations:
        return False
    if before.models is after.models:
        return True
    if before.models.keys() != after.models.keys():
        return False
    return all(_same_model(model, after.models[name]) for name, model in before.models.items())


def _same_model(before: Model, after: Model) -> bool:
    return before is after or durable_model(before) == durable_model(after)


def durable_model(model: Model) -> Model:
    """Return a model without what is only observed: progress of routes, a rollout's running verdicts."""
    rollout = model.rollout
    if rollout is not None:
        rollout = replace(rollout, verdicts=(), held_reason="", stale_subscribers=())
    return replace(model, progress=RoutesProgress(), rollout=rollout)


def _on_progress(draft: Draft, event: events.RoutesProgressed) -> None:
    model = draft.state.models.get(event.model)
    if model is None or model.routes is None or model.routes.epoch != event.epoch:
        return draft.count_stale()
    progress = RoutesProgress(
        event.epoch,
        model.progress.since_s,
        event.acknowledged,
        event.acknowledged_count,
        event.subscriber_count,
        event.stale,
    )
    rollout = model.rollout
    if rollout is not None and rollout.stale_subscribers != event.stale:
        rollout = replace(rollout, stale_subscribers=event.stale)
    draft.put_model(replace(model, progress=progress, rollout=rollout))
    return None


def _on_refused_routes(draft: Draft, event: events.RoutesRefused) -> None:
    model = draft.state.models.get(event.model)
    rollout = model.rollout if model is not None else None
    if model is None or model.routes is None or model.routes.epoch != event.epoch or rollout is None:
        return draft.count_stale()
    if not accepts(rollout, RolloutSignal.REFUSED):
        return draft.count_stale()
    why = Failure(Reason.ROLLED_BACK, f"subscriber {event.node} refused the routes: {event.detail}")
    fire(draft, rollout, RolloutSignal.REFUSED, why)
    return None


def _on_judged(draft: Draft, event: events.GatesJudged) -> None:
    model = draft.state.models.get(event.model)
    rollout = model.rollout if model is not None else None
    current = rollout is not None and (rollout.rollout_id, rollout.stage, rollout.evidence_window) == (
        event.rollout_id,
        event.stage,
        event.evidence_window,
    )
    if rollout is None or not current or not is_judged(rollout):
        return draft.count_stale()
    apply_verdicts(draft, rollout, event.verdicts)
    return None


def _on_reading(draft: Draft, event: events.ReadingTaken) -> None:
    windows = with_reading(draft.state.calibrations, event.key, event.reading)
    draft.state = replace(draft.state, calibrations=windows)


def _on_int8_baseline(draft: Draft, event: events.Int8BaselineMeasured) -> None:
    model = draft.state.models.get(event.version.model)
    version = model.versions.get(event.version.version) if model is not None else None
    if version is None:
        return draft.count_stale()
    draft.put_version(replace(version, int8_baseline=event.measured))
    return None


def _on_tick(draft: Draft, _event: events.Tick) -> None:
    for model in tuple(draft.state.models.values()):
        for version in model.versions.values():
            for instance in version.instances:
                instances.forgive(draft, instance)
    trim_operations(draft)


# Each handler takes its own event type; the table pairs them by that type.
_HANDLERS: Mapping[type[StepInput], Callable[[Draft, Any], None]] = MappingProxyType(
    {
        LoadVersion: on_load,
        UpdateModel: on_update,
        DeleteModel: on_delete_model,
        DeleteVersion: on_delete_version,
        ConfigureModel: on_configure,
        PauseRollout: on_pause,
        ResumeRollout: on_resume,
        AbortRollout: on_abort,
        PromoteRollout: on_promote,
        CancelOperation: on_cancel,
        DeleteOperation: on_delete_operation,
        events.InstancePlaced: instances.on_placed,
        events.PlacementRefused: instances.on_placement_refused,
        events.EngineReady: instances.on_engine_event,
        events.ProbesPassed: instances.on_engine_event,
        events.ProbesFailed: instances.on_engine_event,
        events.EngineLost: instances.on_engine_event,
        events.EngineStuck: instances.on_engine_event,
        events.EngineGaveUp: instances.on_engine_event,
        events.EngineDrained: instances.on_engine_event,
        events.EngineStopped: instances.on_engine_event,
        events.MemoryMeasured: instances.on_engine_event,
        events.ReadingTaken: _on_reading,
        events.Int8BaselineMeasured: _on_int8_baseline,
        events.RoutesProgressed: _on_progress,
        events.RoutesRefused: _on_refused_routes,
        events.GatesJudged: _on_judged,
        events.Tick: _on_tick,
        events.Recovered: recovery.on_recovered,
    }
)
