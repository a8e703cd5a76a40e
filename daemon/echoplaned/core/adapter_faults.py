"""Effects whose adapter raised: they are tried again, and given up in the end.

A fault in an adapter is an event like any other; what is given up is given up in the way that does least harm.
"""

from __future__ import annotations

from collections.abc import Iterable

from echoplaned.core.desired_effects import desired_effects
from echoplaned.core.engine_events import EngineGaveUp
from echoplaned.core.events import AdapterFailed
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.fault import RETRY_GIVEN_UP_S, AdapterFault, EffectKey, fail, subject_of
from echoplaned.core.ids import InstanceKey
from echoplaned.core.instances import give_up_pending, on_engine_event
from echoplaned.core.names import model_name, rollout_name, version_name
from echoplaned.core.replacing import replace
from echoplaned.core.rollout_state import Phase
from echoplaned.core.rollouts import hold_unjudged
from echoplaned.core.state import Model, State
from echoplaned.core.transaction import Transaction

_GIVES_UP = frozenset({"place", "start", "probe"})
"""Kinds of work without which an instance is nothing; of all other kinds there is no end."""


def on_adapter_failed(transaction: Transaction, event: AdapterFailed) -> None:
    """Count a failure of an effect that still holds.

    One that was overtaken, or was not handed out, changes nothing.
    """
    model = _model_of(transaction.state, event.key)
    if model is None or not _was_handed_out(transaction, model, event.key):
        return transaction.count_stale()
    before = next((f for f in model.faults if f.is_about(event.key)), None)
    fault = fail(before, event.key, (event.adapter, event.detail), transaction.now_s)
    others = tuple(f for f in model.faults if f is not before)
    transaction.put_model(replace(model, faults=(*others, fault)))
    _announce(transaction, model, fault)
    _follow(transaction, model.model_id, fault)
    return None


def _follow(transaction: Transaction, model_id: str, fault: AdapterFault) -> None:
    """Give up the instance, or hold the stage, that an adapter's fault is about.

    Routes, drains and stops only wait; ``rollouts.sync_hold`` holds the rollout of routes.
    """
    kind = fault.key[0]
    rollout = transaction.model(model_id).rollout
    if kind in _GIVES_UP and fault.is_given_up:
        _give_up(transaction, fault)
    elif kind == "gates" and rollout is not None:
        hold_unjudged(transaction, rollout, f"ADAPTER_FAILED: {fault.text}; it is tried again")


def _give_up(transaction: Transaction, fault: AdapterFault) -> None:
    instance = InstanceKey.parse(str(fault.key[1]))
    message = f"{fault.text}; the daemon's log has more. Load the version again to try anew"
    failure = FailureDetail(Reason.ADAPTER_FAILED, message, retry_delay_s=RETRY_GIVEN_UP_S)
    if fault.key[0] == "place":
        give_up_pending(transaction, instance, failure)
    else:
        on_engine_event(transaction, EngineGaveUp(transaction.now_s, instance, int(fault.key[2]), failure))


def _announce(transaction: Transaction, model: Model, fault: AdapterFault) -> None:
    """Announce the first failure of an effect, and the one that gives it up.

    Those between and after are only counted.
    """
    if fault.count == 1:
        wait_s = fault.retry_at_s - transaction.now_s
        transaction.announce(_subject(model, fault.key), "adapter.failed", f"{fault.text}; tried again in {wait_s:g} s")
    elif fault.gives_up_now and fault.key[0] not in _GIVES_UP:  # what becomes of an instance is told by its version
        transaction.announce(_subject(model, fault.key), "adapter.gave_up", fault.alarm)


def without_done(model: Model, implied: Iterable[EffectKey]) -> Model:
    """Return a model without the faults of work that is not asked for any more."""
    if not model.faults:
        return model
    wanted = {subject_of(key) for key in implied}
    kept = tuple(f for f in model.faults if subject_of(f.key) in wanted)
    return model if kept == model.faults else replace(model, faults=kept)


def is_held_back(model: Model, key: EffectKey, now_s: float) -> bool:
    """Whether an effect failed lately and is not due again."""
    return any(fault.holds_back(key, now_s) for fault in model.faults)


def recover(transaction: Transaction, model_id: str, kind: str) -> None:
    """Drop the faults of a model's ``publish`` or ``gates``: its adapter answered.

    The time that the routes could not move is no time in which a stage could have been decided, so it begins anew.
    """
    model = transaction.model(model_id)
    over = tuple(f for f in model.faults if f.key[0] == kind)
    if not over:
        return
    rollout = model.rollout
    if kind == "publish" and rollout is not None and rollout.phase is not Phase.PREPARING:
        rollout = replace(rollout, phase_since_s=transaction.now_s)
    transaction.put_model(replace(model, faults=tuple(f for f in model.faults if f not in over), rollout=rollout))
    for fault in over:
        if fault.is_given_up:
            transaction.announce(_subject(model, fault.key), "adapter.recovered", f"the {fault.adapter} works again")


def _model_of(state: State, key: EffectKey) -> Model | None:
    if key[0] == "publish":
        return state.models.get(str(key[1]))
    if key[0] == "gates":
        return next((m for m in state.models.values() if m.rollout and m.rollout.rollout_id == key[1]), None)
    return state.models.get(InstanceKey.parse(str(key[1])).version.model)


def _was_handed_out(transaction: Transaction, model: Model, key: EffectKey) -> bool:
    if key[0] == "publish" and model.progress.acknowledged:
        return False  # whatever was raised, its clients have them
    implied = desired_effects(model, transaction.state.reservation_epoch, transaction.now_s)
    return any(e.key == key for e in implied) and not is_held_back(model, key, transaction.now_s)


def _subject(model: Model, key: EffectKey) -> str:
    if key[0] == "publish":
        return model_name(model.model_id)
    if key[0] == "gates":
        return rollout_name(model.model_id, str(key[1]))
    version = InstanceKey.parse(str(key[1])).version
    return version_name(version.model, version.version)
