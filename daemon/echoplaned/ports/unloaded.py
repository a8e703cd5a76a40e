"""What was unloaded through the repository, so that its name alone brings it back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class UnloadedModels(Protocol):
    """Keeps how models were loaded, over restarts of the daemon too.

    Its methods block.
    """

    def keep(self, model_id: str, content: bytes) -> None:
        """Keep how a model was loaded, in place of what was kept of it before.

        Raises:
            OSError: it cannot be written; what was there before is there still.
        """
        ...

    def read(self) -> Mapping[str, bytes]:
        """Return what is kept, by model id.

        Raises:
            OSError: it cannot be read.
        """
        ...


class NothingUnloaded:
    """Keeps nothing."""

    def keep(self, model_id: str, content: bytes) -> None:
        """Do nothing."""

    def read(self) -> Mapping[str, bytes]:
        """Return nothing."""
        return {}
