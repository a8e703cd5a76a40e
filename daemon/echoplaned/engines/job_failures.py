"""What becomes of an instance whose job raised what nobody foresaw: it gives up, rather than wait for ever."""

from __future__ import annotations

import structlog

from echoplaned.core.effects import EffectKey
from echoplaned.core.events import EngineGaveUp
from echoplaned.core.failure import Failure, Reason
from echoplaned.core.ids import InstanceKey
from echoplaned.ports.emit import Clock, Emit

log = structlog.get_logger(__name__)


class JobFailures:
    """Takes failed jobs: logged once each, then the instance gives up; one that is being stopped raises its alarm.

    Args:
        emit: takes events.
        clock: seconds since the epoch.
    """

    def __init__(self, emit: Emit, clock: Clock) -> None:
        self._emit = emit
        self._clock = clock

    def __call__(self, key: EffectKey, error: BaseException) -> None:
        """Take what a job raised."""
        kind, instance, generation = key
        log.error("job.failed", kind=kind, instance=instance, generation=generation, exc_info=error)
        failure = Failure(Reason.ENGINE_START_FAILED, f"the daemon's own {kind} of {instance} failed: {error!r}")
        self._emit(EngineGaveUp(self._clock(), InstanceKey.parse(str(instance)), int(generation), failure))
