"""The engines of a rollout's two versions that can be asked.

It also says how long an answer is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from echoplaned.core.endpoints import oip_target
from echoplaned.core.rollout_state import Rollout
from echoplaned.core.state import Instance, InstanceState, Model, Version
from echoplaned.ports.probing import ProbeOutcome
from echoplaned.ports.scoring import ScoreOutcome

OutcomeT = TypeVar("OutcomeT", ProbeOutcome, ScoreOutcome)


@dataclass(frozen=True, slots=True)
class ReadyVersion:
    """A version with at least one engine that can be asked.

    Attributes:
        version: the version.
        instances: its instances that are READY and have an address; at least one.
    """

    version: Version
    instances: tuple[Instance, ...]

    def address(self, index: int) -> str:
        """Return where question ``index`` goes: the engines take turns."""
        return oip_target(self.instances[index % len(self.instances)].endpoints)


def ready_pair(model: Model, rollout: Rollout) -> tuple[ReadyVersion, ReadyVersion] | None:
    """Return the new and the old version; None if either has no engine that is ready."""
    new, old = _ready(model, rollout.to_version), _ready(model, rollout.from_version)
    return None if new is None or old is None else (new, old)


def addresses_of(model: Model, version_id: str) -> tuple[str, ...]:
    """Return where the engines of a version that are ready can be called."""
    found = _ready(model, version_id)
    return () if found is None else tuple(oip_target(instance.endpoints) for instance in found.instances)


def _ready(model: Model, version_id: str) -> ReadyVersion | None:
    version = model.versions.get(version_id)
    if version is None:
        return None
    ready = tuple(i for i in version.instances if i.state is InstanceState.READY and oip_target(i.endpoints))
    return ReadyVersion(version, ready) if ready else None


async def answer_within(timeout_s: float, asked: Awaitable[OutcomeT], late: OutcomeT) -> OutcomeT:
    """Return the outcome, or ``late`` where none comes in time."""
    try:
        return await asyncio.wait_for(asked, timeout_s)
    except TimeoutError:
        return late
