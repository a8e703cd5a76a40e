"""The port ``Gates``: one task a rollout that reads counts, makes probes when they are asked for, and tells the loop its verdicts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from echoplaned.core.behaviour import Requantised
from echoplaned.core.effects import EvaluateGates
from echoplaned.core.events import GatesJudged, RequantisationMeasured
from echoplaned.core.ids import VersionKey
from echoplaned.core.state import GateVerdict, Model, Phase, Rollout, State, Verdict
from echoplaned.gates import evidence as evidences
from echoplaned.gates.deltas import ClientsReader, TotalsReader
from echoplaned.gates.echo.evidence import EchoEvidence
from echoplaned.gates.evidence import Observation, RolloutEvidence, Source, Window
from echoplaned.gates.hearing import Hearing
from echoplaned.gates.judge import judge
from echoplaned.gates.keeper import EchoKeeper
from echoplaned.gates.pairing import PAIRS_PER_S_IDLE, PAIRS_PER_S_LIVE, Pairer
from echoplaned.gates.probes import PairOutcome
from echoplaned.ports.emit import Clock, Emit
from echoplaned.ports.evidence import EvidenceStore
from echoplaned.ports.faults import ReportFault
from echoplaned.ports.probing import Prober
from echoplaned.ports.scoring import Scorer
from echoplaned.ports.traces import TraceSource
from echoplaned.ports.traffic import ClientSource, TrafficSource
from echoplaned.runtime.faults import contained

_log = structlog.get_logger(__name__)

LIVE_FOR_S = 5.0
"""After its last request a model counts as one with live traffic for so long."""

_JUDGED = frozenset({Phase.OBSERVING, Phase.SOAKING})
_WEIGHED = _JUDGED | {Phase.PREPARING, Phase.SHIFTING}
"""Phases in which a rollout's evidence is still of use."""


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """How rollouts are judged.

    ``interval_s``: time between two verdicts. ``classifying``: sources that tell callers' mistakes from server errors. ``routed``:
    sources that see exactly the traffic that the routes steer. ``probes_counted_by``: sources whose totals include our probes.
    """

    interval_s: float = 0.5
    classifying: frozenset[str] = frozenset({"WORKER"})
    routed: frozenset[str] = frozenset({"LRS"})
    probes_counted_by: frozenset[str] = frozenset({"WORKER"})


@dataclass(frozen=True, slots=True)
class BehaviourSources:
    """What tells of behaviour. ``scorer``: has golden texts scored; ``traces``: telemetry of live requests. None: there is none.

    ``kept``: where the evidence outlives the daemon; None: it does not.
    """

    scorer: Scorer | None = None
    traces: TraceSource | None = None
    kept: EvidenceStore | None = None


@dataclass(frozen=True, slots=True)
class Outside:
    """What judges use of the world.

    ``prober``: makes probes. ``sources``: running totals by name; ``LRS`` and ``WORKER`` are the names that ``RunnerOptions`` knows.
    ``emit``: takes ``GatesJudged``. ``clock``: seconds since the epoch. ``latest_state``: returns the newest state: who is READY, which
    weights are acknowledged, where the rollout is. ``clients``: running totals client by client; None: judge the sum alone. ``failed``:
    is told what a task raised.
    """

    prober: Prober
    sources: Mapping[str, TrafficSource]
    emit: Emit
    clock: Clock
    latest_state: Callable[[], State]
    failed: ReportFault
    options: RunnerOptions = RunnerOptions()
    clients: ClientSource | None = None
    behaviour: BehaviourSources = BehaviourSources()


class GateRunner:
    """Judges rollouts; implements ``ports.gates.Gates``. Use it from the loop's thread only.

    The evidence of a rollout lives here, in memory: over all its windows the error e-process is one. A daemon that starts again begins
    it anew (see ``error_eprocess``), but for that of behaviour, which is kept.
    """

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._judges: dict[str, _RolloutJudge] = {}

    def evaluate(self, effect: EvaluateGates, state: State) -> None:
        """Judge a window until another one is asked for; a rollout that is known keeps its evidence."""
        rollout = effect.rollout
        if rollout.model not in state.models:
            return
        known = self._judges.get(rollout.rollout_id)
        if known is None:
            known = _RolloutJudge(self._outside, rollout, on_end=self._ended)
            self._judges[rollout.rollout_id] = known
        known.enter(rollout)

    def forget(self, rollout: Rollout) -> None:
        """Stop judging. The evidence is kept as long as the rollout may be judged again."""
        known = self._judges.get(rollout.rollout_id)
        if known is None:
            return
        known.stop()
        if rollout.phase not in _WEIGHED:
            known.keeper.forget()
            del self._judges[rollout.rollout_id]

    async def aclose(self) -> None:
        """Stop judging everything; returns when no task is left."""
        judges, self._judges = tuple(self._judges.values()), {}
        for known in judges:
            known.stop()
        await asyncio.gather(*(known.ended() for known in judges))

    def _ended(self, rollout_id: str) -> None:
        self._judges.pop(rollout_id, None)


