"""Versions, their instances, specifications and memory."""

from __future__ import annotations

from echoplane.v1 import models_pb2, types_pb2
from echoplaned.core.contexts import served_context
from echoplaned.core.endpoints import oip_target
from echoplaned.core.engine_figures import EngineFigures
from echoplaned.core.facts import ModelFacts, Signature, TensorSpec
from echoplaned.core.names import key_name
from echoplaned.core.queries import observed_tier, version_state, weight_ppm
from echoplaned.core.state import Instance, Model, Version, VersionState
from echoplaned.ports.leaders import PidOf
from echoplaned.rpc.convert.common import (
    DTYPE_TO_PB,
    INSTANCE_STATE_TO_PB,
    SIZE_CLASS_TO_PB,
    TASK_TO_PB,
    TIER_TO_PB,
    by_name,
    duration,
    timestamp,
)
from echoplaned.rpc.convert.plans import calibration_to_pb, component_to_pb, reservoir_to_pb
from echoplaned.rpc.status import to_status

_STATE_TO_PB = by_name(models_pb2.VersionState, "VERSION_STATE", VersionState)


def version_to_pb(model: Model, version: Version, pid_of: PidOf) -> models_pb2.ModelVersion:
    """Return a version as the API shows it.

    ``pid_of`` knows the processes that lead its instances.
    """
    spec, shape = version.spec, version.spec.shape
    state = version_state(version)
    weight = weight_ppm(model, version.key.version)
    return models_pb2.ModelVersion(
        name=key_name(version.key),
        state=models_pb2.VERSION_STATE_SERVING if state is VersionState.READY and weight else _STATE_TO_PB[state],
        tier=TIER_TO_PB[observed_tier(version)],
        source=models_pb2.Source(uri=spec.source_uri, digest=spec.digest),
        engine=models_pb2.Engine(kind=shape.engine, options=dict(shape.options)),
        facts=facts_to_pb(version.facts),
        context_length=served_context(version),
        max_concurrency=shape.max_concurrency,
        replicas=shape.replicas,
        memory=_memory(version),
        reservoir=None if version.plan.reservoir is None else reservoir_to_pb(version.plan.reservoir),
        instances=[_instance(i, pid_of) for i in version.instances],
        load_duration=None if version.load_duration_s is None else duration(version.load_duration_s),
        cache=_cache(version),
        failure=None if version.failure is None else to_status(version.failure),
        xds_target=f"xds:///{key_name(version.key)}",
        dtype=DTYPE_TO_PB[shape.dtype],
        weight_ppm=weight,
        pinned=version.pinned,
        signature=signature_to_pb(version.facts.signature),
        create_time=timestamp(version.create_time_s),
        update_time=timestamp(_changed_s(version)),
        weights_format=shape.weights_format,
        requested_tier=TIER_TO_PB[version.requested_tier],
        requested_context_length=shape.context_length,
        engine_build=version.engine_build,
    )


def facts_to_pb(facts: ModelFacts) -> models_pb2.ModelFacts:
    """Return what a checkpoint's files say."""
    return models_pb2.ModelFacts(
        architecture=facts.architecture,
        parameter_count=facts.parameter_count,
        dtype=DTYPE_TO_PB[facts.stored_dtype],
        size_class=SIZE_CLASS_TO_PB.get(facts.size_class, types_pb2.SIZE_CLASS_UNSPECIFIED),
        task=TASK_TO_PB[facts.task],
        weights_bytes=facts.weights_bytes,
        max_context_length=facts.max_context_length,
    )


def signature_to_pb(signature: Signature) -> types_pb2.Signature:
    """Return a model's inputs and outputs."""
    return types_pb2.Signature(
        inputs=[_tensor_to_pb(t) for t in signature.inputs], outputs=[_tensor_to_pb(t) for t in signature.outputs]
    )


def signature_from_pb(message: types_pb2.Signature) -> Signature:
    """Return what ``signature_to_pb`` wrote."""
    return Signature(
        tuple(_tensor_from_pb(t) for t in message.inputs), tuple(_tensor_from_pb(t) for t in message.outputs)
    )


def _tensor_to_pb(tensor: TensorSpec) -> types_pb2.TensorSpec:
    return types_pb2.TensorSpec(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)


def _tensor_from_pb(message: types_pb2.TensorSpec) -> TensorSpec:
    return TensorSpec(message.name, message.datatype, tuple(message.shape))


def _memory(version: Version) -> models_pb2.VersionMemory:
    measured = max((i.measured_bytes for i in version.instances), default=0)
    return models_pb2.VersionMemory(
        predicted_bytes=version.plan.bytes,
        upper_bytes=version.plan.upper_bytes,
        components=[component_to_pb(c) for c in version.plan.components],
        measured=models_pb2.MeasuredMemory(increment_bytes=measured) if measured else None,
        calibration=None if version.plan.calibration is None else calibration_to_pb(version.plan.calibration),
    )


def _instance(instance: Instance, pid_of: PidOf) -> models_pb2.Instance:
    # An instance that never had a process has no generation for callers, though the core counts it as the first.
    started = bool(instance.leader_id or instance.generation > 1 or instance.endpoints)
    return models_pb2.Instance(
        device=",".join(instance.placement.device_ids) if instance.placement is not None else "",
        address=oip_target(instance.endpoints),
        pid=pid_of(instance.leader_id) if instance.leader_id else 0,
        state=INSTANCE_STATE_TO_PB[instance.state],
        ordinal=instance.key.ordinal,
        generation=instance.generation if started else 0,
        reserved_bytes=instance.placement.total_bytes if instance.placement is not None else 0,
        failure="" if instance.failure is None else instance.failure.message,
        engine_figures=None if instance.figures is None else figures_to_pb(instance.figures),
    )


def figures_to_pb(figures: EngineFigures) -> models_pb2.EngineFigures:
    """Return what an engine said of itself."""
    return models_pb2.EngineFigures(
        context_length=figures.context_length,
        cache_tokens=figures.cache_tokens,
        cache_blocks=figures.cache_blocks,
        cache_bytes=figures.cache_bytes,
    )


def _cache(version: Version) -> models_pb2.VersionCache:
    tier = version.cache.last_hit_tier
    return models_pb2.VersionCache(
        hit_count=version.cache.hits,
        miss_count=version.cache.misses,
        last_hit_tier=types_pb2.TIER_UNSPECIFIED if tier is None else TIER_TO_PB[tier],
    )


def _changed_s(version: Version) -> float:
    """Return the last change of a version that the state dates.

    A load's end or start, or an instance that came up; seconds since the epoch.
    """
    loaded_s = version.load_started_s + (version.load_duration_s or 0.0)
    return max(version.create_time_s, loaded_s, *(i.ready_since_s or 0.0 for i in version.instances))
