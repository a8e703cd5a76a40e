"""What a rollout's judge hears of behaviour: golden texts scored by both versions, and what live requests said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from echoplaned.core.behaviour import Requantised
from echoplaned.core.facts import Task
from echoplaned.core.ids import VersionKey
from echoplaned.core.state import Model, Rollout
from echoplaned.gates.deltas import TotalsReader
from echoplaned.gates.echo import description, features, margins
from echoplaned.gates.echo.description import Described
from echoplaned.gates.echo.evidence import EchoEvidence, EchoSeen, EchoSubject, Fitted
from echoplaned.gates.echo.features import Network
from echoplaned.gates.echo.matching import Request
from echoplaned.gates.echo.scored import ScoredText
from echoplaned.gates.echo.sequences import sequence_of, stratum_of
from echoplaned.gates.scoring import GoldenScorer
from echoplaned.ports.emit import Clock
from echoplaned.ports.scoring import Scorer
from echoplaned.ports.traces import INCOMPLETE, RequestTrace, TraceSource

RETRY_S = 0.5
"""Pause before texts are tried again while a version has no engine that is ready."""

DESCRIBE_S = 1.0
"""Pause between two looks at whether there are enough new pairs to describe."""

MEASURE_S = 20.0
"""The old version is measured against itself in INT8 for at most so long; then the default margin holds for the rollout."""

Keep = Callable[[VersionKey, Requantised], None]
"""Keep what was measured of a version, for later rollouts."""


class Hearing:
    """Gathers scores and traces for one rollout between two readings.

    Args:
        scorer: has texts scored; None: behaviour is not judged by golden texts.
        traces: telemetry; None: it is not judged by live requests.
        reader: is told of each score, so that it is not taken for traffic.
        clock: seconds since the epoch.
        keep: takes what was measured of the old version.
    """

    def __init__(
        self, scorer: Scorer | None, traces: TraceSource | None, reader: TotalsReader, clock: Clock, keep: Keep
    ) -> None:
        self._scorer = GoldenScorer(scorer, reader, clock, self._take) if scorer is not None else None
        self._traces = traces
        self._texts: list[ScoredText] = []
        self._wanted = asyncio.Event()
        self._versions: tuple[VersionKey, VersionKey] | None = None
        self._dropped: dict[VersionKey, int] = {}
        self._described: tuple[Described, ...] = ()
        self._keep = keep
        self._margin_open = False
        self._requantised: Requantised | str | None = None
        self._fitted: Fitted | None = None

    def subject(self, model: Model, rollout: Rollout) -> EchoSubject | None:
        """Return whose behaviour is to be judged; None where the policy, or the lack of any source, says nobody's."""
        policy = rollout.policy.echo
        new, old = model.versions.get(rollout.to_version), model.versions.get(rollout.from_version)
        if not policy.enabled or new is None or old is None or (self._scorer is None and self._traces is None):
            return None
        self._versions = (new.key, old.key)
        if self._traces is not None:
            self._dropped = {key: self._traces.dropped_count(key) for key in self._versions}
        why_not = ""
        if self._scorer is None:
            why_not = "nothing scores golden texts"
        elif new.facts.task is not old.facts.task:
            why_not = f"the versions serve different tasks ({old.facts.task.value}, {new.facts.task.value})"
        count = 0 if self._scorer is None or why_not else self._scorer.text_count
        task = new.facts.task if not why_not else Task.GENERATION
        known = old.requantised
        self._margin_open = count > 0 and known is None and margins.is_open(policy, task)
        confidence = rollout.policy.confidence
        network = Network.of(old.plan.reservoir)
        return EchoSubject(policy, rollout.behaviour_change, task, confidence, count, why_not, known, network=network)

    def want_scores(self, *, wanted: bool) -> None:
        """Say whether texts are to be scored."""
        if wanted:
            self._wanted.set()
        else:
            self._wanted.clear()

    async def score_on(
        self,
        current: Callable[[], tuple[Model, Rollout] | None],
        missing: Callable[[], frozenset[int]],
        news: asyncio.Event,
    ) -> None:
        """Score what is missing whenever it is wanted; ``news`` is set when all of it is there."""
        while True:
            await self._wanted.wait()
            found = current()
            if found is not None and self._margin_open:
                await self._measure(*found)
            there = {text.index for text in self._texts}
            left = sorted(missing() - there)
            if found is not None and self._scorer is not None and left and await self._scorer.score(*found, left):
                news.set()
                self._wanted.clear()
            else:
                await asyncio.sleep(RETRY_S)

    async def _measure(self, model: Model, rollout: Rollout) -> None:
        """Measure the old version against itself in INT8, before any text is compared: the margin must not follow from the outcome."""
        old = model.versions.get(rollout.from_version)
        if self._scorer is None or old is None:
            return
        late = f"no answer within {MEASURE_S:g} s"
        try:
            async with asyncio.timeout(MEASURE_S):
                texts = await self._scorer.score_in_int8(model, rollout, margins.TEXTS_MEASURED)
        except TimeoutError:
            self._requantised, self._margin_open = late, False
            return
        if texts is None:
            return
        self._requantised, self._margin_open = margins.measured(old.facts.task, texts), False
        if isinstance(self._requantised, Requantised):
            self._keep(old.key, self._requantised)

    async def fit_on(self, heard: Callable[[], EchoEvidence | None]) -> None:
        """Fit the listeners once enough was gathered, in a thread: of a large reservoir it takes seconds."""
        while True:
            await asyncio.sleep(RETRY_S)
            evidence = heard()
            gathered = evidence.live.to_fit if evidence is not None else ()
            if evidence is not None and gathered and self._fitted is None:
                self._fitted = Fitted(await asyncio.to_thread(features.fit, gathered, evidence.subject.network))

    async def describe_on(self, heard: Callable[[], EchoEvidence | None]) -> None:
        """Describe the live change again and again, in a thread: it may take longer than the daemon's own thread should be held."""
        done = 0
        while True:
            await asyncio.sleep(DESCRIBE_S)
            evidence = heard()
            newest = evidence.live.newest if evidence is not None else ()
            if evidence is not None and description.is_due(evidence.live.pairs, len(newest), done):
                done = evidence.live.pairs
                self._described = await asyncio.to_thread(description.describe, newest)

    def read(self, evidence: EchoEvidence | None, *, acknowledged: bool) -> EchoSeen:
        """Return what came since the last reading.

        Live requests count only under weights that everybody has. Before that, those of the old version calibrate what listens.
        """
        if evidence is None or self._versions is None:
            return EchoSeen()
        texts, self._texts = tuple(self._texts), []
        described, self._described = self._described, ()
        margin, self._requantised = self._requantised, None
        fitted, self._fitted = self._fitted, None
        if self._traces is None:
            return EchoSeen(texts, requantised=margin)
        requests = tuple(
            _request(trace, self._versions[0])
            for trace in sorted(
                (t for key in self._versions for t in self._traces.traces(key) if not t.probe), key=lambda t: t.ended_s
            )
        )
        lost = self._lost(self._traces)
        seen = EchoSeen(texts, lost=lost, described=described, requantised=margin, fitted=fitted)
        if acknowledged:
            return replace(seen, requests=requests)
        return replace(seen, calibration=tuple(r for r in requests if not r.is_new))

    def _lost(self, traces: TraceSource) -> bool:
        now = {key: traces.dropped_count(key) for key in self._dropped}
        before, self._dropped = self._dropped, now
        return now != before

    def _take(self, text: ScoredText) -> None:
        self._texts.append(text)


def _request(trace: RequestTrace, new: VersionKey) -> Request:
    """Return a trace as the live test takes it; without a sequence where it is damaged or cut off, so that its partner goes too."""
    sequence = sequence_of(trace) if trace.sound and not trace.flags & INCOMPLETE else None
    if sequence is not None and sequence.is_empty:
        sequence = None
    return Request(trace.version == new, stratum_of(trace), sequence, trace.conversation)
