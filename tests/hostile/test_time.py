"""A wall clock that jumps by an hour: no decision changes. A setting moves what the daemon reads, never the machine's clock."""

from __future__ import annotations

from pathlib import Path

from tests.e2e import e2e_system as e

HOUR_S = 3600


def test_a_wall_clock_that_jumps_decides_nothing(
    own_system: e.MakeSystem, start_load: e.MakeLoad, tmp_path: Path
) -> None:
    """An hour forward, two back, and two forward again over a crash: the rollout ends well, its stages long before their time."""
    wall = tmp_path / "offset"
    wall.write_text("0")
    system = own_system("--test-wall-offset-file", str(wall))
    system.load("m")
    load = start_load(system, "m", processes=2, rate=60.0)
    policy = e.fast_policy(stages_percent=(25, 50, 100), stage_min_s=3.0, revert_timeout_s=60.0)
    system.update("m", "v2", "better", policy)
    e.wait_phase(system, "m", e.Phase.ROLLOUT_PHASE_OBSERVING, 1)
    wall.write_text(str(HOUR_S))
    e.wait_phase(system, "m", e.Phase.ROLLOUT_PHASE_OBSERVING, 2)
    wall.write_text(str(-HOUR_S))
    e.pause(1.0)
    system.daemon.kill()
    system.daemon.start()
    assert system.rollout("m").stage >= 2
    wall.write_text(str(HOUR_S))
    e.pause(1.0)
    system.daemon.kill()
    system.daemon.start()
    e.eventually(lambda: system.rollout("m").outcome, 180.0, "the rollout's end")
    rollout = system.rollout("m")
    assert rollout.outcome == e.Outcome.ROLLOUT_OUTCOME_SUCCEEDED, rollout.outcome_reason
    stages = [event.stage for event in rollout.history]
    assert (set(stages), stages) == (set(range(4)), sorted(stages))
    assert not any("EXPIRED" in event.text for event in rollout.history)
    assert e.failures(load.samples()) == []
