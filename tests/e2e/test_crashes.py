"""Crashes: the daemon, a worker, the store; clients do not notice, nothing is lost, nothing is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from echoplane.errors import EchoplaneError
from tests.e2e import e2e_system as e


def crash_at_fifty_percent(system: e.System, start_load: e.MakeLoad, away_s: float) -> None:
    """Kill the daemon at 50 % with clients connected, start it again later, and follow the rollout to its end."""
    system.load("m")
    load = start_load(system, "m", processes=4, rate=60.0)
    policy = e.fast_policy(stages_percent=(25, 50, 75, 100), stage_min_s=3.0)
    system.update("m", "v2", "better", policy)
    stage = 2
    e.wait_phase(system, "m", e.Phase.ROLLOUT_PHASE_OBSERVING, stage)
    engines = {process.pid for process in system.daemon.engines()}
    serving = {instance.pid for version in system.client.list_versions("m") for instance in version.instances}
    system.daemon.kill()
    e.pause(away_s)
    system.daemon.start()
    rollout = system.rollout("m")
    assert rollout.stage >= stage
    assert serving <= engines & {process.pid for process in system.daemon.engines()}
    e.eventually(lambda: system.rollout("m").outcome, 300.0, "the rollout's end")
    assert system.rollout("m").outcome == e.Outcome.ROLLOUT_OUTCOME_SUCCEEDED
    stages = [event.stage for event in system.rollout("m").history]
    assert set(stages) == set(range(5))
    assert stages == sorted(stages)
    e.pause(1.0)
    samples = load.samples()
    assert e.failures(samples) == []
    assert {sample.version for sample in samples} == {"v1", "v2"}


def test_daemon_killed_at_fifty_percent(own_system: e.MakeSystem, start_load: e.MakeLoad) -> None:
    """Clients see no error while it is away for 5 s; the same engines serve, the same stage goes on, the rollout ends."""
    crash_at_fifty_percent(own_system(), start_load, 5.0)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_daemon_away_for_a_minute(own_system: e.MakeSystem, start_load: e.MakeLoad) -> None:
    """The same with the daemon away for 60 s; clients need up to 150 s to come back."""
    crash_at_fifty_percent(own_system(), start_load, 60.0)


def test_daemon_killed_between_spawn_and_report(own_system: e.MakeSystem) -> None:
    """Killed while the engine starts: the next daemon finds it or starts another; one engine serves, none is left over."""
    system = own_system("--standby-workers", "0")
    system.client.load_model(system.load_request("m"))
    e.eventually(system.daemon.engines, 20.0, "an engine's process")
    system.daemon.kill()
    system.daemon.start()

    def ready() -> bool:
        versions = list(system.client.list_versions("m"))
        return bool(
            versions
            and versions[0].instances
            and versions[0].instances[0].address
            and versions[0].load_duration.ToMilliseconds()
        )

    e.eventually(ready, e.LOAD_S, "the version to be ready")
    version = next(iter(system.client.list_versions("m")))
    e.eventually(lambda: len(system.daemon.engines()) == 1, 15.0, "one engine and no other")
    assert [process.pid for process in system.daemon.engines()] == [version.instances[0].pid]


def test_stopped_in_the_middle_of_a_load(own_system: e.MakeSystem) -> None:
    """SIGTERM while a version loads: the operation is known to the next daemon and ends well."""
    system = own_system("--standby-workers", "0")
    operation = system.client.load_model(system.load_request("m"))
    assert system.daemon.stop() == 0
    system.daemon.start()
    assert system.finish(operation).name == operation.name


def test_a_worker_killed_under_traffic(own_system: e.MakeSystem, start_load: e.MakeLoad) -> None:
    """One of two replicas dies: it is seen, its endpoint goes, it is started again; a second look finds both ready.

    How soon it is seen (2 s at most) is the engine's own test; here a busy machine gets more.
    """
    system = own_system()
    system.load("m", replicas=2)
    load = start_load(system, "m", processes=2, rate=40.0)
    version = next(iter(system.client.list_versions("m")))
    killed_pid = version.instances[0].pid
    os.kill(killed_pid, signal.SIGKILL)

    def seen() -> bool:
        instances = next(iter(system.client.list_versions("m"))).instances
        return all(instance.pid != killed_pid for instance in instances)

    e.eventually(seen, 10.0, "the death to be seen")

    def both() -> bool:
        instances = next(iter(system.client.list_versions("m"))).instances
        return len({i.address for i in instances if i.address}) == 2

    e.eventually(both, e.LOAD_S, "both replicas")
    e.pause(1.0)
    failed = e.failures(load.samples())
    # What was in flight in the killed process has no other end; nothing fails once its endpoint has gone.
    assert len(failed) <= 40
    assert {sample.version for sample in failed} <= {""}


def test_a_port_in_use(system: e.System) -> None:
    """A second daemon on the same port says so and ends with 1; the first goes on."""
    command = [sys.executable, "-m", "echoplaned", "serve", "--listen", system.daemon.address]
    other = system.daemon.state_dir.parent / "other"
    ended = subprocess.run(
        [*command, "--state-dir", str(other)], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 1
    assert f"cannot listen on {system.daemon.address}" in ended.stderr
    assert system.client.get_status()


def test_a_state_directory_in_use(system: e.System) -> None:
    """A second daemon on the same state directory says whose it is and ends with 1."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "echoplaned", "serve", "--listen", f"127.0.0.1:{port}"]
    command += ["--state-dir", str(system.daemon.state_dir)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert str(system.daemon.process.pid if system.daemon.process else "") in ended.stderr


def test_delete_in_the_middle_of_a_rollout(system: e.System) -> None:
    """Without force it is refused; with it everything is drained and goes, and the update ends ABORTED."""
    system.load("gone")
    update = system.update("gone", "v2", "better")
    e.wait_phase(system, "gone", e.Phase.ROLLOUT_PHASE_OBSERVING)
    with pytest.raises(EchoplaneError) as refused:
        system.client.delete_model("gone")
    assert refused.value.reason == "ROLLOUT_ACTIVE"
    system.delete("gone")
    with pytest.raises(EchoplaneError) as ended:
        system.finish(update)
    assert ended.value.reason == "ROLLED_BACK"
    with pytest.raises(EchoplaneError) as missing:
        system.client.get_model("gone")
    assert missing.value.reason == "MODEL_NOT_FOUND"


def test_engines_of_a_stopped_daemon_can_be_ended(own_system: e.MakeSystem) -> None:
    """A stopped daemon leaves its engine serving; ``stop-engines`` ends it."""
    system = own_system("--standby-workers", "0")
    system.load("m")
    assert system.daemon.stop() == 0
    assert len(system.daemon.engines()) == 1
    command = [sys.executable, "-m", "echoplaned", "stop-engines", "--state-dir", str(system.daemon.state_dir)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    e.eventually(lambda: not system.daemon.engines(), 10.0, "no engine")
