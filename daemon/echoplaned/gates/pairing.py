"""Makes paired probes: which engines, which prompt, how fast."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from echoplaned.core.endpoints import oip_target
from echoplaned.core.ids import VersionKey
from echoplaned.core.state import Instance, InstanceState, Model, Rollout, Version
from echoplaned.gates.deltas import TotalsReader
from echoplaned.gates.probes import PairOutcome
from echoplaned.ports.emit import Clock
from echoplaned.ports.probing import ProbeOutcome, Prober
from echoplaned.ports.scoring import ScoreOutcome

PAIRS_PER_S_IDLE = 10.0
PAIRS_PER_S_LIVE = 5.0
"""Pairs a second without and beside live requests; a pair is one probe on each version, so at most two run at once."""

PROBE_TIMEOUT_S = 10.0


OutcomeT = TypeVar("OutcomeT", ProbeOutcome, ScoreOutcome)


@dataclass(frozen=True, slots=True)
class Ready:
    """A version and its engines that can be asked; at least one."""

    version: Version
    instances: tuple[Instance, ...]

    def address(self, index: int) -> str:
        """Return where question ``index`` goes: the engines take turns."""
        return oip_target(self.instances[index % len(self.instances)].endpoints)


def ready_pair(model: Model, rollout: Rollout) -> tuple[Ready, Ready] | None:
    """Return the new and the old version; None if either has no engine that is ready."""
    new, old = _ready(model, rollout.to_version), _ready(model, rollout.from_version)
    return None if new is None or old is None else (new, old)


def _ready(model: Model, version_id: str) -> Ready | None:
    version = model.versions.get(version_id)
    if version is None:
        return None
    ready = tuple(i for i in version.instances if i.state is InstanceState.READY and oip_target(i.endpoints))
    return Ready(version, ready) if ready else None


async def answer_within(timeout_s: float, asked: Awaitable[OutcomeT], late: OutcomeT) -> OutcomeT:
    """Return the outcome, or ``late`` where none comes in time."""
    try:
        return await asyncio.wait_for(asked, timeout_s)
    except TimeoutError:
        return late


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
        pair = ready_pair(model, rollout)
        if pair is None:
            return False
        index = self._index
        self._index += 1
        first, second = await asyncio.gather(*(self._probe(ready, index) for ready in pair))
        detail = first.detail or second.detail
        self._deliver(PairOutcome(first.ok, second.ok, detail, first.duration_s, second.duration_s))
        return True

    async def _probe(self, ready: Ready, index: int) -> ProbeOutcome:
        key: VersionKey = ready.version.key
        self._reader.probe_sent(key, self._clock())
        asked = self._prober.probe_once(key, ready.version.facts, ready.address(index), index)
        late = ProbeOutcome(ok=False, detail=f"no answer within {PROBE_TIMEOUT_S:g} s")
        outcome = await answer_within(PROBE_TIMEOUT_S, asked, late)
        if not outcome.ok:
            self._reader.probe_failed(key)
        return outcome
