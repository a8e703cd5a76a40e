"""Adds up the tokens that engines count, over their lives and those of daemons.

An engine counts from zero at its start and outlives the daemon. So what each engine had counted when it was last heard is kept beside
the totals, and both are saved together: what is added is always what came since, by this daemon or by an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Final, TypeVar

from echoplaned.core.ids import VersionKey
from echoplaned.core.token_counts import TokenCounts
from echoplaned.ports.tokens import SavedTokens, TokenReport
from echoplaned.runtime.saving import SAVE_EVERY_S, Saver

MAX_VERSIONS: Final = 20_000
"""Versions whose totals are kept; beyond them the one that nothing was added to for longest is forgotten."""

MAX_SEEN: Final = 4096
"""Engines whose counts are kept; beyond them the one that was not heard of for longest is: it ended while no daemon was there."""

K = TypeVar("K")


def _save_nothing(_tokens: SavedTokens) -> None:
    """Keep nothing."""


class TokenLedger:
    """Running totals of tokens by version.

    Args:
        before: what the last daemon left; None: nothing, and counting begins now.
        save: keeps the totals for the next daemon.
    """

    def __init__(self, before: SavedTokens | None = None, save: Callable[[SavedTokens], None] = _save_nothing) -> None:
        found = before or SavedTokens()
        self._begins_now = before is None
        self._totals = dict(found.totals)
        self._seen = dict(found.seen)
        self._uncounted: dict[str, VersionKey] = {}
        self._save = save
        self._saver = Saver(self._saved, "tokens.not_saved")
        if self._begins_now:
            # Once there is a file, an engine that it does not name is one that was started since.
            self._saver.changed(soon=True)

    def count(self, version: VersionKey, process: str, tokens: TokenCounts | None, *, is_adopted: bool = False) -> None:
        """Take what an engine has counted since its start; None: it counts none.

        ``process`` names one life of one leader; ``is_adopted``: an earlier daemon started it.
        """
        if tokens is None:
            self._uncounted[process] = version
            return
        self._uncounted.pop(process, None)
        # One that the last daemon's totals do not know was started after they were saved: all that it counted is new. Without totals
        # of a last daemon, what an adopted one counted is of the time before counting began.
        origin = tokens if self._begins_now and is_adopted else TokenCounts()
        is_known = process in self._seen
        last = self._seen.pop(process, origin)
        added = tokens.since(last)
        # Put last, so that the first is the one that was not heard of for longest. The larger count: one that fell and comes back (a
        # page of metrics that was cut) must not be added twice.
        self._seen[process] = tokens.at_least(last)
        self._totals[version] = self._totals.pop(version, TokenCounts()) + added
        if added != TokenCounts() or not is_known:
            self._saver.changed(soon=not is_known)
        _drop_oldest(self._seen, MAX_SEEN)
        _drop_oldest(self._totals, MAX_VERSIONS)

    def on_ended(self, process: str) -> None:
        """The leader has gone: what it counted stays, and its id does not come again."""
        self._uncounted.pop(process, None)
        if self._seen.pop(process, None) is not None:
            self._saver.changed()

    def report(self) -> TokenReport:
        """Return what was counted until now; may be called from any thread."""
        # Copied in one step each: the event loop goes on counting meanwhile.
        return TokenReport(MappingProxyType(dict(self._totals)), frozenset(list(self._uncounted.values())))

    async def run(self, every_s: float = SAVE_EVERY_S) -> None:
        """Save what changed now and then, until cancelled."""
        await self._saver.run(self._save, every_s)

    async def save(self) -> None:
        """Save the totals if they changed."""
        await self._saver.save(self._save)

    def _saved(self) -> SavedTokens:
        return SavedTokens(MappingProxyType(dict(self._totals)), MappingProxyType(dict(self._seen)))


def _drop_oldest(kept: dict[K, TokenCounts], most: int) -> None:
    if len(kept) > most:
        del kept[next(iter(kept))]
