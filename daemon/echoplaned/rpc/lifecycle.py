"""Whether the daemon stops, for streams that would otherwise never end."""

from __future__ import annotations

import asyncio


class DaemonStoppingError(Exception):
    """The daemon stops.

    The call may be made again at once, to whoever answers then.
    """


class Lifecycle:
    """A signal that is set once, when the daemon begins to stop.

    Health turns to NOT_SERVING and watching streams end.
    """

    def __init__(self) -> None:
        self._stopping = asyncio.Event()

    @property
    def stopping(self) -> bool:
        """Whether the daemon has begun to stop."""
        return self._stopping.is_set()

    def begin_stop(self) -> None:
        """Begin to stop; saying it again changes nothing."""
        self._stopping.set()

    async def wait_stopping(self) -> None:
        """Return once the daemon has begun to stop."""
        await self._stopping.wait()
