"""Makes paired probes: which engines, which prompt, how fast."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from echoplaned.core.ids import VersionKey
from echoplaned.core.state import Instance, InstanceState, Model, Rollout, Version
from echoplaned.gates.deltas import TotalsReader
from echoplaned.gates.probes import PairOutcome
from echoplaned.runtime.ports import Clock, ProbeOutcome, Prober

PAIRS_PER_S_IDLE = 10.0
PAIRS_PER_S_LIVE = 5.0
"""Pairs a second without and beside live requests; a pair is one probe on each version, so at most two run at once."""

PROBE_TIMEOUT_S = 10.0


def ready_instances(model: Model, version_id: str) -> tuple[Version | None, tuple[Instance, ...]]:
    """Return a version and its engines that can be probed."""
    version = model.versions.get(version_id)
    if version is None:
        return None, ()
    ready = tuple(i for i in version.instances if i.state is InstanceState.READY and i.address)
    return version, ready


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
        """Make one pair and deliver it; False if either version has no engine that is ready."""
        new, new_ready = ready_instances(model, rollout.to_version)
        old, old_ready = ready_instances(model, rollout.from_version)
        if new is None or old is None or not new_ready or not old_ready:
            return False
        index = self._index
        self._index += 1
        first, second = await asyncio.gather(
            self._probe(new, new_ready[index % len(new_ready)], index),
            self._probe(old, old_ready[index % len(old_ready)], index),
        )
        detail = first.detail or second.detail
        self._deliver(PairOutcome(first.ok, second.ok, detail, first.duration_s, second.duration_s))
        return True

    async def _probe(self, version: Version, instance: Instance, index: int) -> ProbeOutcome:
        key: VersionKey = version.key
        self._reader.probe_sent(key, self._clock())
        asked: Awaitable[ProbeOutcome] = self._prober.probe_once(key, version.facts, instance.address, index)
        try:
            outcome = await asyncio.wait_for(asked, PROBE_TIMEOUT_S)
        except TimeoutError:
            outcome = ProbeOutcome(ok=False, detail=f"no answer within {PROBE_TIMEOUT_S:g} s")
        if not outcome.ok:
            self._reader.probe_failed(key)
        return outcome
