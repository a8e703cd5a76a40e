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
        instance: instance that the worker becomes.
        generation: generation of the instance, from 1.
        source_path: directory of the checkpoint.
        task: task that the model is served for.
        dtype: dtype of the weights.
        context_length: tokens of one sequence, prompt and generated together, from 1.
        max_concurrency: sequences that are computed at once, and in one request, from 1.
        torch_threads: threads that compute, from 1.
        device: device that the model runs on, ``cpu`` or ``cuda:N``.
        digest: digest of the content that is meant; empty: whatever is there.
        content: files that hold the content, as they were when it was ordered; None: they are not named.
        links_dir: directory of the links to the open files while they are read; None: a new one.
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
