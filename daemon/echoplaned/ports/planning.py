"""Planning, as doors and the loop see it.

What a checkpoint is, what it needs, where it goes, and what would fit instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from echoplaned.core.effects import ExplainMemory, PlaceInstance
from echoplaned.core.facts import ModelFacts
from echoplaned.core.plan import Plan, Reservoir
from echoplaned.core.spec import ReservoirOverrides, ShapeRequest, VersionSpec
from echoplaned.core.state import State
from echoplaned.ports.stop import Stop


@dataclass(frozen=True, slots=True)
class InspectedSource:
    """A source whose headers were read.

    Attributes:
        path: its directory, or its GGUF file, free of links, beneath an allowed root.
        facts: what its files say, and which files they are; their digest is empty.
        weights_format: how a GGUF file's weights are packed, where that is no dtype: they are served as they are; empty: as the dtype.
    """

    path: str
    facts: ModelFacts
    weights_format: str = ""


@dataclass(frozen=True, slots=True)
class PlanQuestion:
    """A version that is to be planned on the devices as a state has them.

    Attributes:
        spec: the version, its shape complete.
        facts: what its files say.
        surge: whether it is served beside the version that it replaces, whose bytes the state has reserved already.
        taken_bytes: bytes held on each device beside what the state reserves, by device id.
        least_context: the least context where nobody asked for one, tokens; 0: what is offered to everybody.
    """

    spec: VersionSpec
    facts: ModelFacts
    surge: bool = False
    taken_bytes: Mapping[str, int] = field(default_factory=dict)
    least_context: int = 0


@dataclass(frozen=True, slots=True)
class SizeQuestion:
    """A source that is to be sized, whether or not it would be served.

    Attributes:
        source_uri: the source, as the caller wrote it.
        shape: what is asked of it.
        reservoir: changes to the reservoir's defaults.
        surge: whether it would be served beside the version that it replaces.
        taken_bytes: bytes held on each device beside what the state reserves, by device id.
        least_context: the least context where nobody asked for one, tokens; 0: what is offered to everybody.
    """

    source_uri: str
    shape: ShapeRequest
    reservoir: ReservoirOverrides
    surge: bool = False
    taken_bytes: Mapping[str, int] = field(default_factory=dict)
    least_context: int = 0


class Planning(Protocol):
    """The questions about plans that doors ask.

    Every method blocks, most of them read files: call them in a worker thread.
    """

    def inspect(self, source_uri: str, engine: str = "") -> InspectedSource:
        """Find a source beneath the allowed roots, and read its headers and configs.

        No weight is read.

        Args:
            source_uri: the source, as the caller wrote it.
            engine: the kind that shall serve it; empty: the default one.

        Raises:
            SourceUnsupportedError: the engine does not read files of this format.
            FieldInvalidError: the text is no source.
            SourceNotAllowedError: it leads out of the allowed roots.
            SourceCorruptError: a file is missing, cut short or disagrees with another one.
            SourceUnsafeError: the checkpoint holds something that could run code.
            ArchitectureUnsupportedError: the architecture is not in the catalogue.
        """
        ...

    def list_sources(self) -> tuple[str, ...]:
        """Return the checkpoints beneath the roots by their paths there.

        Only names are looked at; ``file:PATH`` is such a source. Blocks.
        """
        ...

    def digest(self, found: InspectedSource, stop: Stop) -> ModelFacts:
        """Read all of an inspected source, and return its facts with the digest.

        The digest is of its content. Takes seconds for each GiB.

        Raises:
            SourceChangedError: a file is not what it was when its headers were read.
            SourceCorruptError: a file cannot be read.
            LimitExceededError: ``stop`` was set.
        """
        ...

    def size(self, question: SizeQuestion, state: State) -> Plan:
        """Plan a source that a load would refuse.

        The plan tells its size, and why it would not be served.

        Raises:
            DaemonError: the files themselves are not sound.
        """
        ...

    def look(self, state: State) -> State:
        """Return a state with its devices as they are measured now."""
        ...

    def plan(self, question: PlanQuestion, state: State) -> Plan:
        """Plan a version's memory.

        One that does not fit comes back with ``fits`` false and alternatives.

        Raises:
            ArchitectureUnsupportedError: there is no sizing for the architecture.
            DtypeUnsupportedError: the dtype cannot be had for this model.
        """
        ...

    def reservoir(self, parameter_count: int, max_concurrency: int, overrides: ReservoirOverrides) -> Reservoir:
        """Return the reservoir that goes with a parameter count.

        Raises:
            FieldInvalidError: an override is out of range.
        """
        ...


class Planner(Protocol):
    """The questions about plans that the loop asks.

    Both methods return at once and read no file in their call; answers come as events.
    """

    def place(self, effect: PlaceInstance, state: State) -> None:
        """Find devices for an instance.

        Answers InstancePlaced, PlacementDelayed or PlacementRefused, with the reservation epoch that was read.
        """
        ...

    def explain_memory(self, effect: ExplainMemory, state: State) -> None:
        """Compare a process's memory peaks with what the formulas give.

        Answers MemorySampled, or nothing where the checkpoint has gone.
        """
        ...
