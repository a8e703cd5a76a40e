"""Plans, their components, and reservoirs."""

from __future__ import annotations

from echoplane.v1 import plans_pb2, types_pb2
from echoplaned.core import names
from echoplaned.core.memory import MemoryHolder
from echoplaned.core.plan import Alternative, Calibration, Component, DeviceFit, Plan, RankMemory, Reservoir
from echoplaned.core.spec import ReservoirOverrides
from echoplaned.rpc.convert.common import DTYPE_FROM_PB, DTYPE_TO_PB, SIZE_CLASS_TO_PB, timestamp
from echoplaned.rpc.principal import may_see, may_see_all

_SIZE_CLASS_FROM_PB = {number: name for name, number in SIZE_CLASS_TO_PB.items()}


def plan_to_pb(plan: Plan) -> plans_pb2.Plan:
    """Return a plan as the API's message.

    Without what its reader may not see: others' versions and processes.
    """
    return plans_pb2.Plan(
        fits=plan.fits,
        architecture=plan.architecture,
        parameter_count=plan.parameter_count,
        dtype=DTYPE_TO_PB[plan.dtype],
        context_length=plan.context_length,
        max_concurrency=plan.max_concurrency,
        replicas=plan.replicas,
        bytes=plan.bytes,
        upper_bytes=plan.upper_bytes,
        components=[component_to_pb(c) for c in plan.components],
        device_ids=plan.device_ids,
        devices=[
            plans_pb2.DeviceFit(
                device_id=d.device_id,
                free_bytes=d.free_bytes,
                needed_bytes=d.needed_bytes,
                fits=d.fits,
                foreign_bytes=d.foreign_bytes,
                holders=holders_to_pb(d.holders),
            )
            for d in plan.devices
        ],
        alternatives=[_alternative_to_pb(a) for a in plan.alternatives if all(map(_may_see_version, a.victims))],
        reservoir=None if plan.reservoir is None else reservoir_to_pb(plan.reservoir),
        surge=plan.surge,
        warnings=plan.warnings,
        weight_format=plan.weight_format,
        ranks=[plans_pb2.RankMemory(bytes=rank.bytes, upper_bytes=rank.upper_bytes) for rank in plan.ranks],
        kv_bytes_per_token=plan.kv_bytes_per_token,
        fitting_context_length=plan.fitting_context_length,
        fitting_max_concurrency=plan.fitting_max_concurrency,
        calibration=None if plan.calibration is None else calibration_to_pb(plan.calibration),
        cpu_isa=plan.cpu_isa,
        serves=plan.serves,
        serves_reason=plan.serves_reason,
        serves_detail=plan.serves_detail,
    )


def plan_from_pb(message: plans_pb2.Plan) -> Plan:
    """Return a plan that ``plan_to_pb`` wrote."""
    return Plan(
        fits=message.fits,
        architecture=message.architecture,
        parameter_count=message.parameter_count,
        dtype=DTYPE_FROM_PB[message.dtype],
        context_length=message.context_length,
        max_concurrency=message.max_concurrency,
        replicas=message.replicas,
        bytes=message.bytes,
        upper_bytes=message.upper_bytes,
        components=tuple(_component_from_pb(c) for c in message.components),
        device_ids=tuple(message.device_ids),
        devices=tuple(_device_fit_from_pb(d) for d in message.devices),
        alternatives=tuple(_alternative_from_pb(a) for a in message.alternatives),
        reservoir=_reservoir_from_pb(message.reservoir) if message.HasField("reservoir") else None,
        surge=message.surge,
        warnings=tuple(message.warnings),
        weight_format=message.weight_format,
        ranks=tuple(RankMemory(rank.bytes, rank.upper_bytes) for rank in message.ranks),
        kv_bytes_per_token=message.kv_bytes_per_token,
        fitting_context_length=message.fitting_context_length,
        fitting_max_concurrency=message.fitting_max_concurrency,
        calibration=_calibration_from_pb(message.calibration) if message.HasField("calibration") else None,
        cpu_isa=message.cpu_isa,
        # Plans that were stored before there was the field are of versions that were served.
        serves=message.serves or not message.serves_reason,
        serves_reason=message.serves_reason,
        serves_detail=message.serves_detail,
    )


def holders_to_pb(holders: tuple[MemoryHolder, ...]) -> list[plans_pb2.MemoryHolder]:
    """Return processes that hold memory and are none of ours.

    None of them for a caller who is for some models alone.
    """
    return [plans_pb2.MemoryHolder(name=one.name, bytes=one.bytes) for one in holders if may_see_all()]


def _may_see_version(name: str) -> bool:
    found = names.parse(name)
    return may_see(found.model if found is not None else "")


def _device_fit_from_pb(message: plans_pb2.DeviceFit) -> DeviceFit:
    holders = tuple(MemoryHolder(one.name, one.bytes) for one in message.holders)
    return DeviceFit(message.device_id, message.free_bytes, message.needed_bytes, message.foreign_bytes, holders)


