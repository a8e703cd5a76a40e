"""Planning without checkpoints: facts by directory name, and memory by one multiplication."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from echoplaned.core.errors import DtypeUnsupportedError, EchoplaneError, SourceCorruptError
from echoplaned.core.facts import Dtype, ModelFacts
from echoplaned.core.ids import VersionKey
from echoplaned.core.plan import Alternative, Component, DeviceFit, Plan, Reservoir
from echoplaned.core.spec import ReservoirOverrides
from echoplaned.ports.probing import ProbeOutcome
from echoplaned.rpc.facade import PlanQuestion

_BYTES = {Dtype.FP32: 4, Dtype.FP16: 2, Dtype.BF16: 2, Dtype.INT8: 1}


@dataclass(slots=True)
class FakePlanning:
    """Knows the checkpoints that it was given, by the last part of their path.

    ``errors``: raised when such a checkpoint is inspected. Memory is parameters times the dtype's width, and a tenth on top.
    """

    checkpoints: dict[str, ModelFacts] = field(default_factory=dict)
    errors: dict[str, EchoplaneError] = field(default_factory=dict)
    refused_dtypes: frozenset[Dtype] = frozenset()
    inspected: list[Path] = field(default_factory=list)
    planned: list[PlanQuestion] = field(default_factory=list)

    def inspect(self, path: Path) -> ModelFacts:
        """Return the facts that were given.

        Raises:
            EchoplaneError: the one that was given, or SourceCorruptError for an unknown checkpoint.
        """
        self.inspected.append(path)
        if path.name in self.errors:
            raise self.errors[path.name]
        if path.name not in self.checkpoints:
            raise SourceCorruptError(
                f"{path.name} has no config.json", subject=path.name, accepted="config.json beside it"
            )
        return self.checkpoints[path.name]

    def plan(self, question: PlanQuestion) -> Plan:
        """Place every replica on the first device that has room for all of them.

        Raises:
            DtypeUnsupportedError: the dtype was refused.
        """
        self.planned.append(question)
        if question.dtype in self.refused_dtypes:
            accepted = ", ".join(d.value for d in Dtype if d not in self.refused_dtypes)
            raise DtypeUnsupportedError(f"{question.dtype.value} cannot be had", subject="dtype", accepted=accepted)
        size = question.facts.parameter_count * _BYTES[question.dtype]
        upper = size * 11 // 10
        fits = tuple(
            DeviceFit(
                load.device.device_id,
                load.device.capacity_bytes - load.device.reserve_bytes - load.reserved_bytes,
                upper * question.replicas,
            )
            for load in question.devices
        )
        placed = next((f.device_id for f in fits if f.fits), "")
        smaller = Alternative(Dtype.INT8, question.context_length, question.max_concurrency, size // 4, "host", "INT8")
        return Plan(
            fits=bool(placed),
            architecture=question.facts.architecture,
            parameter_count=question.facts.parameter_count,
            dtype=question.dtype,
            context_length=question.context_length,
            max_concurrency=question.max_concurrency,
            replicas=question.replicas,
            bytes=size,
            upper_bytes=upper,
            components=(
                Component("weights", size, "parameters x bytes", (("parameters", question.facts.parameter_count),)),
            ),
            device_ids=(placed,) * question.replicas if placed else (),
            devices=fits,
            alternatives=() if placed else (smaller,),
            reservoir=self.reservoir(question.facts.parameter_count, question.max_concurrency, question.reservoir),
            surge=question.surge,
        )

    def reservoir(self, parameter_count: int, max_concurrency: int, overrides: ReservoirOverrides) -> Reservoir:
        """Return the small class's reservoir with the overrides applied; its tree is a spine."""
        return Reservoir(
            size_class="small",
            membrane_depth=4,
            units=512,
            tree=(1, 2, 3, 4),
            level_time_constants=(2.8, 4.7, 7.8, 13.0),
            bytes_per_stream=4 * 512,
            total_bytes=4 * 512 * max_concurrency,
            spectral_radius=0.85 if overrides.spectral_radius is None else overrides.spectral_radius,
            leak=0.3 if overrides.leak is None else overrides.leak,
            input_scale=0.15 if overrides.input_scale is None else overrides.input_scale,
            seed=overrides.seed or 0,
            block_density=0.125 if overrides.block_density is None else overrides.block_density,
        )


_PASSED = ProbeOutcome(ok=True, duration_s=0.004)


@dataclass(slots=True)
class FakeProber:
    """Answers every probe with ``outcome``, and notes whom it was asked about."""

    outcome: ProbeOutcome = _PASSED
    asked: list[tuple[VersionKey, str]] = field(default_factory=list)

    async def probe_once(self, version: VersionKey, facts: ModelFacts, address: str, index: int) -> ProbeOutcome:
        """Return the outcome that was given."""
        self.asked.append((version, address))
        return self.outcome
