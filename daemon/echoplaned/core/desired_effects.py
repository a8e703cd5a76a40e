"""The effects that a state implies, whatever led to it.

They are level-triggered: what was handed out and still holds is not handed out again (``step`` compares keys).
"""

from __future__ import annotations

from echoplaned.core.contexts import served_spec
from echoplaned.core.effects import (
    DrainEngine,
    EvaluateGates,
    KeyedEffect,
    PlaceInstance,
    ProbeEngine,
    PublishRoutes,
    StartEngine,
    StopEngine,
)
from echoplaned.core.holding import CALLS_S, is_held, may_be_called
from echoplaned.core.ids import InstanceKey
from echoplaned.core.queries import is_ready
from echoplaned.core.rollout_state import Phase
from echoplaned.core.rollouts import is_judged
from echoplaned.core.routes import stage_weights
from echoplaned.core.spec import DEFAULT_ACK_TIMEOUT_S
from echoplaned.core.state import Instance, InstanceState, Model, Version


def desired_effects(model: Model, reservation_epoch: int, now_s: float) -> list[KeyedEffect]:
    """Return every effect that one model's state asks for at this time.

    Routes come first: weight moves before processes end.
    """
    effects: list[KeyedEffect] = []
    if model.routes is not None:
        effects.append(
            PublishRoutes(
                model.model_id,
                model.routes.epoch,
                model.routes,
                removed=not model.routes.clusters,
                urgent=_only_takes_weight(model),
                ack_timeout_s=DEFAULT_ACK_TIMEOUT_S if model.rollout is None else model.rollout.policy.ack_timeout_s,
            )
        )
    for version in model.versions.values():
        for instance in version.instances:
            effect = _instance_effect(model, version, instance, reservation_epoch, now_s)
            if effect is not None:
                effects.append(effect)
    rollout = model.rollout
    if rollout is not None and is_judged(rollout):
        effects.append(EvaluateGates(rollout))
    return effects


def _only_takes_weight(model: Model) -> bool:
    """Whether the routes only move away from a version that fails or died.

    Such routes do not wait for the store.
    """
    if model.rollout is not None and model.rollout.phase in {Phase.REVERTING, Phase.CLEANING}:
        return True
    wanted = stage_weights(model)
    return any(not is_ready(model, version) for version in wanted)


def _instance_effect(
    model: Model, version: Version, instance: Instance, reservation_epoch: int, now_s: float
) -> KeyedEffect | None:
    key, generation = instance.key, instance.generation
    effect: KeyedEffect | None = None
    match instance.state:
        case InstanceState.PENDING:
            effect = _place(model, key, reservation_epoch)
        case InstanceState.STARTING if instance.placement is not None and _is_due(instance, now_s):
            effect = StartEngine(
                key,
                generation,
                instance.placement,
                served_spec(version),
                version.facts,
                version.plan.kv_cache_bytes,
                version.engine_build,
            )
        case InstanceState.PROBING:
            effect = ProbeEngine(key, generation, instance.endpoints, version.facts)
        case InstanceState.DRAINING:
            effect = DrainEngine(key, generation, instance.drain_deadline_s or now_s)
        case InstanceState.STOPPING if instance.held_since_s is not None and is_held(instance, now_s):
            if not may_be_called(model):
                effect = DrainEngine(key, generation, instance.held_since_s + CALLS_S, calls_only=True)
        case InstanceState.STOPPING:
            effect = StopEngine(key, generation)
        case _:
            pass  # READY and GONE ask for nothing; a restart that is not due waits for a tick
    return effect


def _place(model: Model, key: InstanceKey, reservation_epoch: int) -> PlaceInstance:
    wait = next((one for one in model.waits if one.instance == key), None)
    if wait is None:
        return PlaceInstance(key, reservation_epoch)
    return PlaceInstance(key, reservation_epoch, wait.looks, wait.since_s)


def _is_due(instance: Instance, now_s: float) -> bool:
    return instance.restart_at_s is None or now_s >= instance.restart_at_s
