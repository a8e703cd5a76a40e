"""Has golden texts scored by both versions.

It decides which engines, which texts, and how many at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from echoplaned.core.ids import VersionKey
from echoplaned.core.rollout_state import Rollout
from echoplaned.core.state import Model
from echoplaned.gates.counting import TotalsReader
from echoplaned.gates.echo.scored import ScoredText, compare
from echoplaned.gates.ready import ReadyVersion, answer_within, ready_pair
from echoplaned.ports.emit import Clock
from echoplaned.ports.scoring import ScoreOutcome, Scorer

SCORE_TIMEOUT_S = 20.0

TEXTS_AT_ONCE = 4
"""Texts that are under way at once, each on both versions: more would push live requests aside."""


class GoldenScorer:
    """Scores golden texts in pairs.

    Args:
        scorer: has one text scored by one engine.
        reader: is told of each score, so that it is not taken for traffic.
        clock: seconds since the epoch.
        deliver: takes each text's outcome.
    """

    def __init__(
        self, scorer: Scorer, reader: TotalsReader, clock: Clock, deliver: Callable[[ScoredText], None]
    ) -> None:
        self._scorer = scorer
        self._reader = reader
        self._clock = clock
        self._deliver = deliver

    @property
    def text_count(self) -> int:
        """Golden texts that there are."""
        return self._scorer.text_count

    async def score(self, model: Model, rollout: Rollout, indices: Iterable[int]) -> bool:
        """Score texts on both versions and deliver them one by one.

        Returns False if either version has no engine that is ready.
        """
        pair = ready_pair(model, rollout)
        if pair is None:
            return False
        gate = asyncio.Semaphore(TEXTS_AT_ONCE)

        async def one(index: int) -> None:
            async with gate:
                newer, older = await asyncio.gather(*(self._score(ready, index) for ready in pair))
            self._deliver(compare(index, self._scorer.text(index), newer, older))

        await asyncio.gather(*(one(index) for index in indices))
        return True

    async def score_in_int8(self, model: Model, rollout: Rollout, count: int) -> tuple[ScoredText, ...] | None:
        """Score the first texts on the old version, as it is and in INT8.

        The second is as it would be in INT8. None if either version has no engine that is ready.

        An engine that cannot tell is asked no further.
        """
        pair = ready_pair(model, rollout)
        if pair is None:
            return None
        found: list[ScoredText] = []
        for index in range(min(count, self.text_count)):
            rounded = await self._score(pair[1], index, as_int8=True)
            text = self._scorer.text(index)
            if not rounded.ok:
                return (*found, ScoredText(index, text, problem=rounded.detail or "no score"))
            plain = await self._score(pair[1], index)
            found.append(compare(index, text, rounded, plain))
        return tuple(found)

    async def _score(self, ready: ReadyVersion, index: int, *, as_int8: bool = False) -> ScoreOutcome:
        key: VersionKey = ready.version.key
        self._reader.probe_sent(key, self._clock())
        asked = self._scorer.score(key, ready.version.facts, ready.address(index), index, as_int8=as_int8)
        late = ScoreOutcome(ok=False, detail=f"no score within {SCORE_TIMEOUT_S:g} s")
        outcome = await answer_within(SCORE_TIMEOUT_S, asked, late)
        if not outcome.ok:
            self._reader.probe_failed(key)
        return outcome
