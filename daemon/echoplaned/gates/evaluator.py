"""The evaluator of one rollout: its evidence, and its tasks.

The tasks gather the evidence, weigh it and report verdicts.

What is read from the world is read on the event loop; what it means is computed in a thread, in the order in which it was read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from echoplaned.core.effects import EvaluateGates
from echoplaned.core.events import GatesJudged
from echoplaned.core.names import model_name
from echoplaned.core.rollout_state import GateVerdict, Phase, Rollout, Verdict
from echoplaned.core.state import Model, State
from echoplaned.gates import evaluation
from echoplaned.gates.collector import Collector, RolloutContext
from echoplaned.gates.counting import CountsCollector
from echoplaned.gates.evaluation import GateResults, RolloutEvidence
from echoplaned.gates.gate import Gate, Observation, Start
from echoplaned.gates.persistence import EvidencePersistence, persistent_gates
from echoplaned.gates.window import Window
from echoplaned.ports.emit import Clock, Emit
from echoplaned.ports.evidence import EvidenceStore
from echoplaned.ports.faults import ReportFault
from echoplaned.runtime.faults import run_contained

JUDGED = frozenset({Phase.OBSERVING, Phase.SOAKING})
WEIGHED = JUDGED | {Phase.PREPARING, Phase.SHIFTING}
"""Phases in which a rollout's evidence is still of use."""

Step = Start | Window | Observation
"""What moves the evidence on."""


WorkT = TypeVar("WorkT")
ResultT = TypeVar("ResultT")


class GateList(Protocol):
    """The gates that judge, and what gathers their evidence."""

    @property
    def gates(self) -> tuple[Gate[Any], ...]:
        """The gates, in the order in which they judge."""
        ...

    def open(self, context: RolloutContext) -> tuple[CountsCollector, tuple[Collector, ...]]:
        """Return the collectors of a rollout.

        The first counts its requests, the others gather the rest of its evidence.
        """
        ...


@dataclass(frozen=True, slots=True)
class GateDependencies:
    """What judging uses of the daemon.

    Attributes:
        emit: takes ``GatesJudged`` and ``Int8BaselineMeasured``.
        clock: seconds since the epoch.
        latest_state: returns the newest state: who is READY, which weights are acknowledged, where the rollout is.
        failed: told of an exception that no task expected, with the key of the effect that it was to fulfil; the loop holds the stage,
            and asks again.
        store: where evidence outlives the daemon; None: it does not.
        interval_s: time between two verdicts, in seconds.
    """

    emit: Emit
    clock: Clock
    latest_state: Callable[[], State]
    failed: ReportFault
    store: EvidenceStore | None = None
    interval_s: float = 0.5


