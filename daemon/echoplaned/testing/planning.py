"""Planning without checkpoints: facts by directory name, memory by one product."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from pathlib import Path

from echoplaned.core.errors import DaemonError, DtypeUnsupportedError, SourceCorruptError, SourceNotAllowedError
from echoplaned.core.facts import Dtype, ModelFacts
from echoplaned.core.ids import VersionKey
from echoplaned.core.plan import Alternative, Component, DeviceFit, Plan, Reservoir
from echoplaned.core.queries import available_bytes
from echoplaned.core.spec import ReservoirOverrides
from echoplaned.core.state import State
from echoplaned.ports.planning import InspectedSource, PlanQuestion, SizeQuestion
from echoplaned.ports.probing import ProbeOutcome
from echoplaned.ports.stop import Stop

_BYTES = {Dtype.FP32: 4, Dtype.FP16: 2, Dtype.BF16: 2, Dtype.INT8: 1}


@dataclass(slots=True)
class FakePlanning:
    """Knows the checkpoints that it was given, by the last part of their path.

    Every source without ``..`` lies beneath ``root``. Memory is parameters times the dtype's width, and a tenth on top.

    Attributes:
        checkpoints: what is known of each.
        errors: raised when such a checkpoint is inspected.
        refused_dtypes: raised when one is planned.
        root: where sources lie.
        inspected: what was asked for, in order.
        planned: likewise.
        threads: that any question came in.
        sources: checkpoints that a list of the roots has.
    """

    checkpoints: dict[str, ModelFacts] = field(default_factory=dict)
    errors: dict[str, DaemonError] = field(default_factory=dict)
    refused_dtypes: frozenset[Dtype] = frozenset()
    root: Path = Path("/roots")
    inspected: list[Path] = field(default_factory=list)
    planned: list[PlanQuestion] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    sources: tuple[str, ...] = ()

    def list_sources(self) -> tuple[str, ...]:
        """Return what was given."""
        return self.sources

    def inspect(self, source_uri: str, engine: str = "") -> InspectedSource:
        """Return the facts that were given.

        Raises:
            DaemonError: the one that was given, or SourceCorruptError for an unknown checkpoint.
        """
        self.threads.add(threading.get_ident())
        if ".." in source_uri:
            raise SourceNotAllowedError(
                "the source lies outside of every root", subject="source_uri", accepted="file: paths"
            )
        path = self.root / source_uri.removeprefix("file:")
        self.inspected.append(path)
        if path.name in self.errors:
            raise self.errors[path.name]
        if path.name not in self.checkpoints:
            raise SourceCorruptError(
                f"{path.name} has no config.json", subject=path.name, accepted="config.json beside it"
            )
        return InspectedSource(str(path), self.checkpoints[path.name])

    def digest(self, found: InspectedSource, stop: Stop) -> ModelFacts:
        """Return the facts that were given: their digest is in them already."""
        del stop
        self.threads.add(threading.get_ident())
        return found.facts

    def size(self, question: SizeQuestion, state: State) -> Plan:
        """Fail as the inspection did: what it refuses has no size here.

        Raises:
            DaemonError: as `inspect` says.
        """
        facts = self.inspect(question.source_uri).facts
        raise AssertionError(f"{facts.architecture} was not refused")

    def look(self, state: State) -> State:
        """Return the state: nobody measures here."""
        return state

    def plan(self, question: PlanQuestion, state: State) -> Plan:
        """Place every replica on the first device that has room for all of them.

        Raises:
            DtypeUnsupportedError: the dtype was refused.
        """
        self.threads.add(threading.get_ident())
        self.planned.append(question)
        facts, shape = question.facts, question.spec.shape
        if shape.dtype in self.refused_dtypes:
            accepted = ", ".join(d.value for d in Dtype if d not in self.refused_dtypes)
            raise DtypeUnsupportedError(f"{shape.dtype.value} cannot be had", subject="dtype", accepted=accepted)
        context = shape.context_length or facts.max_context_length
        size = facts.parameter_count * _BYTES[shape.dtype]
        upper = size * 11 // 10
        fits = tuple(
            DeviceFit(
                device.device_id,
                available_bytes(state, device.device_id) - question.taken_bytes.get(device.device_id, 0),
                upper * shape.replicas,
            )
            for device in state.devices
        )
        placed = next((f.device_id for f in fits if f.fits), "")
        smaller = Alternative(Dtype.INT8, context, shape.max_concurrency, size // 4, "host", "INT8")
        return Plan(
            fits=bool(placed),
            architecture=facts.architecture,
            parameter_count=facts.parameter_count,
            dtype=shape.dtype,
            context_length=context,
            max_concurrency=shape.max_concurrency,
            replicas=shape.replicas,
            bytes=size,
            upper_bytes=upper,
            components=(Component("weights", size, "parameters x bytes", (("parameters", facts.parameter_count),)),),
            device_ids=(placed,) * shape.replicas if placed else (),
            devices=fits,
            alternatives=() if placed else (smaller,),
            reservoir=self.reservoir(facts.parameter_count, shape.max_concurrency, question.spec.reservoir),
            surge=question.surge,
        )

    def reservoir(self, parameter_count: int, max_concurrency: int, overrides: ReservoirOverrides) -> Reservoir:
        """Return the small class's reservoir with the overrides applied.

        Its tree is a spine.
        """
        self.threads.add(threading.get_ident())
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


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True)
class FakeProber:
    """Answers every probe with ``outcome``, and notes whom it was asked about.

    Attributes:
        outcome: what every probe comes to.
        asked: version and address of each probe, in order.
        may_end: set: a probe ends at once, as it is in the beginning; cleared: once it is set.
    """

    outcome: ProbeOutcome = _PASSED
    asked: list[tuple[VersionKey, str]] = field(default_factory=list)
    may_end: asyncio.Event = field(default_factory=_set_event)

    async def probe_once(self, version: VersionKey, facts: ModelFacts, address: str, index: int) -> ProbeOutcome:
        """Return the outcome that was given."""
        self.asked.append((version, address))
        await self.may_end.wait()
        return self.outcome
