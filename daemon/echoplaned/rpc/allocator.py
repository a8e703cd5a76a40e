"""The allocator as the RPCs ask for it: reads checkpoints and plans memory, in worker threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

from echoplaned.core.calibration import engine_key, readings_of
from echoplaned.core.facts import ModelFacts
from echoplaned.core.plan import Plan, Reservoir
from echoplaned.core.spec import ReservoirOverrides
from echoplaned.planning import (
    Calibrated,
    Checkpoint,
    PlanRequest,
    calibrate,
    inspect_checkpoint,
    plan_load,
    plan_reservoir,
)
from echoplaned.rpc.facade import PlanQuestion

KEPT = 64


class Planning:
    """Implements ``PlanningFacade``. Keeps the last checkpoints that were read, so that planning does not read them again.

    Args:
        roots: every file that is read lies beneath one of them.
        engine_versions: the version of each engine kind that a load would start now, as its workers report it.
    """

    def __init__(self, roots: Sequence[Path], engine_versions: Mapping[str, str] | None = None) -> None:
        self._engine_versions = dict(engine_versions or {})
        self._roots = tuple(roots)
        self._read: OrderedDict[tuple[Path, str], Checkpoint] = OrderedDict()
        self._lock = threading.Lock()

    def inspect(self, path: Path) -> ModelFacts:
        """Read what a checkpoint's files say; every file must lie beneath the root that the directory lies in."""
        root = next((root for root in self._roots if path.is_relative_to(root)), None)
        checkpoint = inspect_checkpoint(path, allowed_root=root)
        with self._lock:
            self._read[path, checkpoint.facts.digest] = checkpoint
            while len(self._read) > KEPT:
                self._read.popitem(last=False)
        return checkpoint.facts

    def plan(self, question: PlanQuestion) -> Plan:
        """Plan a version's memory on the devices as they stand."""
        with self._lock:
            known = self._read.get((question.source_path, question.facts.digest))
        request = PlanRequest(
            source=known if known is not None else question.source_path,
            devices=tuple(load.device for load in question.devices),
            dtype=question.dtype,
            context_length=question.context_length,
            max_concurrency=question.max_concurrency,
            replicas=question.replicas,
            surge=question.surge,
            engine=question.engine,
            reserved_bytes={load.device.device_id: load.reserved_bytes for load in question.devices},
            reservoir=question.reservoir,
            victims=question.victims,
            calibrated=self._calibrated(question),
        )
        return plan_load(request)

    def _calibrated(self, question: PlanQuestion) -> Calibrated:
        """Return the constants of the engine on the first device: a host has one kind of memory, and so have a node's GPUs as a rule."""
        device = question.devices[0].device if question.devices else None
        key = engine_key(question.engine, self._engine_versions.get(question.engine, ""), device)
        return calibrate(key, readings_of(question.measured, key))

    def reservoir(self, parameter_count: int, max_concurrency: int, overrides: ReservoirOverrides) -> Reservoir:
        """Return the reservoir that goes with a parameter count."""
        return plan_reservoir(parameter_count, max_concurrency, overrides)
