"""Implements the port ``Gates``: one evaluator for each rollout.

All evaluators use the same list of gates.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from echoplaned.core.effects import EvaluateGates
from echoplaned.core.state import State
from echoplaned.gates.evaluator import GateDependencies, GateList, RolloutEvaluator
from echoplaned.gates.persistence import EvidencePersistence

THREADS = 2
"""Threads in which evidence is computed and written, for all rollouts together."""


class GateRunner:
    """Judges rollouts; implements ``ports.gates.Gates``.

    Use it from the loop's thread only.

    The evidence of a rollout lives here, in memory: over all its windows the error e-process is one. A daemon that starts again begins
    it anew (see ``statistics.error_eprocess``), but for that of persistent gates, which is written.
    """

    def __init__(self, dependencies: GateDependencies, gates: GateList) -> None:
        self._dependencies = dependencies
        self._gates = gates
        self._evaluators: dict[str, RolloutEvaluator] = {}
        self._pool: ThreadPoolExecutor | None = None

    def evaluate(self, effect: EvaluateGates, state: State) -> None:
        """Judge a window until another one is asked for.

        A rollout that is known keeps its evidence.
        """
        rollout = effect.rollout
        model = state.models.get(rollout.model)
        if model is None:
            return
        known = self._evaluators.get(rollout.rollout_id)
        if known is None:
            subject = (model, rollout)
            known = RolloutEvaluator(self._dependencies, self._gates, self._threads(), subject, self._close)
            self._evaluators[rollout.rollout_id] = known
        known.enter(rollout)

    def end(self, rollout_id: str) -> None:
        """Stop judging a rollout that is over.

        What was written of it is removed, by an earlier daemon as well.
        """
        known = self._evaluators.get(rollout_id)
        if known is not None:
            known.stop()
            self._close(known)
        elif self._dependencies.store is not None:
            self._threads().submit(EvidencePersistence(self._dependencies.store, rollout_id).delete)

    @property
    def alarms(self) -> tuple[str, ...]:
        """What somebody should look at, in rollouts that are judged."""
        return tuple(known.alarm for known in self._evaluators.values() if known.alarm)

    async def aclose(self) -> None:
        """Stop judging everything; returns when no task and no thread is left."""
        evaluators, self._evaluators = tuple(self._evaluators.values()), {}
        for known in evaluators:
            known.stop()
        await asyncio.gather(*(known.wait_until_ended() for known in evaluators))
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown)

    def _close(self, known: RolloutEvaluator) -> None:
        """Forget a rollout that is over, and what was written of it."""
        self._evaluators.pop(known.rollout.rollout_id, None)
        self._threads().submit(known.persistence.delete)

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="gates")
        return self._pool
