"""Saves a value that changes all the time, now and then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import structlog

from echoplaned.runtime.faults import contain

SAVE_EVERY_S: Final = 10.0

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Saver(Generic[T]):
    """Saves one value where it changed.

    Where that fails, it is tried again the next time.

    Args:
        read: returns the value as it is now; called on the event loop.
        event: what the log calls a value that was not saved.
    """

    def __init__(self, read: Callable[[], T], event: str) -> None:
        self._read = read
        self._event = event
        self._has_changed = False
        self._hurry = asyncio.Event()

    def changed(self, *, soon: bool = False) -> None:
        """Note that the value is another one than was saved.

        ``soon``: it is not to wait for its turn.
        """
        self._has_changed = True
        if soon:
            self._hurry.set()

    async def run(self, save: Callable[[T], None], every_s: float = SAVE_EVERY_S) -> None:
        """Save what changed now and then, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await self._hurry.wait()
            self._hurry.clear()
            await self.save(save)

    async def save(self, save: Callable[[T], None]) -> None:
        """Save the value if it changed, in a thread: the disk may be slow."""
        if not self._has_changed:
            return
        self._has_changed = False
        with contain(self._not_saved):
            await asyncio.to_thread(save, self._read())

    def _not_saved(self, error: BaseException) -> None:
        self._has_changed = True
        log.warning(self._event, problem=f"{type(error).__name__}: {error}")
