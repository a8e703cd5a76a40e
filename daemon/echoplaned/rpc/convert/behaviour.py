"""How a change of behaviour is judged, and what was measured of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from echoplane.v1 import rollouts_pb2
from echoplaned.core.behaviour import BehaviourReport
from echoplaned.core.spec import EchoPolicy, EchoPreset

_PRESET: Final = "ECHO_PRESET_"


def echo_policy_to_pb(policy: EchoPolicy) -> rollouts_pb2.EchoPolicy:
    """Return a policy; a margin that is the default's stays unset."""
    return rollouts_pb2.EchoPolicy(
        enabled=policy.enabled,
        max_kl_nats=policy.max_kl_nats,
        max_distance=policy.max_distance,
        alpha=policy.alpha,
        prompt_count=policy.prompt_count,
        required=policy.required,
        preset=None if policy.preset is None else f"{_PRESET}{policy.preset.value}",
    )


def echo_policy_from_pb(message: rollouts_pb2.EchoPolicy) -> EchoPolicy:
    """Return a caller's policy; what is not set has its default."""
    given = {f.name: getattr(message, f.name) for f in message.DESCRIPTOR.fields if message.HasField(f.name)}
    name = rollouts_pb2.EchoPreset.Name(given.pop("preset", rollouts_pb2.ECHO_PRESET_UNSPECIFIED)).removeprefix(_PRESET)
    return replace(EchoPolicy(), preset=EchoPreset(name) if name in set(EchoPreset) else None, **given)


def behaviour_to_pb(report: BehaviourReport) -> rollouts_pb2.BehaviourReport:
    """Return what was measured."""
    return rollouts_pb2.BehaviourReport(
        measure=report.measure,
        margin=report.margin,
        margin_source=report.margin_source,
        ceiling=report.ceiling,
        mean=report.mean,
        lower=report.lower,
        upper=report.upper,
        text_count=report.texts,
        distance_count=report.tokens,
        clipped_count=report.clipped,
        live_pair_count=report.pairs,
        log_e_value=report.log_e,
        paired_log_e_value=report.paired_log_e,
        live_log_e_value=report.live_log_e,
        listeners=[
            rollouts_pb2.ListenerValue(
                name=one.name,
                log_e_value=one.log_e,
                votes=one.votes,
                mmd_squared=one.mmd_squared,
                mmd_p_value=one.mmd_p_value,
            )
            for one in report.listeners
        ],
        moved=[rollouts_pb2.MovedText(text=one.text, distance=one.distance) for one in report.moved],
        text_distances=report.text_distances,
        log_e_path=report.log_e_path,
        health=report.health,
        described_pair_count=report.described_pairs,
    )
