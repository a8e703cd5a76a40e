"""A cache of the checkpoints that were read last.

With it, planning a version that was just inspected reads nothing again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Final

from echoplaned.core.facts import ModelFacts
from echoplaned.core.spec import VersionSpec
from echoplaned.planning.inspection import Checkpoint

MAX_CHECKPOINTS: Final = 64


class CheckpointCache:
    """The last checkpoints by directory and digest; may be used from several threads."""

    def __init__(self, limit: int = MAX_CHECKPOINTS) -> None:
        self._limit = limit
        self._read: OrderedDict[tuple[str, str], Checkpoint] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, path: str, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint; the oldest one goes where there are too many."""
        with self._lock:
            self._read[path, checkpoint.facts.digest] = checkpoint
            while len(self._read) > self._limit:
                self._read.popitem(last=False)

    def complete(self, path: str, before: ModelFacts, facts: ModelFacts) -> None:
        """Keep a checkpoint by its digest as well, which has become known.

        Nothing is kept unless the checkpoint is still the one that was inspected.
        """
        with self._lock:
            checkpoint = self._read.get((path, before.digest))
        if checkpoint is not None and checkpoint.facts == before:
            self.put(path, replace(checkpoint, facts=facts))

    def get(self, spec: VersionSpec) -> Checkpoint | None:
        """Return a version's checkpoint as it was when its content had the digest.

        None: it is not kept.
        """
        with self._lock:
            return self._read.get((spec.source_path, spec.digest))
