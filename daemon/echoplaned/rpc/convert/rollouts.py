"""Rollouts, their policies, verdicts and history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from echoplane.v1 import rollouts_pb2
from echoplaned.core.names import operation_name, rollout_name, version_name
from echoplaned.core.rollout_state import (
    HISTORY_RETAINED,
    TERMINAL_PHASES,
    EntryKind,
    GateVerdict,
    Phase,
    Rollout,
    RolloutEntry,
    Verdict,
)
from echoplaned.core.routes import KEEP_ALIVE_PPM
from echoplaned.core.spec import RolloutPolicy
from echoplaned.core.state import WEIGHT_TOTAL_PPM, Model
from echoplaned.rpc.convert.behaviour import behaviour_to_pb, echo_policy_from_pb, echo_policy_to_pb
from echoplaned.rpc.convert.common import (
    BEHAVIOUR_TO_PB,
    EVIDENCE_TO_PB,
    ON_EXPIRE_FROM_PB,
    ON_EXPIRE_TO_PB,
    VERDICT_TO_PB,
    by_name,
    set_number,
    timestamp,
    timestamp_or_none,
)
from echoplaned.rpc.convert.models import published_weights, weights_to_pb

PHASE_TO_PB: Mapping[Phase, rollouts_pb2.RolloutPhase] = MappingProxyType(
    {
        **by_name(rollouts_pb2.RolloutPhase, "ROLLOUT_PHASE", [p for p in Phase if p not in TERMINAL_PHASES]),
        **dict.fromkeys(TERMINAL_PHASES, rollouts_pb2.ROLLOUT_PHASE_DONE),
    }
)
_OUTCOME_TO_PB = by_name(rollouts_pb2.RolloutOutcome, "ROLLOUT_OUTCOME", sorted(TERMINAL_PHASES))

_KIND_OF_PHASE: Mapping[Phase, str] = MappingProxyType(
    {
        Phase.PREPARING: "preparing",
        Phase.SHIFTING: "published",
        Phase.OBSERVING: "acknowledged",
        Phase.SOAKING: "soaking",
        Phase.RELEASING: "releasing",
        Phase.REVERTING: "reverting",
        Phase.CLEANING: "cleaning",
        Phase.SUCCEEDED: "ended",
        Phase.ROLLED_BACK: "ended",
        Phase.FAILED: "ended",
        Phase.DELETED: "ended",
    }
)
# The core counts in whole numbers; a fraction travels scaled.
_SCALED_COUNTS: Mapping[str, tuple[str, float]] = MappingProxyType(
    {"error_increase_upper_bound_ppm": ("error_increase_upper_bound", 1e-6)}
)


def rollout_to_pb(model: Model, rollout: Rollout, *, with_history: bool = True) -> rollouts_pb2.Rollout:
    """Return a rollout as the API shows it.

    One that is over shows no weights of today's routes.
    """
    active = model.rollout is not None and model.rollout.rollout_id == rollout.rollout_id
    progress = model.progress
    desired = published_weights(model) if active else {}
    acknowledged = (desired if progress.acknowledged else acknowledged_before(rollout)) if active else {}
    ending = rollout.ending
    return rollouts_pb2.Rollout(
        name=rollout_name(rollout.model, rollout.rollout_id),
        from_version=version_name(rollout.model, rollout.from_version),
        to_version=version_name(rollout.model, rollout.to_version),
        policy=policy_to_pb(rollout.policy),
        stage=rollout.stage,
        phase=PHASE_TO_PB[rollout.phase],
        held_reason=_held_reason(rollout),
        desired=weights_to_pb(rollout.model, desired),
        acknowledged=weights_to_pb(rollout.model, acknowledged),
        stale_subscribers=rollout.stale_subscribers,
        stale_subscriber_count=rollout.stale_subscriber_count,
        verdicts=[verdict_to_pb(v, rollout.stage, rollout.evidence_window) for v in rollout.verdicts],
        history=_history(rollout) if with_history else (),
        outcome=_OUTCOME_TO_PB.get(rollout.phase, rollouts_pb2.ROLLOUT_OUTCOME_UNSPECIFIED),
        outcome_reason="" if ending is None or rollout.phase is Phase.SUCCEEDED else ending.message,
        paused=rollout.paused,
        behaviour_change=BEHAVIOUR_TO_PB[rollout.behaviour_change],
        subscriber_count=progress.subscriber_count if active else 0,
        acknowledged_count=progress.acknowledged_count if active else 0,
        create_time=timestamp(rollout.create_time_s),
        stage_start_time=timestamp_or_none(stage_start_s(rollout)),
        update_time=timestamp(rollout.history[-1].time_s if rollout.history else rollout.create_time_s),
        end_time=timestamp_or_none(rollout.end_time_s),
        operation=operation_name(rollout.operation_id) if rollout.operation_id else "",
    )


def _held_reason(rollout: Rollout) -> str:
    return rollout.held_reason or ("PAUSED" if rollout.paused and rollout.phase not in TERMINAL_PHASES else "")


def acknowledged_before(rollout: Rollout) -> dict[str, int]:
    """Return the weights that were acknowledged before the ones wanted now.

    A stage is observed only once its weights are acknowledged: the last one observed tells. Before the first it is the old version's all.
    """
    for entry in reversed(rollout.history):
        if entry.phase is Phase.OBSERVING and entry.stage:
            percent = rollout.policy.stages_percent[entry.stage - 1]
            new = min(percent * (WEIGHT_TOTAL_PPM // 100), WEIGHT_TOTAL_PPM - KEEP_ALIVE_PPM)
            return {rollout.from_version: WEIGHT_TOTAL_PPM - new, rollout.to_version: new}
    return {rollout.from_version: WEIGHT_TOTAL_PPM}


def stage_start_s(rollout: Rollout) -> float | None:
    """Return when the present stage began, seconds since the epoch.

    It is the time of the first line of the history that is in it; None: no stage has begun.
    """
    if not rollout.stage:
        return None
    return next((e.time_s for e in rollout.history if e.stage == rollout.stage), None)


def verdict_to_pb(verdict: Verdict, stage: int, window: int = 0, time_s: float | None = None) -> rollouts_pb2.Verdict:
    """Return a gate's verdict on a stage."""
    return rollouts_pb2.Verdict(
        gate=verdict.gate,
        verdict=VERDICT_TO_PB[verdict.verdict],
        reason=verdict.reason,
        confidence=verdict.confidence,
        counts=_counts(verdict),
        evidence=EVIDENCE_TO_PB[verdict.evidence],
        stage=stage,
        window=window,
        time=timestamp_or_none(time_s),
        behaviour=None if verdict.behaviour is None else behaviour_to_pb(verdict.behaviour),
    )


