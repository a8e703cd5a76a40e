"""Gathers behaviour evidence for the echo gate.

It is golden texts scored by both versions, and what live requests answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from echoplaned.core.behaviour import Int8Baseline
from echoplaned.core.engine_events import Int8BaselineMeasured
from echoplaned.core.ids import VersionKey
from echoplaned.core.rollout_state import Rollout
from echoplaned.core.state import Model
from echoplaned.gates.collector import Job, RolloutContext
from echoplaned.gates.counting import TotalsReader
from echoplaned.gates.echo import description, features, margins
from echoplaned.gates.echo.asks import DescribeChange, FitListeners, ScoreTexts
from echoplaned.gates.echo.description import ChangeDescription
from echoplaned.gates.echo.evidence import BehaviourObservation, FitResult
from echoplaned.gates.echo.matching import TracedRequest
from echoplaned.gates.echo.scored import ScoredText
from echoplaned.gates.echo.scoring import GoldenScorer
from echoplaned.gates.echo.sequences import sequence_of, stratum_of
from echoplaned.gates.gate import Ask, Observation
from echoplaned.ports.scoring import Scorer
from echoplaned.ports.traces import INCOMPLETE, RequestTrace, TraceSource

RETRY_S = 0.5
"""Pause before texts are tried again while a version has no engine that is ready."""

DESCRIBE_S = 1.0
"""Pause between two looks at whether there are enough new pairs to describe."""

MEASURE_S = 20.0
"""The old version is measured against itself in INT8 for at most so long; then the default margin holds for the rollout."""


@dataclass(slots=True)
class _Pending:
    """What was found since the last reading.

    ``BehaviourObservation`` says what each is.
    """

    described: tuple[ChangeDescription, ...] = ()
    int8_baseline: Int8Baseline | str | None = None
    fit_result: FitResult | None = None


class BehaviourCollector:
    """Gathers scores and traces for one rollout between two readings.

    Args:
        scorer: has texts scored; None: behaviour is not judged by golden texts.
        traces: telemetry; None: it is not judged by live requests.
        reader: is told of each score, so that it is not taken for traffic.
        context: the rollout.
    """

    def __init__(
        self, scorer: Scorer | None, traces: TraceSource | None, reader: TotalsReader, context: RolloutContext
    ) -> None:
        self._scorer = GoldenScorer(scorer, reader, context.clock, self._deliver) if scorer is not None else None
        self._traces = traces
        self._context = context
        self._versions = (context.new, context.old)
        self._dropped = {key: traces.dropped_count(key) for key in self._versions} if traces is not None else {}
        self._texts: list[ScoredText] = []
        self._pending = _Pending()
        self._wanted = asyncio.Event()
        self._score: ScoreTexts | None = None
        self._fit: FitListeners | None = None
        self._describe: DescribeChange | None = None
        self._margin_closed = False

    # --- Collector ---

    def add_to(self, seen: Observation) -> Observation:
        """Add what came since the last reading.

        Live requests count only under weights that everybody has. Before that, those of the old version calibrate the listeners.
        """
        texts, self._texts = tuple(self._texts), []
        pending, self._pending = self._pending, _Pending()
        if self._score is not None:
            # What is handed out here is not missing any more, though the gate has not seen it when it asked.
            self._score = replace(self._score, indices=self._score.indices - {text.index for text in texts})
        if pending.fit_result is not None:
            self._fit = None
        part = BehaviourObservation(texts, int8_baseline=pending.int8_baseline)
        if self._traces is not None:
            part = replace(
                part, lost=self._lost(self._traces), described=pending.described, fit_result=pending.fit_result
            )
            requests = self._requests(self._traces)
            if seen.weight is not None:
                part = replace(part, requests=requests)
            else:
                part = replace(part, calibration=tuple(r for r in requests if not r.is_new))
        return replace(seen, parts=(*seen.parts, part))

    def take(self, asks: tuple[Ask, ...]) -> None:
        """Take what is to be scored, fitted and described."""
        self._score = next((ask for ask in asks if isinstance(ask, ScoreTexts)), None)
        self._fit = next((ask for ask in asks if isinstance(ask, FitListeners)), None)
        self._describe = next((ask for ask in asks if isinstance(ask, DescribeChange)), None)
        if self._score is not None:
            self._wanted.set()
        else:
            self._wanted.clear()

    def enter(self) -> None:
        """Texts that are under way count in the next window, too."""

    def jobs(self) -> Mapping[str, Job]:
        """Score texts, fit listeners, describe the change."""
        return {"scores": self._run_scoring, "listeners": self._run_fitting, "description": self._run_describing}

    # --- golden texts ---

    async def _run_scoring(self) -> None:
        """Score what is missing whenever it is asked for.

        The window is judged at once when all of it is there.
        """
        while True:
            await self._wanted.wait()
            current = self._context.current()
            if current is not None and self._score is not None and self._score.measures_margin:
                await self._measure_margin(*current)
            left = self._unscored()
            if current is not None and self._scorer is not None and left and await self._scorer.score(*current, left):
                self._context.wake()
                self._wanted.clear()
            else:
                await asyncio.sleep(RETRY_S)

    async def _measure_margin(self, model: Model, rollout: Rollout) -> None:
        """Measure the old version against itself in INT8.

        It is measured before any text is compared: the margin must not follow from the outcome.
        """
        old = model.versions.get(rollout.from_version)
        if self._scorer is None or old is None or self._margin_closed:
            return
        late = f"no answer within {MEASURE_S:g} s"
        try:
            async with asyncio.timeout(MEASURE_S):
                texts = await self._scorer.score_in_int8(model, rollout, margins.TEXTS_MEASURED)
        except TimeoutError:
            self._pending.int8_baseline, self._margin_closed = late, True
            return
        if texts is None:
            return
        found = margins.measure(old.facts.task, texts)
        self._pending.int8_baseline, self._margin_closed = found, True
        if isinstance(found, Int8Baseline):
            self._context.emit(Int8BaselineMeasured(self._context.clock(), old.key, found))

    def _unscored(self) -> list[int]:
        scored = {text.index for text in self._texts}
        return sorted(self._score.indices - scored) if self._score is not None else []

    def _deliver(self, text: ScoredText) -> None:
        self._texts.append(text)

    # --- live requests ---

    async def _run_fitting(self) -> None:
        """Fit the listeners once enough was gathered.

        It runs in a thread: of a large reservoir it takes seconds.
        """
        while True:
            await asyncio.sleep(RETRY_S)
            asked = self._fit
            if asked is not None and self._pending.fit_result is None:
                self._pending.fit_result = FitResult(
                    await asyncio.to_thread(features.fit, asked.gathered, asked.network)
                )

    async def _run_describing(self) -> None:
        """Describe the live change again and again.

        It runs in a thread: it may take longer than the daemon's own should be held.
        """
        done = 0
        while True:
            await asyncio.sleep(DESCRIBE_S)
            asked = self._describe
            if asked is not None and description.is_due(asked.pair_count, len(asked.newest), done):
                done = asked.pair_count
                self._pending.described = await asyncio.to_thread(description.describe, asked.newest)

    def _requests(self, traces: TraceSource) -> tuple[TracedRequest, ...]:
        found = (trace for key in self._versions for trace in traces.traces(key))
        return tuple(_request(trace, self._context.new) for trace in sorted(found, key=lambda trace: trace.ended_s))

    def _lost(self, traces: TraceSource) -> bool:
        now = {key: traces.dropped_count(key) for key in self._dropped}
        before, self._dropped = self._dropped, now
        return now != before


def _request(trace: RequestTrace, new: VersionKey) -> TracedRequest:
    """Return a trace as the live test takes it.

    It is without a sequence where it is damaged or cut off, so that its partner goes too.
    """
    sequence = sequence_of(trace) if trace.sound and not trace.flags & INCOMPLETE else None
    if sequence is not None and sequence.is_empty:
        sequence = None
    return TracedRequest(trace.version == new, stratum_of(trace), sequence, trace.conversation)
