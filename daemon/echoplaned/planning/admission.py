"""From a version and a state to a plan: the one way to it for loads, updates, dry runs, questions and refusals of the loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from echoplaned.core.calibration import engine_key, readings_of
from echoplaned.core.plan import Plan
from echoplaned.core.queries import reserved_bytes
from echoplaned.core.spec import request_of
from echoplaned.core.state import State
from echoplaned.engine_kinds import DEFAULT_KIND
from echoplaned.planning.calibration import Calibrated, calibrate
from echoplaned.planning.candidates import candidates_of
from echoplaned.planning.inspection import Checkpoint
from echoplaned.planning.plan import PlanRequest, plan_load
from echoplaned.ports.planning import PlanQuestion, SizeQuestion


def plan_version(
    question: PlanQuestion, state: State, *, known: Checkpoint | None, engine_versions: Mapping[str, str]
) -> Plan:
    """Plan a version on the devices as a state has them. Reads the checkpoint's headers where ``known`` is None.

    Raises:
        EchoplaneError: what inspecting and sizing raise. Not fitting is an answer (``fits`` is false), not an error.
    """
    spec, taken = question.spec, question.taken_bytes
    request = PlanRequest(
        source=Path(spec.source_path) if known is None else known,
        devices=state.devices,
        shape=request_of(spec.shape),
        surge=question.surge,
        candidates=candidates_of(state),
        calibrated=_calibrated(spec.shape.engine, state, engine_versions),
        reserved_bytes=held_bytes(state, taken),
        reservoir=spec.reservoir,
    )
    return plan_load(request)


def size_source(path: Path, question: SizeQuestion, state: State, engine_versions: Mapping[str, str]) -> Plan:
    """Plan a directory that no load has looked at, whether or not its engine would serve it.

    Raises:
        EchoplaneError: what reading and sizing raise.
    """
    request = PlanRequest(
        source=path,
        devices=state.devices,
        shape=question.shape,
        surge=question.surge,
        candidates=candidates_of(state),
        calibrated=_calibrated(question.shape.engine or DEFAULT_KIND.name, state, engine_versions),
        reserved_bytes=held_bytes(state, question.taken_bytes),
        reservoir=question.reservoir,
    )
    return plan_load(request)


def held_bytes(state: State, taken: Mapping[str, int]) -> dict[str, int]:
    """Return what instances hold on each device, and what else is taken there."""
    return {
        device.device_id: reserved_bytes(state, device.device_id) + taken.get(device.device_id, 0)
        for device in state.devices
    }


def _calibrated(engine: str, state: State, engine_versions: Mapping[str, str]) -> Calibrated:
    """Return the constants of the engine on the first device: a host has one kind of memory, and so have a node's GPUs as a rule."""
    device = state.devices[0] if state.devices else None
    key = engine_key(engine, engine_versions.get(engine, ""), device)
    return calibrate(key, readings_of(state.calibrations, key))