class _RolloutJudge:
    """One rollout's evidence and the tasks that work on it.

    One judges, one probes, one has golden texts scored, one fits listeners to live requests, one describes what they hear.
    """

    def __init__(self, outside: Outside, rollout: Rollout, on_end: Callable[[str], None]) -> None:
        self._outside = outside
        self._rollout = rollout
        self._on_end = on_end
        new, old = VersionKey(rollout.model, rollout.to_version), VersionKey(rollout.model, rollout.from_version)
        self._reader = TotalsReader(outside.sources, new, old, outside.options.probes_counted_by)
        self._clients = ClientsReader(outside.clients, new, old) if outside.clients is not None else None
        self._pairer = Pairer(outside.prober, self._reader, outside.clock, self._take_pair)
        self._hearing = Hearing(
            outside.behaviour.scorer, outside.behaviour.traces, self._reader, outside.clock, self._keep
        )
        self.keeper = EchoKeeper(outside.behaviour.kept, rollout.rollout_id)
        self._evidence: RolloutEvidence | None = None
        self._pairs: list[PairOutcome] = []
        self._probes_wanted = asyncio.Event()
        self._news = asyncio.Event()
        self._live_until_s = 0.0
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._stopped: list[asyncio.Task[None]] = []

    # --- what the runner asks ---

    def enter(self, rollout: Rollout) -> None:
        """Judge the rollout's present window from now on."""
        now_s = self._outside.clock()
        soaking = rollout.phase is Phase.SOAKING
        began_s = rollout.observe_since_s if rollout.observe_since_s is not None else now_s
        window = Window(rollout.policy, rollout.stage, rollout.window, began_s, soaking)
        self._rollout = rollout
        if self._evidence is not None and self._evidence.window == window and not self._tasks:
            # The same window again, after a task broke: what was gathered of it stays.
            self._start()
            return
        if self._evidence is None:
            model = self._outside.latest_state().models.get(rollout.model)
            subject = self._hearing.subject(model, rollout) if model is not None else None
            kept = self.keeper.restored(subject) if subject is not None else None
            self._evidence = evidences.begin(window, self._sources(), subject, kept)
        else:
            # What came in since the last reading belongs to the weights before.
            self._observe(now_s, weight=None)
            self._evidence = evidences.enter(self._evidence, window)
        self._pairs.clear()
        self._probes_wanted.clear()
        if now_s >= self._live_until_s:
            self._news.set()  # nobody calls: there is no interval's count to wait for
        if not self._tasks:
            self._start()

    def stop(self) -> None:
        """End all tasks; the evidence stays."""
        for task in self._tasks:
            task.cancel()
        self._stopped = [task for task in (*self._stopped, *self._tasks) if not task.done()]
        self._tasks = ()

    async def ended(self) -> None:
        """Wait until stopped tasks are gone."""
        await asyncio.gather(*self._stopped, return_exceptions=True)

    # --- the tasks ---

    def _start(self) -> None:
        name = f"gates {self._rollout.rollout_id}"
        jobs = {
            name: self._judge_on(),
            f"{name} probes": self._probe_on(),
            f"{name} scores": self._hearing.score_on(self._current, self._texts_missing, self._news),
            f"{name} listeners": self._hearing.fit_on(self._heard),
            f"{name} description": self._hearing.describe_on(self._heard),
        }
        self._tasks = tuple(asyncio.create_task(contained(job, self._broke), name=n) for n, job in jobs.items())

    def _broke(self, error: BaseException) -> None:
        """Tell the loop that a task broke: a judge that is gone must not look like one that has nothing to say.

        The loop holds the stage and asks again later. Where it does not ask, between two stages, judging goes on after an interval.
        """
        if asyncio.current_task() not in self._tasks:
            return
        self.stop()
        self._outside.failed(EvaluateGates(self._rollout).key, error)
        if self._rollout.phase not in _JUDGED or not self._is_asked_for():
            asyncio.get_running_loop().call_later(self._outside.options.interval_s, self._restart)

    def _is_asked_for(self) -> bool:
        """Whether the loop wants the window judged that was entered last."""
        current = self._current()
        return current is not None and EvaluateGates(current[1]).key == EvaluateGates(self._rollout).key

    def _restart(self) -> None:
        if not self._tasks and self._current() is not None:
            self._start()

    async def _judge_on(self) -> None:
        while True:
            await self._interval()
            if not await self._tick():
                self.stop()
                self._on_end(self._rollout.rollout_id)
                return

    async def _probe_on(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._probes_wanted.wait()
            began_s = loop.time()
            current = self._current()
            if current is not None:
                await self._pairer.pair(*current)
            live = self._outside.clock() < self._live_until_s
            pause_s = 1.0 / (PAIRS_PER_S_LIVE if live else PAIRS_PER_S_IDLE)
            await asyncio.sleep(max(0.0, began_s + pause_s - loop.time()))

    async def _interval(self) -> None:
        """Return at the end of an interval, or sooner when something came that may decide the window."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._outside.options.interval_s):
                await self._news.wait()
        self._news.clear()

    def _take_pair(self, pair: PairOutcome) -> None:
        self._pairs.append(pair)
        if self._evidence is None:
            return
        needed = self._evidence.window.policy.probe_count
        blames = pair.old_ok and not pair.new_ok
        if blames or self._evidence.pairs.row + len(self._pairs) == needed:
            self._news.set()

    # --- one interval ---

    async def _tick(self) -> bool:
        """Read, judge, keep and tell; False when the rollout is not to be judged any more."""
        current = self._current()
        if current is None or self._evidence is None:
            return False
        model, rollout = current
        now_s = self._outside.clock()
        evidence = self._observe(now_s, _acknowledged_weight(model, rollout))
        kept = await self.keeper.keep(evidence.echo)
        judgement = judge(evidence, now_s)
        same = (rollout.stage, rollout.window) == (evidence.window.stage, evidence.window.number)
        judged = rollout.phase in _JUDGED and same
        self._set_probing(judged and judgement.probes_wanted)
        self._hearing.want_scores(wanted=judged and judgement.scores_wanted)
        verdicts = judgement.verdicts
        if not (judged and kept):
            verdicts = tuple(verdict for verdict in verdicts if verdict.verdict is GateVerdict.FAIL)
        if not kept:
            # What rests on evidence that is not kept is not told. Going back for another reason needs no memory: a full disk must not
            # hold traffic at a version that fails.
            verdicts = tuple(verdict for verdict in verdicts if verdict.gate != "echo")
        if verdicts and (judged or rollout.phase is Phase.SHIFTING):
            self._emit(rollout, verdicts)
        return True

    def _observe(self, now_s: float, weight: float | None) -> RolloutEvidence:
        if self._evidence is None:
            raise RuntimeError("no window was entered")
        intervals = self._reader.read(now_s)
        if any(interval.seen for _, interval in intervals):
            self._live_until_s = now_s + LIVE_FOR_S
        pairs, self._pairs = tuple(self._pairs), []
        model = self._outside.latest_state().models.get(self._rollout.model)
        subscribers = model.progress.subscriber_count if model is not None else 0
        stale = len(model.progress.stale) if model is not None else 0
        clients = self._clients.read() if self._clients is not None else ()
        suspects = self._evidence.clients.suspects
        steered = self._clients.steered(suspects) if self._clients is not None else frozenset[str]()
        heard = self._hearing.read(self._evidence.echo, acknowledged=weight is not None)
        seen = Observation(now_s, intervals, weight, subscribers, stale, pairs, clients, steered, heard)
        self._evidence = evidences.observe(self._evidence, seen)
        return self._evidence

    def _current(self) -> tuple[Model, Rollout] | None:
        """Return the model and the rollout as they are now; None if it is over, or on its way back."""
        model = self._outside.latest_state().models.get(self._rollout.model)
        rollout = model.rollout if model is not None else None
        if model is None or rollout is None or rollout.rollout_id != self._rollout.rollout_id:
            return None
        return (model, rollout) if rollout.phase in _WEIGHED else None

    def _keep(self, version: VersionKey, measured: Requantised) -> None:
        self._outside.emit(RequantisationMeasured(self._outside.clock(), version, measured))

    def _heard(self) -> EchoEvidence | None:
        return self._evidence.echo if self._evidence is not None else None

    def _texts_missing(self) -> frozenset[int]:
        heard = self._heard()
        return heard.missing if heard is not None else frozenset()

    def _set_probing(self, wanted: bool) -> None:  # noqa: FBT001 - one caller each way, named by the method
        if wanted:
            self._probes_wanted.set()
        else:
            self._probes_wanted.clear()

    def _emit(self, rollout: Rollout, verdicts: tuple[Verdict, ...]) -> None:
        now_s = self._outside.clock()
        event = GatesJudged(now_s, rollout.model, rollout.rollout_id, rollout.stage, rollout.window, verdicts)
        self._outside.emit(event)

    def _sources(self) -> tuple[Source, ...]:
        options = self._outside.options
        return tuple(
            Source(name, name in options.classifying, name in options.routed, self._reader.has_spoken(name))
            for name in self._outside.sources
        )


def _acknowledged_weight(model: Model, rollout: Rollout) -> float | None:
    """Return the new version's share of the weights if every subscriber that is not stale has the newest routes."""
    routes, progress = model.routes, model.progress
    if routes is None or not progress.acknowledged or progress.epoch < routes.epoch:
        return None
    total = sum(cluster.weight_ppm for cluster in routes.clusters if cluster.routed)
    new = sum(c.weight_ppm for c in routes.clusters if c.routed and c.version == rollout.to_version)
    return new / total if total else None
