"""What a worker is told to load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from echoplaned.core.facts import Dtype, Task
from echoplaned.core.ids import InstanceKey

_QUEUE_PER_SLOT: Final = 64
_MIN_QUEUE: Final = 256


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """One instance to become.

    ``context_length``: tokens of one sequence, prompt and generated together. ``max_concurrency``: sequences that are
    computed at once, and in one request. ``device``: ``cpu`` or ``cuda:N``.
    """

    instance: InstanceKey
    generation: int
    source_path: Path
    task: Task
    dtype: Dtype
    context_length: int
    max_concurrency: int
    torch_threads: int = 1
    device: str = "cpu"

    @property
    def queue_limit(self) -> int:
        """Sequences that may wait for a slot before a call is refused."""
        return max(_MIN_QUEUE, _QUEUE_PER_SLOT * self.max_concurrency)
