"""Adds up what the gateway's access logs say, within bounds."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from echoplaned.ports.usage import OTHER_CLIENTS, UsageKey, UsageReport, UsageTotals
from echoplaned.runtime.saving import SAVE_EVERY_S, Saver

MAX_CLIENTS: Final = 1000
"""Clients that are counted apart; those after them are one."""

MAX_KEYS: Final = 20_000
"""Pairs of a client and a version that are counted apart; those after them are one."""


class UsageLedger:
    """Running totals by client and version.

    Args:
        before: what was counted until the last daemon's end.
    """

    def __init__(self, before: UsageReport) -> None:
        self._start_s = before.start_s
        self._usages = dict(before.usages)
        self._clients = {key.client for key in self._usages}
        self._saver = Saver(self.report, "usage.not_saved")

    def add(self, key: UsageKey, usage: UsageTotals) -> None:
        """Count one request, or several."""
        if key not in self._usages:
            key = self._bounded(key)
        self._usages[key] = self._usages.get(key, UsageTotals()) + usage
        self._saver.changed()

    def report(self) -> UsageReport:
        """Return what was counted until now."""
        return UsageReport(self._start_s, MappingProxyType(dict(self._usages)))

    async def run(self, save: Callable[[UsageReport], None], every_s: float = SAVE_EVERY_S) -> None:
        """Save what changed now and then, until cancelled."""
        await self._saver.run(save, every_s)

    async def save(self, save: Callable[[UsageReport], None]) -> None:
        """Save it if it changed; where that fails, it is tried again the next time."""
        await self._saver.save(save)

    def _bounded(self, key: UsageKey) -> UsageKey:
        if key.client not in self._clients and len(self._clients) >= MAX_CLIENTS:
            key = UsageKey(OTHER_CLIENTS, key.model, key.version)
        if key not in self._usages and len(self._usages) >= MAX_KEYS:
            key = UsageKey(OTHER_CLIENTS)
        self._clients.add(key.client)
        return key
