"""An upgrade of the daemon in the middle of a rollout: its engines and its clients belong to the release before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from echoplane import Client
from echoplaned.testing.daemon import DaemonProcess
from tests.e2e import e2e_system as e
from tests.e2e.e2e_release import Release, take_release

EARLIER = "f78e306"
"""The last commit whose state directories and workers must go on under the code of today."""

STAGE = 4
"""50 % in the policy of these tests."""


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The release before, ready to run."""
    made = take_release(EARLIER, tmp_path_factory.mktemp("release"))
    assert made.file_of("echoplaned").is_relative_to(made.tree)
    assert made.file_of("echoplane").is_relative_to(made.tree)
    return made


@pytest.fixture
def earlier(release: Release, tmp_path: Path, made: e.Checkpoints) -> Iterator[e.System]:
    """A running daemon of the release before."""
    with ExitStack() as stack:
        daemon = DaemonProcess(tmp_path / "state", (made.root,), wrapper=release.wrapper)
        stack.callback(daemon.clean)
        daemon.start()
        yield e.System(daemon, stack.enter_context(Client(daemon.address, e.ONCE)), made)


def serving_pids(system: e.System) -> set[int]:
    """Return the processes of all instances."""
    return {instance.pid for version in system.client.list_versions("m") for instance in version.instances}


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_rollout_goes_on_under_the_next_release(
    release: Release, earlier: e.System, start_load: e.MakeLoad, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped at 50 % and started with today's code: the same workers serve, the rollout ends well, no request fails."""
    system = earlier
    system.load("m")
    load = start_load(system, "m", processes=4, rate=60.0)
    system.update("m", "v2", "better", e.fast_policy(stage_min_s=3.0))
    e.wait_phase(system, "m", e.Phase.ROLLOUT_PHASE_OBSERVING, STAGE)
    before = serving_pids(system)
    assert len(before) == 2
    for pid in before:
        assert str(release.tree) in psutil.Process(pid).environ()["PYTHONPATH"]
    assert system.daemon.stop() == 0
    system.daemon.wrapper = ()
    away_s = system.daemon.start()
    assert system.rollout("m").stage >= STAGE
    assert serving_pids(system) == before
    e.eventually(lambda: system.rollout("m").outcome, 300.0, "the rollout's end")
    rollout = system.rollout("m")
    assert rollout.outcome == e.Outcome.ROLLOUT_OUTCOME_SUCCEEDED, rollout.outcome_reason
    stages = [event.stage for event in rollout.history]
    assert (set(stages), stages) == (set(range(8)), sorted(stages))
    e.pause(1.0)
    samples = load.samples()
    assert e.failures(samples) == []
    assert {sample.version for sample in samples} == {"v1", "v2"}
    e.eventually(lambda: len(serving_pids(system)) == 1, 60.0, "the old version's worker to end")
    assert serving_pids(system) < before
    load.stop()
    system.delete("m")
    e.eventually(lambda: not before & {one.pid for one in system.daemon.engines()}, 60.0, "both workers to end")
    with capsys.disabled():
        print(f"\n{len(samples)} requests over an upgrade from {EARLIER} at 50 %, away {away_s:.1f} s: 0 failed")  # noqa: T201
