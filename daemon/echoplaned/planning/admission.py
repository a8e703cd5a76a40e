"""The one way from a version and a state to a plan.

Loads, updates, dry runs, questions, and the refusals of the loop all come this way.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from echoplaned.core.calibration import engine_key, samples_of
from echoplaned.core.plan import Plan
from echoplaned.core.queries import available_bytes, free_bytes, reserved_bytes
from echoplaned.core.spec import request_of
from echoplaned.core.state import State
from echoplaned.engine_kinds import DEFAULT_KIND
from echoplaned.planning.calibration import CalibratedConstants, calibrate
from echoplaned.planning.candidates import candidates_of
from echoplaned.planning.inspection import Checkpoint
from echoplaned.planning.plan import ForeignMemory, PlanRequest, plan_load
from echoplaned.ports.planning import PlanQuestion, SizeQuestion


def plan_version(
    question: PlanQuestion, state: State, *, known: Checkpoint | None, engine_versions: Mapping[str, str]
) -> Plan:
    """Plan a version on the devices as a state has them.

    The checkpoint's headers are read where ``known`` is None.

    Raises:
        DaemonError: what inspecting and sizing raise. Not fitting is an answer (``fits`` is false), not an error.
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
        least_context=question.least_context,
        foreign=foreign_memory(state),
    )
    return plan_load(request)


def size_source(
    path: Path,
    question: SizeQuestion,
    state: State,
    engine_versions: Mapping[str, str],
    allowed_root: Path | None = None,
) -> Plan:
    """Plan a source that no load has inspected, served by its engine or not.

    ``allowed_root``: every file that is read must lie beneath it once links are followed; None allows all.

    Raises:
        DaemonError: what reading and sizing raise.
    """
    request = PlanRequest(
        source=path,
        allowed_root=allowed_root,
        devices=state.devices,
        shape=question.shape,
        surge=question.surge,
        candidates=candidates_of(state),
        calibrated=_calibrated(question.shape.engine or DEFAULT_KIND.name, state, engine_versions),
        reserved_bytes=held_bytes(state, question.taken_bytes),
        reservoir=question.reservoir,
        least_context=question.least_context,
        foreign=foreign_memory(state),
    )
    return plan_load(request)


def held_bytes(state: State, taken: Mapping[str, int]) -> dict[str, int]:
    """Return the bytes that are taken on each device, by device id.

    They are what instances hold, what others hold beyond what is kept back, and what else is taken there (``taken``).
    """
    return {
        device.device_id: reserved_bytes(state, device.device_id)
        + _displaced_bytes(state, device.device_id)
        + taken.get(device.device_id, 0)
        for device in state.devices
    }


def foreign_memory(state: State) -> dict[str, ForeignMemory]:
    """Return what others hold on each device, where that takes reserved room.

    By device id; a device is in it where less is measured as free than what is reserved would leave.
    """
    found = {}
    for measured in state.measured:
        if _displaced_bytes(state, measured.device_id):
            foreign = measured.foreign_bytes(reserved_bytes(state, measured.device_id))
            found[measured.device_id] = ForeignMemory(foreign, measured.holders)
    return found


def _displaced_bytes(state: State, device_id: str) -> int:
    """Return by how much less is measured as free than what is reserved would leave."""
    return 0 if not state.measured else max(0, free_bytes(state, device_id) - available_bytes(state, device_id))


def _calibrated(engine: str, state: State, engine_versions: Mapping[str, str]) -> CalibratedConstants:
    """Return the calibrated constants of the engine on the first device.

    A host has one kind of memory, and so have a node's GPUs as a rule.
    """
    device = state.devices[0] if state.devices else None
    key = engine_key(engine, engine_versions.get(engine, ""), device)
    return calibrate(key, samples_of(state.calibrations, key))
