"""What becomes of an instance whose job failed."""

from __future__ import annotations

from echoplaned.core.effects import EffectKey
from echoplaned.core.events import EngineGaveUp, Event
from echoplaned.core.failure import Reason
from echoplaned.engines.job_failures import JobFailures

START: EffectKey = ("start", "m/v1#0", 3)


def test_an_instance_whose_job_failed_gives_up() -> None:
    """It does not wait for ever, and the reason names the job and the error."""
    events: list[Event] = []
    JobFailures(events.append, lambda: 5.0)(START, RuntimeError("nobody foresaw this"))
    (event,) = events
    assert isinstance(event, EngineGaveUp)
    assert (event.now_s, str(event.instance), event.generation) == (5.0, "m/v1#0", 3)
    assert event.failure.reason is Reason.ENGINE_START_FAILED
    assert "start of m/v1#0 failed: RuntimeError('nobody foresaw this')" in event.failure.message
