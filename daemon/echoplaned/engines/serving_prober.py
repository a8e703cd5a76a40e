"""Probes an engine while it serves.

What it answers, and whether it answers at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from echoplaned.core.facts import ModelFacts
from echoplaned.core.ids import VersionKey
from echoplaned.engines.instance import WatchedInstance
from echoplaned.engines.messages import ProbeAnswer, is_same
from echoplaned.engines.probing import ProbeFailedError, infer_golden
from echoplaned.ports.emit import Clock
from echoplaned.ports.probing import LastProbe, ProbeOutcome
from echoplaned.worker_contract.golden import GOLDEN_TEXTS

_LOOK_S: Final = 0.25
_BAD_IN_A_ROW: Final = 2
"""Failed probes in a row that count: one may have failed for what a caller sent beside it."""

_AWAY_S: Final = 8.0
"""An engine that reports and cannot be called is of no use; one that ends is gone before."""

FactsOf = Callable[[VersionKey], ModelFacts | None]
"""Returns what is known of a version; None: nothing."""


class ServingProber:
    """Sends golden prompts to one engine that serves.

    While it is idle, while it makes no step, and now and then while it is busy.

    Args:
        watched: the engine.
        facts_of: what its version promises.
        clock: seconds since the epoch.
        failed: told once, with the reason, when it answers wrongly; no probe is sent after that.
    """

    def __init__(
        self, watched: WatchedInstance, facts_of: FactsOf, clock: Clock, failed: Callable[[WatchedInstance, str], None]
    ) -> None:
        self._watched = watched
        self._facts_of = facts_of
        self._clock = clock
        self._failed = failed
        self._index = 0
        self._bad = 0
        self._alike = 0
        self._before: ProbeAnswer | None = None
        self._away_since_s: float | None = None

    async def run(self) -> None:
        """Probe until the engine answers wrongly, or is cancelled with it."""
        try:
            await self._run()
        finally:
            # Without probes a caller that reads nothing looks like a hang.
            self._watched.progress.is_probed = False

    async def _run(self) -> None:
        watched = self._watched
        while not watched.stopping:
            facts = self._facts_of(watched.key[0].version)
            watched.progress.is_probed = facts is not None
            # After a bad answer, or two alike, the next ones decide: they are not waited for.
            suspicious = bool(self._bad or self._alike)
            if facts is None or not watched.wants_probe(now=suspicious):
                await asyncio.sleep(_LOOK_S)
                continue
            why = await self._probe(facts)
            if why:
                self._failed(watched, why)
                return

    async def _probe(self, facts: ModelFacts) -> str:
        """Send one prompt and say what is wrong with the engine.

        Empty if nothing is known to be.
        """
        watched, index = self._watched, self._index
        self._index += 1
        began_s = self._clock()
        watched.probe_began()
        try:
            # No deadline: how long it may take is for the steps of the model to say, and a caller of ours that gave up would be
            # counted as a client's fault.
            line = watched.leader.client.line
            answer = await infer_golden(line, watched.key[0].version, facts, index, None)
        except ProbeFailedError as error:
            watched.probe_ended(answered=False, arrived=not error.unavailable)
            return await self._take_failure(error, began_s)
        watched.probe_ended(answered=True)
        why = self._compare(answer)
        self._note(ProbeOutcome(ok=not why, detail=why, duration_s=self._clock() - began_s))
        return why

    async def _take_failure(self, error: ProbeFailedError, began_s: float) -> str:
        if not error.unavailable:
            self._away_since_s = None  # whoever refuses was reached
        if error.no_verdict and not (error.unavailable and self._is_away()):
            await asyncio.sleep(_LOOK_S)
            return ""
        self._bad += 1
        if self._bad < _BAD_IN_A_ROW:
            return ""
        self._note(ProbeOutcome(ok=False, detail=str(error), duration_s=self._clock() - began_s))
        return str(error)

    def _is_away(self) -> bool:
        """Whether the engine could not be reached for so long that it is not just ending."""
        now_s = asyncio.get_running_loop().time()
        self._away_since_s = now_s if self._away_since_s is None else self._away_since_s
        return now_s - self._away_since_s > _AWAY_S

    def _compare(self, answer: ProbeAnswer) -> str:
        """Say what is wrong if the last answers were all the same; empty: they were not.

        The last answers are as many as there are golden texts; texts differ, so answers do.
        """
        self._bad, self._away_since_s = 0, None
        same = self._before is not None and is_same(self._before, answer)
        self._alike = self._alike + 1 if same else 0
        self._before = answer
        if self._alike + 1 < len(GOLDEN_TEXTS):
            return ""
        return f"the last {len(GOLDEN_TEXTS)} golden prompts were all answered alike"

    def _note(self, outcome: ProbeOutcome) -> None:
        self._watched.last_probe = LastProbe(outcome, self._clock())
