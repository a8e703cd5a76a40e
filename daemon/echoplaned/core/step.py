"""The one way in which the state changes.

``step(state, event) -> (state, effects)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from echoplaned.core import adapter_faults, devices, engine_events, events, instances, recovery
from echoplaned.core.calibration import with_sample
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
from echoplaned.core.desired_effects import desired_effects
from echoplaned.core.effects import Effect, KeyedEffect, Persist
from echoplaned.core.events import Event
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.fault import EffectKey
from echoplaned.core.reconcile import reconcile, trim_operations
from echoplaned.core.replacing import replace
from echoplaned.core.rollout_state import SUBSCRIBERS_NAMED
from echoplaned.core.rollouts import accepts, apply_verdicts, fire, is_heard
from echoplaned.core.state import Model, RoutesProgress, State
from echoplaned.core.tables import RolloutSignal
from echoplaned.core.transaction import Transaction

StepInput = Event | Command
"""What moves the state: a fact, or what somebody asks for."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one event leads to.

    Attributes:
        state: the state after it.
        effects: what is to be done, in this order; Persist first, if anything durable changed.
    """

    state: State
    effects: tuple[Effect, ...]


def step(state: State, event: StepInput) -> Step:
    """Apply one fact or command.

    Raises:
        DaemonError: a command is refused; nothing has changed. A fact never raises.
    """
    transaction = Transaction(state, event_time(event))
    _HANDLERS[type(event)](transaction, event)
    everything = (
        isinstance(event, events.Tick | events.Recovered)
        or transaction.state.reservation_epoch != state.reservation_epoch
    )
    for model_id in sorted(transaction.state.models.keys() if everything else transaction.touched):
        reconcile(transaction, model_id)
    return _finish(state, transaction, everything=everything)


def event_time(event: StepInput) -> float:
    """Return the time that an event carries, in seconds since the epoch."""
    return event.request.now_s if isinstance(event, Command) else event.now_s


def _finish(before: State, transaction: Transaction, *, everything: bool) -> Step:
    keyed = _new_effects(transaction, everything=everything)
    effects: list[Effect] = []
    if transaction.announces or not same_durably(before, transaction.state):
        transaction.state = replace(transaction.state, store_epoch=before.store_epoch + 1)
        # First: a keyed effect that a crash cuts off is implied by the stored state, and so handed out again.
        effects.append(Persist(transaction.state.store_epoch))
    effects += [*keyed, *transaction.extra_effects, *transaction.announces]
    return Step(transaction.state, tuple(effects))


def _new_effects(transaction: Transaction, *, everything: bool) -> list[KeyedEffect]:
    """Return the effects that the state implies and that were not handed out yet.

    Which hold now is noted in ``State.issued``.
    """
    state = transaction.state
    names = state.models.keys() if everything or transaction.touched - state.models.keys() else transaction.touched
    issued: dict[str, frozenset[EffectKey]] = {n: keys for n, keys in state.issued.items() if n in state.models}
    models = dict(state.models)
    fresh: list[KeyedEffect] = []
    for name in sorted(names & state.models.keys()):
        implied = desired_effects(models[name], state.reservation_epoch, transaction.now_s)
        model = models[name] = adapter_faults.without_done(models[name], (effect.key for effect in implied))
        due = [e for e in implied if not adapter_faults.is_held_back(model, e.key, transaction.now_s)]
        known = issued.get(name, frozenset())
        fresh += [effect for effect in due if effect.key not in known]
        # What is held back counts as not handed out, so that it is when its time comes.
        issued[name] = frozenset(effect.key for effect in due)
    transaction.state = replace(state, models=MappingProxyType(models), issued=MappingProxyType(issued))
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
    """Return a model without what is only observed.

    That is progress of routes, faults of adapters, waits, and a rollout's verdicts, hold and stale subscribers.
    """
    rollout = model.rollout
    if rollout is not None:
        rollout = replace(
            rollout, verdicts=(), hold=None, held_reason="", stale_subscribers=(), stale_subscriber_count=0
        )
    return replace(model, progress=RoutesProgress(), faults=(), waits=(), rollout=rollout)


def _on_progress(transaction: Transaction, event: events.RoutesProgressed) -> None:
    model = transaction.state.models.get(event.model)
    if model is None or model.routes is None or model.routes.epoch != event.epoch:
        return transaction.count_stale()
    adapter_faults.recover(transaction, event.model, "publish")
    model = transaction.model(event.model)
    progress = replace(
        model.progress,
        epoch=event.epoch,
        acknowledged=event.acknowledged,
        acknowledged_count=event.acknowledged_count,
        subscriber_count=event.subscriber_count,
        stale=event.stale[:SUBSCRIBERS_NAMED],
        stale_count=len(event.stale),
    )
    rollout = model.rollout
    told = (progress.stale, progress.stale_count)
    if rollout is not None and (rollout.stale_subscribers, rollout.stale_subscriber_count) != told:
        rollout = replace(rollout, stale_subscribers=progress.stale, stale_subscriber_count=progress.stale_count)
    transaction.put_model(replace(model, progress=progress, rollout=rollout))
    return None


def _on_refused_routes(transaction: Transaction, event: events.RoutesRefused) -> None:
    model = transaction.state.models.get(event.model)
    rollout = model.rollout if model is not None else None
    if model is None or model.routes is None or model.routes.epoch != event.epoch or rollout is None:
        return transaction.count_stale()
    if not accepts(rollout, RolloutSignal.REFUSED):
        return transaction.count_stale()
    why = FailureDetail(Reason.ROLLED_BACK, f"subscriber {event.node} refused the routes: {event.detail}")
    fire(transaction, rollout, RolloutSignal.REFUSED, why)
    return None


def _on_held_routes(transaction: Transaction, event: events.RoutesHeld) -> None:
    model = transaction.state.models.get(event.model)
    if model is None or model.routes is None or model.routes.epoch != event.epoch:
        return transaction.count_stale()
    progress = replace(model.progress, refused_by=event.nodes, refusal=event.detail)
    transaction.put_model(replace(model, progress=progress))
    return None


def _on_judged(transaction: Transaction, event: events.GatesJudged) -> None:
    model = transaction.state.models.get(event.model)
    rollout = model.rollout if model is not None else None
    # Judging takes a while: verdicts on a window that has ended meanwhile must not move the stage after it.
    current = rollout is not None and (rollout.rollout_id, rollout.stage, rollout.evidence_window) == (
        event.rollout_id,
        event.stage,
        event.evidence_window,
    )
    if rollout is None or not current or not is_heard(rollout, event.verdicts):
        return transaction.count_stale()
    adapter_faults.recover(transaction, event.model, "gates")
    apply_verdicts(transaction, rollout, event.verdicts)
    return None


def _on_memory_sample(transaction: Transaction, event: engine_events.MemorySampled) -> None:
    windows = with_sample(transaction.state.calibrations, event.key, event.sample)
    transaction.state = replace(transaction.state, calibrations=windows)


def _on_int8_baseline(transaction: Transaction, event: engine_events.Int8BaselineMeasured) -> None:
    model = transaction.state.models.get(event.version.model)
    version = model.versions.get(event.version.version) if model is not None else None
    if version is None:
        return transaction.count_stale()
    transaction.put_version(replace(version, int8_baseline=event.measured))
    return None


def _on_tick(transaction: Transaction, _event: events.Tick) -> None:
    for model in tuple(transaction.state.models.values()):
        for version in model.versions.values():
            for instance in version.instances:
                instances.forgive(transaction, instance)
    trim_operations(transaction)


# Each handler takes its own event type; the table pairs them by that type.
_HANDLERS: Mapping[type[StepInput], Callable[[Transaction, Any], None]] = MappingProxyType(
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
        events.PlacementDelayed: devices.on_delayed,
        events.DeviceMemoryMeasured: devices.on_sampled,
        engine_events.EngineReady: instances.on_engine_event,
        engine_events.ProbesPassed: instances.on_engine_event,
        engine_events.ProbesFailed: instances.on_engine_event,
        engine_events.EngineLost: instances.on_engine_event,
        engine_events.EngineStuck: instances.on_engine_event,
        engine_events.EngineSilent: instances.on_engine_event,
        engine_events.EngineReporting: instances.on_engine_event,
        engine_events.EngineGaveUp: instances.on_engine_event,
        engine_events.EngineDrained: instances.on_engine_event,
        engine_events.EngineStopped: instances.on_engine_event,
        engine_events.MemoryMeasured: instances.on_engine_event,
        engine_events.MemorySampled: _on_memory_sample,
        engine_events.Int8BaselineMeasured: _on_int8_baseline,
        events.RoutesProgressed: _on_progress,
        events.RoutesRefused: _on_refused_routes,
        events.RoutesHeld: _on_held_routes,
        events.GatesJudged: _on_judged,
        events.AdapterFailed: adapter_faults.on_adapter_failed,
        events.Tick: _on_tick,
        events.Recovered: recovery.on_recovered,
    }
)
