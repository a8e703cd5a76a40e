"""The real planning, as RPCs ask for it: the allocator's functions behind the facade."""

from __future__ import annotations

from pathlib import Path

from echoplaned.core.facts import ModelFacts
from echoplaned.core.plan import Plan, Reservoir
from echoplaned.core.spec import ReservoirOverrides
from echoplaned.planning import PlanRequest, inspect_model, plan_load, plan_reservoir
from echoplaned.rpc.facade import PlanQuestion


class AllocatorPlanning:
    """Inspects and plans with the native allocator. Holds nothing: every answer follows from its question."""

    def inspect(self, path: Path) -> ModelFacts:
        """Read what a checkpoint's files say; hashes all of them."""
        return inspect_model(path)

    def plan(self, question: PlanQuestion) -> Plan:
        """Plan a version's memory."""
        return plan_load(
            PlanRequest(
                source=question.source_path,
                devices=tuple(load.device for load in question.devices),
                dtype=question.dtype,
                context_length=question.context_length,
                max_concurrency=question.max_concurrency,
                replicas=question.replicas,
                surge=question.surge,
                engine=question.engine,
                reserved_bytes={load.device.device_id: load.reserved_bytes for load in question.devices},
                reservoir=question.reservoir,
            )
        )

    def reservoir(self, parameter_count: int, max_concurrency: int, overrides: ReservoirOverrides) -> Reservoir:
        """Return the reservoir that goes with a parameter count."""
        return plan_reservoir(parameter_count, max_concurrency, overrides)
