"""The planning that RPCs ask for, as they see it; the allocator's own facade implements it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from echoplaned.core.calibration import Window
from echoplaned.core.facts import Dtype, ModelFacts
from echoplaned.core.plan import Device, Plan, Reservoir, Victim
from echoplaned.core.spec import ReservoirOverrides


@dataclass(frozen=True, slots=True)
class DeviceLoad:
    """A device and the bytes that are reserved on it for instances."""

    device: Device
    reserved_bytes: int


@dataclass(frozen=True, slots=True)
class PlanQuestion:
    """What to plan. ``surge``: it is served beside the version that it replaces, whose bytes are in ``devices`` already.

    ``victims``: what could be parked or evicted to make room. ``measured``: what engines took so far.
    """

    source_path: Path
    facts: ModelFacts
    engine: str
    dtype: Dtype
    context_length: int
    max_concurrency: int
    replicas: int
    devices: tuple[DeviceLoad, ...]
    reservoir: ReservoirOverrides = field(default_factory=ReservoirOverrides)
    surge: bool = False
    victims: tuple[Victim, ...] = ()
    measured: tuple[Window, ...] = ()


class PlanningFacade(Protocol):
    """Reads checkpoints and plans memory. Every method blocks and is called in a worker thread."""

    def inspect(self, path: Path) -> ModelFacts:
        """Read what a checkpoint's files say.

        Raises:
            SourceCorruptError: a file is missing, cut short or disagrees with another one.
            SourceUnsafeError: the checkpoint holds something that could run code.
            ArchitectureUnsupportedError: the architecture is not in the catalogue.
        """
        ...

    def plan(self, question: PlanQuestion) -> Plan:
        """Plan a version's memory; one that does not fit comes back with ``fits`` false and alternatives.

        Raises:
            ArchitectureUnsupportedError: there is no sizing for the architecture.
            DtypeUnsupportedError: the dtype cannot be had for this model.
        """
        ...

    def reservoir(self, parameter_count: int, max_concurrency: int, overrides: ReservoirOverrides) -> Reservoir:
        """Return the reservoir that goes with a parameter count."""
        ...
