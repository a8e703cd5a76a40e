"""What a worker is told to load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from echoplaned.core.facts import Dtype, SourceContent, Task
from echoplaned.core.ids import InstanceKey

_QUEUE_PER_SLOT: Final = 64
_MIN_QUEUE: Final = 256


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """One instance to become.

    Attributes:
        instance: which one.
        generation: of the instance, from 1.
        source_path: the checkpoint.
        task: what it is served for.
        dtype: of the weights.
        context_length: tokens of one sequence, prompt and generated together.
        max_concurrency: sequences that are computed at once, and in one request.
        torch_threads: that compute.
        device: ``cpu`` or ``cuda:N``.
        digest: of the content that is meant; empty: whatever is there.
        content: the files that hold it, as they were when it was ordered; None: they are not named.
        links_dir: where links to the open files are while they are read; None: in a new directory.
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
    digest: str = ""
    content: SourceContent | None = None
    links_dir: Path | None = None

    @property
    def queue_limit(self) -> int:
        """Sequences that may wait for a slot before a call is refused."""
        return max(_MIN_QUEUE, _QUEUE_PER_SLOT * self.max_concurrency)
