"""The allocator behind its port: the questions of doors, which block.

The loop's questions come by way of the instance planner, and are answered by events.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from echoplaned.core.facts import ModelFacts
from echoplaned.core.plan import Plan, Reservoir
from echoplaned.core.spec import ReservoirOverrides
from echoplaned.core.state import State
from echoplaned.planning.admission import plan_version, size_source
from echoplaned.planning.checkpoints import CheckpointCache
from echoplaned.planning.gguf import check_format, inspect_gguf
from echoplaned.planning.hub import resolve_hub
from echoplaned.planning.inspection import digest_facts, inspect_checkpoint
from echoplaned.planning.listing import list_sources
from echoplaned.planning.measuring import Meter
from echoplaned.planning.reservoir import plan_reservoir
from echoplaned.planning.sources import resolve_source
from echoplaned.ports.planning import InspectedSource, PlanQuestion, SizeQuestion
from echoplaned.ports.stop import Stop


class Allocator:
    """Implements ``ports.planning.Planning``; may be used from several threads.

    Args:
        roots: every file that is read lies beneath one of them.
        engine_versions: the version of each engine kind that a load would start now, as its workers report it.
        meter: measures the devices; None: nobody does, and what is reserved counts alone.
    """

    def __init__(
        self, roots: Sequence[Path], engine_versions: Mapping[str, str] | None = None, meter: Meter | None = None
    ) -> None:
        self._meter = meter
        self._roots = tuple(roots)
        self._engine_versions = dict(engine_versions or {})
        self._checkpoints = CheckpointCache()

    def inspect(self, source_uri: str, engine: str = "") -> InspectedSource:
        """Read what a source's files say about the model.

        Every file must lie beneath the root that the source's directory lies in.
        """
        path, root = self._find(source_uri)
        is_gguf = check_format(path, engine, root)
        inspect = inspect_gguf if is_gguf else inspect_checkpoint
        checkpoint = inspect(path, allowed_root=root, with_digest=False)
        self._checkpoints.put(str(path), checkpoint)
        return InspectedSource(str(path), checkpoint.facts, checkpoint.default_shape.weights_format if is_gguf else "")

    def _find(self, source_uri: str) -> tuple[Path, Path]:
        """Return a source's path, and the root that it lies beneath, free of links.

        Of several roots the first one that also holds what the path leads to.
        """
        path = resolve_hub(resolve_source(source_uri, self._roots))
        target = os.path.realpath(path)
        roots = [root for root in map(Path, map(os.path.realpath, self._roots)) if path.is_relative_to(root)]
        return path, next((root for root in roots if Path(target).is_relative_to(root)), roots[0])

    def list_sources(self) -> tuple[str, ...]:
        """Return the checkpoints beneath the roots by their paths there."""
        return list_sources(self._roots)

    def digest(self, found: InspectedSource, stop: Stop) -> ModelFacts:
        """Read all files of an inspected source, and return its facts with the digest."""
        facts = digest_facts(found.facts, stop)
        self._checkpoints.complete(found.path, found.facts, facts)
        return facts

    def size(self, question: SizeQuestion, state: State) -> Plan:
        """Plan a source that a load would refuse.

        The plan tells its size, and why it would not be served.
        """
        path, root = self._find(question.source_uri)
        # All entries of a directory were looked at; the other parts of a split file were not.
        return size_source(path, question, state, self._engine_versions, None if path.is_dir() else root)

    def look(self, state: State) -> State:
        """Return a state with its devices as they are measured now."""
        return state if self._meter is None else replace(state, measured=self._meter.measure())

    def plan(self, question: PlanQuestion, state: State) -> Plan:
        """Plan a version's memory on the devices as a state has them."""
        known = self._checkpoints.get(question.spec)
        return plan_version(question, state, known=known, engine_versions=self._engine_versions)

    def reservoir(self, parameter_count: int, max_concurrency: int, overrides: ReservoirOverrides) -> Reservoir:
        """Return the reservoir that goes with a parameter count."""
        return plan_reservoir(parameter_count, max_concurrency, overrides)
