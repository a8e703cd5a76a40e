"""Faults of the core itself.

An event that breaks the core is dropped, and an alarm says so.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from echoplaned.runtime.faults import AdapterFaults, describe

MAX_ALARMS: Final = 8
"""Kinds of faults that are named; all of them are counted."""


class CoreFaultError(RuntimeError):
    """The core raised on an event or a command: a mistake of ours.

    Nothing was changed.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(f"the daemon's core broke on {kind}, and nothing was changed; the daemon's log says more")


class CoreFaults:
    """Remembers what broke the core, for as long as the daemon runs.

    What a dropped event told stays unknown until it is told again or the daemon starts anew, so its alarm stays as well.
    """

    def __init__(self, faults: AdapterFaults) -> None:
        self._faults = faults
        self._counts: Counter[tuple[str, str]] = Counter()

    def note(self, kind: str, error: BaseException) -> None:
        """Count and log a fault of the core.

        Args:
            kind: type of the event or command.
            error: what the core raised.
        """
        self._faults.note("core", (kind,), error)
        cause = (kind, describe(error))
        if cause in self._counts or len(self._counts) < MAX_ALARMS:
            self._counts[cause] += 1

    @property
    def alarms(self) -> tuple[str, ...]:
        """One sentence for each kind of fault."""
        return tuple(
            f"{kind} broke the core {'once' if count == 1 else f'{count} times'} and was dropped ({cause}): "
            "its log says more; start the daemon again to have everything looked at anew"
            for (kind, cause), count in self._counts.items()
        )
