"""Where gates keep what they know of a rollout."""

from __future__ import annotations

from typing import Protocol


class EvidenceStore(Protocol):
    """Where gates keep what they know of a rollout.

    Methods block; one call at a time for each rollout.
    """

    def save(self, rollout_id: str, content: bytes) -> None:
        """Keep a rollout's evidence in place of what was kept before.

        It is durable on return.

        Raises:
            OSError: it was not kept; what was there before is there still.
        """
        ...

    def load(self, rollout_id: str) -> bytes | None:
        """Return a rollout's evidence; None where there is none.

        Raises:
            OSError: it cannot be read.
        """
        ...

    def delete(self, rollout_id: str) -> None:
        """Remove a rollout's evidence, if there is any.

        Raises:
            OSError: it cannot be removed.
        """
        ...