class RolloutEvaluator:
    """Judges one rollout until it is over.

    Use it from the loop's thread only.

    Args:
        dependencies: what it uses of the daemon.
        gates: who judges.
        pool: where evidence is computed and written.
        subject: the model and the rollout as they are now.
        on_end: told when the rollout is not to be judged any more.
    """

    def __init__(
        self,
        dependencies: GateDependencies,
        gates: GateList,
        pool: Executor,
        subject: tuple[Model, Rollout],
        on_end: Callable[[RolloutEvaluator], None],
    ) -> None:
        model, self.rollout = subject
        self.persistence = EvidencePersistence(dependencies.store, self.rollout.rollout_id)
        self._dependencies = dependencies
        self._gates = gates.gates
        self._pool = pool
        self._on_end = on_end
        self._news = asyncio.Event()
        context = RolloutContext(
            model, self.rollout, self._current, dependencies.clock, dependencies.emit, self._news.set
        )
        self._context = context
        self._counts, others = gates.open(context)
        # Counts come last, so that no other collector has them pass through its hands.
        self._collectors: tuple[Collector, ...] = (*others, self._counts)
        self._entered: tuple[int, int] | None = None
        self._evidence: RolloutEvidence | None = None
        self._steps: deque[Step] = deque()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._stopped: list[asyncio.Task[None]] = []
        self._retry: asyncio.TimerHandle | None = None

    # --- what the runner asks ---

    @property
    def alarm(self) -> str:
        """What somebody should look at; empty: nothing."""
        left_out = self._counts.left_out
        return (
            f"{model_name(self.rollout.model)}: load reports are left out of its rollout: {left_out}"
            if left_out
            else ""
        )

    def enter(self, rollout: Rollout) -> None:
        """Judge the rollout's present window from now on.

        One that is judged already is gone on with.
        """
        self.rollout = rollout
        if self._entered != (rollout.stage, rollout.evidence_window):
            self._enter(rollout)
        if not self._tasks:
            self._start()

    def stop(self) -> None:
        """End all tasks; the evidence stays."""
        if self._retry is not None:
            self._retry.cancel()
        for task in self._tasks:
            task.cancel()
        self._stopped = [task for task in (*self._stopped, *self._tasks) if not task.done()]
        self._tasks = ()

    async def wait_until_ended(self) -> None:
        """Wait until stopped tasks are gone."""
        await asyncio.gather(*self._stopped, return_exceptions=True)

    def _enter(self, rollout: Rollout) -> None:
        now_s = self._dependencies.clock()
        began_s = rollout.observe_since_s if rollout.observe_since_s is not None else now_s
        soaking = rollout.phase is Phase.SOAKING
        window = Window(rollout.policy, rollout.stage, rollout.evidence_window, began_s, soaking)
        if self._entered is None:
            self._steps.append(Start(window, self._counts.sources(), self._context.model, rollout))
        else:
            # What came in since the last reading belongs to the weights before.
            self._steps.append(self._read(now_s, weight=None))
            self._steps.append(window)
        self._entered = (rollout.stage, rollout.evidence_window)
        for collector in self._collectors:
            collector.enter()
        if not self._counts.is_live:
            self._news.set()  # nobody calls: there is no interval's count to wait for

    # --- the tasks ---

    def _start(self) -> None:
        name = f"gates {self.rollout.rollout_id}"
        jobs = [(f"{name} {job}", run) for each in self._collectors for job, run in each.jobs().items()]
        self._tasks = tuple(
            asyncio.create_task(run_contained(run, self._broke), name=job) for job, run in ((name, self._run), *jobs)
        )

    def _broke(self, error: BaseException) -> None:
        """Report that a task ended with an exception.

        A judge that is gone must not look like one that has nothing to say.

        The loop holds the stage and asks again later. Where it does not ask, between two stages, judging goes on after an interval.
        """
        if asyncio.current_task() not in self._tasks:
            return
        self.stop()
        self._dependencies.failed(EvaluateGates(self.rollout).key, error)
        current = self._current()
        if current is None or current[1].phase not in JUDGED:
            self._retry = asyncio.get_running_loop().call_later(self._dependencies.interval_s, self._restart)

    def _restart(self) -> None:
        if not self._tasks and self._current() is not None:
            self._start()

    async def _run(self) -> None:
        while True:
            await self._interval()
            if not await self._tick():
                self.stop()
                self._on_end(self)
                return

    async def _interval(self) -> None:
        """Wait until an interval is over, or until there is news.

        News is something that may decide the window.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._dependencies.interval_s):
                await self._news.wait()
        self._news.clear()

    # --- one interval ---

    async def _tick(self) -> bool:
        """Read, weigh, save and report.

        Returns False when the rollout is not to be judged any more.
        """
        current = self._current()
        if current is None:
            return False
        now_s = self._dependencies.clock()
        self._steps.append(self._read(now_s, _acknowledged_weight(*current)))
        evidence, weighed = await self._weigh(now_s)
        if not self._steps:  # else another window was entered meanwhile, and this is what the last one asked for
            is_judged = self._is_judged(evidence)
            for collector in self._collectors:
                collector.take(tuple(ask for ask in weighed.asks if is_judged or not ask.decides))
        is_saved = self.persistence.is_saved(evidence) or await self._in_thread(self.persistence.save, evidence)
        self._report(evidence, weighed, is_saved=is_saved)
        return True

    async def _weigh(self, now_s: float) -> tuple[RolloutEvidence, GateResults]:
        """Add in a thread what was read, in its order, and weigh it."""
        steps = tuple(self._steps)
        self._steps.clear()
        try:
            evidence, weighed = await self._in_thread(partial(self._advance, now_s=now_s), steps)
        except BaseException as error:
            # Evidence that was not replaced goes on from where it was. A cancelled task is begun again and misses nothing; what a
            # gate broke on is left out, as it would break on it for ever.
            again = (step for step in reversed(steps) if isinstance(error, asyncio.CancelledError) or _is_kept(step))
            self._steps.extendleft(again)
            raise
        self._evidence = evidence
        return evidence, weighed

    def _advance(self, steps: tuple[Step, ...], *, now_s: float) -> tuple[RolloutEvidence, GateResults]:
        """Runs in a thread: changes nothing here."""
        evidence = self._evidence
        for step in steps:
            match step:
                case Start():
                    evidence = self.persistence.restore(evaluation.begin(self._gates, step))
                case Window() if evidence is not None:
                    evidence = evaluation.enter(evidence, step)
                case Observation() if evidence is not None:
                    evidence = evaluation.observe(evidence, step)
        if evidence is None:
            raise RuntimeError("no window was entered")
        return evidence, evaluation.weigh(evidence, now_s)

    def _read(self, now_s: float, weight: float | None) -> Observation:
        model = self._dependencies.latest_state().models.get(self.rollout.model)
        subscribers = model.progress.subscriber_count if model is not None else 0
        stale = model.progress.stale_count if model is not None else 0
        seen = Observation(now_s, weight=weight, subscribers=subscribers, stale_subscribers=stale)
        for collector in self._collectors:
            seen = collector.add_to(seen)
        return seen

    def _report(self, evidence: RolloutEvidence, weighed: GateResults, *, is_saved: bool) -> None:
        current = self._current()
        if current is None:
            return
        rollout, is_judged = current[1], self._is_judged(evidence)
        verdicts = weighed.verdicts
        if not (is_judged and is_saved):
            verdicts = tuple(verdict for verdict in verdicts if verdict.verdict is GateVerdict.FAIL)
        if not is_saved:
            # What rests on evidence that is not written is not reported. Going back for another reason needs no memory: a full disk
            # must not hold traffic at a version that fails.
            unsaved = persistent_gates(evidence)
            verdicts = tuple(verdict for verdict in verdicts if verdict.gate not in unsaved)
        if verdicts and (is_judged or rollout.phase is Phase.SHIFTING):
            self._emit(rollout, verdicts)

    async def _in_thread(self, work: Callable[[WorkT], ResultT], given: WorkT) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, given)

    def _is_judged(self, evidence: RolloutEvidence) -> bool:
        """Whether the evidence's window is the one to be judged now.

        It is the rollout's present one, and that is one to be judged.
        """
        current = self._current()
        if current is None:
            return False
        rollout, window = current[1], evidence.window
        return rollout.phase in JUDGED and (rollout.stage, rollout.evidence_window) == (window.stage, window.number)

    def _current(self) -> tuple[Model, Rollout] | None:
        """Return the model and the rollout as they are now.

        None if the rollout is over, or on its way back.
        """
        model = self._dependencies.latest_state().models.get(self.rollout.model)
        rollout = model.rollout if model is not None else None
        if model is None or rollout is None or rollout.rollout_id != self.rollout.rollout_id:
            return None
        return (model, rollout) if rollout.phase in WEIGHED else None

    def _emit(self, rollout: Rollout, verdicts: tuple[Verdict, ...]) -> None:
        now_s = self._dependencies.clock()
        event = GatesJudged(now_s, rollout.model, rollout.rollout_id, rollout.stage, rollout.evidence_window, verdicts)
        self._dependencies.emit(event)


def _is_kept(step: Step) -> bool:
    """Whether a step that a gate broke on is tried again.

    A window has to be entered, an observation may be left out.
    """
    return not isinstance(step, Observation)


def _acknowledged_weight(model: Model, rollout: Rollout) -> float | None:
    """Return the new version's acknowledged share of the weights.

    None unless every subscriber that is not stale has the newest routes.
    """
    routes, progress = model.routes, model.progress
    if routes is None or not progress.acknowledged or progress.epoch < routes.epoch:
        return None
    total = sum(cluster.weight_ppm for cluster in routes.clusters if cluster.routed)
    new = sum(c.weight_ppm for c in routes.clusters if c.routed and c.version == rollout.to_version)
    return new / total if total else None
