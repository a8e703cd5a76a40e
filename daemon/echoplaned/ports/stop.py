"""How a blocking call learns that nobody waits for it any more."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Stop:
    """A signal that is set once, from any thread, and tells its listeners.

    A listener that comes after it was set is told at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = False
        self._listeners: list[Callable[[], None]] = []

    def stop(self) -> None:
        """Set the signal and tell every listener; a second call does nothing."""
        with self._lock:
            listeners = () if self._stopped else tuple(self._listeners)
            self._stopped = True
        for listener in listeners:
            listener()

    def on_stop(self, listener: Callable[[], None]) -> None:
        """Call a function when the signal is set."""
        with self._lock:
            self._listeners.append(listener)
            stopped = self._stopped
        if stopped:
            listener()
