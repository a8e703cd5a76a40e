"""A store that cannot be written any more: callers are refused and nothing changes, but traffic still leaves a failing version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import psutil
import pytest

from echoplane.errors import RolledBackError
from tests.e2e import e2e_system as e

SHARE_LEFT_PPM = 1


@contextmanager
def full_disk(system: e.System) -> Iterator[None]:
    """Let every write of the daemon to a file fail, as on a full disk; its engines and its sockets are not touched."""
    assert system.daemon.process is not None
    process = psutil.Process(system.daemon.process.pid)
    soft, hard = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, (soft, hard))


def test_traffic_leaves_a_failing_version_though_nothing_can_be_written(
    own_system: e.MakeSystem, start_load: e.MakeLoad
) -> None:
    """STORE_UNAVAILABLE for callers, reads go on, the weight goes back at once; with room again the rollout ends and calls work."""
    system = own_system()
    system.load("m")
    load = start_load(system, "m", processes=2, rate=40.0, long_share=0.0)
    # Short texts alone fail nowhere, and the stage's shortest time keeps the rollout where it is until the long ones come.
    operation = system.update("m", "cut", "cut64", e.fast_policy(stages_percent=(50, 100), stage_min_s=60.0))
    e.wait_phase(system, "m", e.Phase.ROLLOUT_PHASE_OBSERVING, 1)
    with full_disk(system):
        before = system.listing()
        for attempt in (system.load_request("other"), system.load_request("m", "v3")):
            with e.refused("STORE_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE) as caught:
                system.client.load_model(attempt)
            assert caught.value.failure.retry_delay_s
        with e.refused("STORE_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE):
            system.client.pause_rollout(system.rollout("m").name, "to look at it")
        assert system.listing() == before
        assert not system.client.get_status().store_writable
        assert not system.rollout("m").paused
        load.start(1, 20.0, long_share=1.0)
        e.eventually(lambda: weight_of_new(system) <= SHARE_LEFT_PPM, 60.0, "the traffic to leave the failing version")
        e.pause(2.0)
        assert {sample.version for sample in load.samples()[-40:]} == {"v1"}
        assert all(sample.ok for sample in load.samples()[-40:])
    with pytest.raises(RolledBackError):
        system.finish(operation)
    assert system.rollout("m").outcome == e.Outcome.ROLLOUT_OUTCOME_ROLLED_BACK
    assert system.client.get_status().store_writable
    failed = e.failures(load.samples())
    assert failed, "the long texts failed on the version that cannot take them"
    assert {sample.version for sample in failed} == {"cut"}
    system.load("other")


def weight_of_new(system: e.System) -> int:
    """Return the new version's weight as the daemon publishes it, in millionths."""
    weights = {weight.version.rpartition("/")[2]: weight.weight_ppm for weight in system.client.get_model("m").traffic}
    return weights.get("cut", 0)
