"""Finds a device for one instance: microseconds of Rust, so it answers within the step's own turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from echoplaned.core.calibration import engine_key, readings_of
from echoplaned.core.effects import ExplainReading, PlanInstance
from echoplaned.core.events import ReadingTaken, Refused, Reserved
from echoplaned.core.failure import Failure, Reason
from echoplaned.core.fold import find_instance, reserved_bytes
from echoplaned.core.plan import Plan
from echoplaned.core.state import Model, State, Version
from echoplaned.errors import EchoplaneError
from echoplaned.planning import PlanRequest, calibrate, explain, place, plan_load, size_model, survey_model
from echoplaned.runtime.ports import Clock, Emit

HOST_KIND = "host"


class InstancePlanner:
    """Implements ``Planner`` over the state's devices and reservations."""

    def __init__(self, emit: Emit, clock: Clock, engine_versions: Mapping[str, str] | None = None) -> None:
        self._engine_versions = dict(engine_versions or {})
        self._emit = emit
        self._clock = clock

    def plan_instance(self, effect: PlanInstance, state: State) -> None:
        """Answer Reserved or Refused, with the ledger epoch that was read."""
        found = find_instance(state, effect.instance)
        if found is None:
            return
        model, version, _ = found
        held = {device.device_id: reserved_bytes(state, device.device_id) for device in state.devices}
        needed = version.plan.upper_bytes
        devices = place(state.devices, held, needed_bytes=needed, replicas=1)
        if devices:
            self._emit(Reserved(self._clock(), effect.instance, devices[0], needed, state.ledger_epoch))
        else:
            failure = _no_room(model, version, _replanned(model, version, state, held, self._engine_versions))
            self._emit(Refused(self._clock(), effect.instance, failure, state.ledger_epoch))

    def explain_reading(self, effect: ExplainReading, state: State) -> None:
        """Answer ReadingTaken; reads the checkpoint's headers, which takes milliseconds. Readings of a device that has gone are dropped."""
        found = find_instance(state, effect.instance)
        device = next((one for one in state.devices if found and one.device_id == found[2].device_id), None)
        # On a GPU the process's resident memory says nothing of the device's.
        if found is None or device is None or device.kind != HOST_KIND:
            return
        spec, usage = found[1].spec, effect.usage
        try:
            checkpoint = survey_model(Path(spec.source_path))
            sized = size_model(
                checkpoint,
                dtype=spec.dtype,
                context_length=usage.tokens,
                max_concurrency=usage.sequences,
                cpu_isa=usage.cpu_isa or device.cpu_isa,
            )
        except EchoplaneError:
            return
        subject = f"{effect.instance}.{effect.generation}"
        reading = explain(subject, self._clock(), usage, sized, checkpoint.facts.weights_bytes)
        key = engine_key(spec.engine, usage.engine_version, device, usage.cpu_isa)
        self._emit(ReadingTaken(self._clock(), key, reading))


def _replanned(
    model: Model, version: Version, state: State, held: dict[str, int], engine_versions: Mapping[str, str]
) -> Plan:
    """Plan one instance against the devices as they stand now, so that the refusal says what would fit.

    Reads the checkpoint's headers again, which takes milliseconds; one that is gone by now leaves the old plan, without alternatives.
    """
    spec = version.spec
    device = state.devices[0] if state.devices else None
    key = engine_key(spec.engine, engine_versions.get(spec.engine, ""), device)
    request = PlanRequest(
        source=Path(spec.source_path),
        devices=state.devices,
        dtype=spec.dtype,
        context_length=spec.context_length,
        max_concurrency=spec.max_concurrency,
        surge=_is_surge(model, version),
        engine=spec.engine,
        reserved_bytes=held,
        reservoir=spec.reservoir,
        calibrated=calibrate(key, readings_of(state.calibrations, key)),
    )
    try:
        return plan_load(request)
    except EchoplaneError:
        return replace(version.plan, fits=False, device_ids=(), alternatives=(), surge=request.surge)


def _is_surge(model: Model, version: Version) -> bool:
    return model.rollout is not None and model.rollout.to_version == version.key.version


def _no_room(model: Model, version: Version, plan: Plan) -> Failure:
    """Say what was free when the room that a plan had seen was gone."""
    surge = _is_surge(model, version)
    reason = Reason.SURGE_INFEASIBLE if surge else Reason.MEMORY_INSUFFICIENT
    most = max((fit.free_bytes for fit in plan.devices), default=0)
    beside = " beside the version that is serving" if surge else ""
    message = (
        f"an instance of {version.key} needs {version.plan.upper_bytes} bytes{beside}; the most that is free on one device is {most}: "
        "free some memory, or take one of the plan's alternatives"
    )
    return Failure(reason, message, plan=plan)
