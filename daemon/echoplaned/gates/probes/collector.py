"""Makes the paired probes that gates ask for.

It decides which engines, which prompt, and how fast.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from echoplaned.core.ids import VersionKey
from echoplaned.core.rollout_state import Rollout
from echoplaned.core.state import Model
from echoplaned.gates.collector import Job, RolloutContext
from echoplaned.gates.counting import CountsCollector, TotalsReader
from echoplaned.gates.gate import Ask, MakePairs, Observation
from echoplaned.gates.ready import ReadyVersion, addresses_of, answer_within, ready_pair
from echoplaned.gates.statistics.pairs import PairOutcome
from echoplaned.ports.emit import Clock
from echoplaned.ports.probing import ProbeOutcome, Prober, Reaches

PAIRS_PER_S_IDLE = 10.0
PAIRS_PER_S_LIVE = 5.0
"""Pairs a second without and beside live requests; a pair is one probe on each version, so at most two run at once."""

PROBE_TIMEOUT_S = 10.0

REACH_EVERY_S = 0.5
"""How often engines are connected to while clients report errors that no worker counted."""


class Pairer:
    """Sends the same prompt to both versions at once.

    Args:
        prober: makes one probe.
        reader: is told of each probe, so that it is not taken for traffic.
        clock: seconds since the epoch.
        deliver: takes each pair's outcome.
    """

    def __init__(
        self, prober: Prober, reader: TotalsReader, clock: Clock, deliver: Callable[[PairOutcome], None]
    ) -> None:
        self._prober = prober
        self._reader = reader
        self._clock = clock
        self._deliver = deliver
        self._index = 0

    async def pair(self, model: Model, rollout: Rollout) -> bool:
        """Make one pair and deliver it.

        Returns False if either version has no engine that is ready. A pair that finds a full queue is not delivered.
        """
        pair = ready_pair(model, rollout)
        if pair is None:
            return False
        index = self._index
        self._index += 1
        first, second = await asyncio.gather(*(self._probe(ready, index) for ready in pair))
        if first.overloaded or second.overloaded:
            return True  # a full queue says nothing of the version
        detail = first.detail or second.detail
        self._deliver(PairOutcome(first.ok, second.ok, detail, first.duration_s, second.duration_s))
        return True

    async def _probe(self, ready: ReadyVersion, index: int) -> ProbeOutcome:
        key: VersionKey = ready.version.key
        self._reader.probe_sent(key, self._clock())
        asked = self._prober.probe_once(key, ready.version.facts, ready.address(index), index)
        late = ProbeOutcome(ok=False, detail=f"no answer within {PROBE_TIMEOUT_S:g} s")
        outcome = await answer_within(PROBE_TIMEOUT_S, asked, late)
        if outcome.overloaded:
            self._reader.probe_refused(key)
        elif not outcome.ok:
            self._reader.probe_failed(key)
        return outcome


class ProbeCollector:
    """Makes pairs of probes for as long as they are asked for.

    Their outcomes are handed out with each reading.
    """

    def __init__(
        self, prober: Prober, counts: CountsCollector, context: RolloutContext, reaches: Reaches | None = None
    ) -> None:
        self._reaches = reaches
        self._pairer = Pairer(prober, counts.reader, context.clock, self._deliver)
        self._counts = counts
        self._context = context
        self._pairs: list[PairOutcome] = []
        self._asked: MakePairs | None = None
        self._wanted = asyncio.Event()
        # Pairs that were handed out after the ask's own count of them was taken.
        self._handed_out = 0

    def add_to(self, seen: Observation) -> Observation:
        """Add the pairs since the last reading."""
        pairs, self._pairs = tuple(self._pairs), []
        self._handed_out += len(pairs)
        return replace(seen, pairs=pairs)

    def take(self, asks: tuple[Ask, ...]) -> None:
        """Begin or stop making pairs."""
        self._asked = next((ask for ask in asks if isinstance(ask, MakePairs)), None)
        self._handed_out = 0
        if self._asked is None:
            self._wanted.clear()
            return
        self._wanted.set()
        if self._pairs and self._completes():
            self._context.wake()

    def enter(self) -> None:
        """Begin a window: its pairs are made anew, where they are asked for."""
        self._pairs.clear()
        self._handed_out = 0
        self._asked = None
        self._wanted.clear()

    def jobs(self) -> Mapping[str, Job]:
        """Make pairs, and connect to engines that clients say they cannot reach."""
        if self._reaches is None:
            return {"probes": self._run}
        return {"probes": self._run, "reach": partial(self._reach, self._reaches)}

    async def _reach(self, reaches: Reaches) -> None:
        while True:
            await asyncio.sleep(REACH_EVERY_S)
            current = self._context.current()
            if current is None:
                continue
            for version in self._counts.versions_to_reach():
                for address in addresses_of(current[0], version.version):
                    if not await reaches(address):
                        self._counts.probe_unreached(version)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wanted.wait()
            began_s = loop.time()
            current = self._context.current()
            if current is not None:
                await self._pairer.pair(*current)
            pause_s = 1.0 / (PAIRS_PER_S_LIVE if self._counts.is_live else PAIRS_PER_S_IDLE)
            await asyncio.sleep(max(0.0, began_s + pause_s - loop.time()))

    def _deliver(self, pair: PairOutcome) -> None:
        if self._counts.is_overloaded and not (pair.new_ok and pair.old_ok):
            return  # it may have waited too long in a queue
        self._pairs.append(pair)
        is_blame = pair.old_ok and not pair.new_ok
        if is_blame or self._completes():
            self._context.wake()

    def _completes(self) -> bool:
        """Whether the pairs that are there may be the last ones that the window needs."""
        asked = self._asked
        if asked is None or asked.row >= asked.needed:
            return False
        return asked.row + self._handed_out + len(self._pairs) >= asked.needed
