"""How a blocking call learns that nobody waits for it any more."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Stop:
    """Set once, from any thread; whoever listens is told, at once where it was set before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = False
        self._listeners: list[Callable[[], None]] = []

    def stop(self) -> None:
        """Tell every listener; once."""
        with self._lock:
            listeners = () if self._stopped else tuple(self._listeners)
            self._stopped = True
        for listener in listeners:
            listener()

    def on_stop(self, listener: Callable[[], None]) -> None:
        """Call a function when it is set."""
        with self._lock:
            self._listeners.append(listener)
            stopped = self._stopped
        if stopped:
            listener()