def calibration_to_pb(calibration: Calibration) -> plans_pb2.Calibration:
    """Return the constants that a plan used."""
    return plans_pb2.Calibration(
        engine=calibration.engine,
        engine_version=calibration.engine_version,
        device=calibration.device,
        sample_count=calibration.sample_count,
        time=timestamp(calibration.time_s) if calibration.time_s else None,
        overhead_bytes=calibration.overhead_bytes,
        heap_slack=calibration.heap_slack,
        load_overhead_bytes=calibration.load_overhead_bytes,
        load_slack=calibration.load_slack,
    )


def _calibration_from_pb(message: plans_pb2.Calibration) -> Calibration:
    return Calibration(
        message.engine,
        message.engine_version,
        message.device,
        message.sample_count,
        message.time.ToNanoseconds() / 1e9,
        message.overhead_bytes,
        message.heap_slack,
        message.load_overhead_bytes,
        message.load_slack,
    )


def component_to_pb(component: Component) -> plans_pb2.MemoryComponent:
    """Return one part of a plan's memory."""
    return plans_pb2.MemoryComponent(
        name=component.name,
        bytes=component.bytes,
        formula=component.formula,
        inputs=[plans_pb2.FormulaInput(name=name, value=value) for name, value in component.inputs],
        source=component.source,
        upper_bytes=component.upper_bytes,
    )


def _component_from_pb(message: plans_pb2.MemoryComponent) -> Component:
    inputs = tuple((i.name, i.value) for i in message.inputs)
    return Component(message.name, message.bytes, message.formula, inputs, message.source, message.upper_bytes)


def _alternative_to_pb(alternative: Alternative) -> plans_pb2.PlanAlternative:
    return plans_pb2.PlanAlternative(
        dtype=DTYPE_TO_PB[alternative.dtype],
        context_length=alternative.context_length,
        max_concurrency=alternative.max_concurrency,
        upper_bytes=alternative.upper_bytes,
        device_id=alternative.device_id,
        warning=alternative.warning,
        action=alternative.action,
        freed_bytes=alternative.freed_bytes,
        undo_seconds=alternative.undo_seconds,
        victims=alternative.victims,
        tensor_parallel=alternative.tensor_parallel,
    )


def _alternative_from_pb(message: plans_pb2.PlanAlternative) -> Alternative:
    return Alternative(
        DTYPE_FROM_PB[message.dtype],
        message.context_length,
        message.max_concurrency,
        message.upper_bytes,
        message.device_id,
        message.warning,
        message.action,
        message.freed_bytes,
        message.undo_seconds,
        tuple(message.victims),
        message.tensor_parallel or 1,
    )


def reservoir_to_pb(reservoir: Reservoir) -> plans_pb2.Reservoir:
    """Return a version's reservoir."""
    return plans_pb2.Reservoir(
        size_class=SIZE_CLASS_TO_PB.get(reservoir.size_class, types_pb2.SIZE_CLASS_UNSPECIFIED),
        membrane_depth=reservoir.membrane_depth,
        units=reservoir.units,
        tree=reservoir.tree,
        level_time_constants=reservoir.level_time_constants,
        bytes_per_stream=reservoir.bytes_per_stream,
        total_bytes=reservoir.total_bytes,
        spectral_radius=reservoir.spectral_radius,
        leak=reservoir.leak,
        input_scale=reservoir.input_scale,
        seed=reservoir.seed,
        block_density=reservoir.block_density,
    )


def _reservoir_from_pb(message: plans_pb2.Reservoir) -> Reservoir:
    return Reservoir(
        size_class=_SIZE_CLASS_FROM_PB[message.size_class],
        membrane_depth=message.membrane_depth,
        units=message.units,
        tree=tuple(message.tree),
        level_time_constants=tuple(message.level_time_constants),
        bytes_per_stream=message.bytes_per_stream,
        total_bytes=message.total_bytes,
        spectral_radius=message.spectral_radius,
        leak=message.leak,
        input_scale=message.input_scale,
        seed=message.seed,
        block_density=message.block_density,
    )


def overrides_to_pb(overrides: ReservoirOverrides) -> plans_pb2.ReservoirOverrides:
    """Return a caller's changes to a reservoir; what is None stays unset."""
    return plans_pb2.ReservoirOverrides(
        spectral_radius=overrides.spectral_radius,
        leak=overrides.leak,
        input_scale=overrides.input_scale,
        seed=overrides.seed,
        block_density=overrides.block_density,
    )


def overrides_from_pb(message: plans_pb2.ReservoirOverrides) -> ReservoirOverrides:
    """Return a caller's changes to a reservoir; what is unset becomes None."""
    return ReservoirOverrides(
        spectral_radius=message.spectral_radius if message.HasField("spectral_radius") else None,
        leak=message.leak if message.HasField("leak") else None,
        input_scale=message.input_scale if message.HasField("input_scale") else None,
        seed=message.seed if message.HasField("seed") else None,
        block_density=message.block_density if message.HasField("block_density") else None,
    )