def _counts(verdict: Verdict) -> rollouts_pb2.GateCounts:
    """Return a verdict's numbers.

    One that the API has no field for is told by the reason's words alone.
    """
    counts = rollouts_pb2.GateCounts()
    for name, value in verdict.counts:
        field, scale = _SCALED_COUNTS.get(name, (name, 1))
        if field in counts.DESCRIPTOR.fields_by_name:
            set_number(counts, field, value * scale)
    return counts


def _history(rollout: Rollout) -> list[rollouts_pb2.RolloutEvent]:
    return [
        rollouts_pb2.RolloutEvent(
            time=timestamp(entry.time_s),
            sequence=entry.sequence,
            phase=PHASE_TO_PB[entry.phase],
            stage=entry.stage,
            kind=entry_kind(entry),
            text=entry.text,
            verdict=_decisive(entry),
        )
        for entry in rollout.history[-HISTORY_RETAINED:]  # a release before this one kept all
    ]


def entry_kind(entry: RolloutEntry) -> str:
    """Return the stable word for a line of a history."""
    return _KIND_OF_PHASE[entry.phase] if entry.kind is EntryKind.MOVED else entry.kind.value.lower()


def decisive(verdicts: tuple[Verdict, ...]) -> Verdict | None:
    """Return the verdict that decided: the one that failed, else the first.

    None where there is none.
    """
    failed = next((v for v in verdicts if v.verdict is GateVerdict.FAIL), None)
    return failed or next(iter(verdicts), None)


def _decisive(entry: RolloutEntry) -> rollouts_pb2.Verdict | None:
    found = decisive(entry.verdicts)
    return None if found is None else verdict_to_pb(found, entry.stage, time_s=entry.time_s)


def policy_to_pb(policy: RolloutPolicy) -> rollouts_pb2.RolloutPolicy:
    """Return a policy with every field filled in."""
    return rollouts_pb2.RolloutPolicy(
        name=policy.name,
        stages_percent=policy.stages_percent,
        extended_stages_percent=policy.extended_stages_percent,
        stage_min_s=policy.stage_min_s,
        stage_max_s=policy.stage_max_s,
        soak_s=policy.soak_s,
        max_error_increase=policy.max_error_increase,
        confidence=policy.confidence,
        alpha=policy.alpha,
        slo_error_rate=policy.slo_error_rate,
        probe_count=policy.probe_count,
        ack_timeout_s=policy.ack_timeout_s,
        revert_timeout_s=policy.revert_timeout_s,
        drain_timeout_s=policy.drain_timeout_s,
        prepare_timeout_s=policy.prepare_timeout_s,
        on_expire=ON_EXPIRE_TO_PB[policy.on_expire],
        echo=echo_policy_to_pb(policy.echo),
    )


_OPTIONAL = tuple(
    f.name for f in rollouts_pb2.RolloutPolicy.DESCRIPTOR.fields if f.has_presence and f.enum_type is None
)


def policy_from_pb(message: rollouts_pb2.RolloutPolicy) -> RolloutPolicy:
    """Return a caller's policy; what is not set has its default."""
    given = {name: getattr(message, name) for name in _OPTIONAL if message.HasField(name)}
    policy = replace(RolloutPolicy(), **given)
    if message.stages_percent:
        policy = replace(policy, stages_percent=tuple(message.stages_percent))
    if message.extended_stages_percent:
        policy = replace(policy, extended_stages_percent=tuple(message.extended_stages_percent))
    if message.on_expire in ON_EXPIRE_FROM_PB:
        policy = replace(policy, on_expire=ON_EXPIRE_FROM_PB[message.on_expire])
    return replace(policy, echo=echo_policy_from_pb(message.echo))
