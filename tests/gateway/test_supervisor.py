"""The real Envoy under its supervisor: it outlives whoever started it, is adopted, comes back, and is replaced without a lost request."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from echoplaned.gateway.launching import LaunchError
from echoplaned.gateway.options import access_log, admin_socket, application_log, control_socket
from echoplaned.gateway.records import read_live
from echoplaned.gateway.stopping import stop_gateway
from echoplaned.gateway.supervisor import GatewaySupervisor
from echoplaned.ports.gateway import GatewayState
from tests.gateway.gateway_stage import CHAT, GatewayStage, gateway_stage

pytestmark = pytest.mark.system


@contextlib.asynccontextmanager
async def calling(stage: GatewayStage) -> AsyncIterator[Counter[object]]:
    """Call without a pause on connections of their own meanwhile; count statuses, and what failed otherwise."""
    seen: Counter[object] = Counter()
    stop = False

    async def run() -> None:
        while not stop:
            try:
                seen[(await stage.chat()).status] += 1
            except OSError as error:
                seen[type(error).__name__] += 1

    tasks = [asyncio.create_task(run()) for _ in range(3)]
    try:
        yield seen
    finally:
        stop = True
        await asyncio.gather(*tasks)


async def gone(pid: int) -> None:
    """Wait until a process has gone."""
    async with asyncio.timeout(60.0):
        while psutil.pid_exists(pid):
            await asyncio.sleep(0.1)


async def test_it_is_nobodys_child_and_private() -> None:
    """Its parent is not the daemon, it has a session of its own, and its sockets and records are for this user alone."""
    async with gateway_stage() as stage:
        process = psutil.Process(stage.supervisor.status.pid)
        assert os.getpid() not in {each.pid for each in process.parents()} or process.ppid() != os.getpid()
        assert os.getsid(process.pid) == process.pid
        (record,) = read_live(stage.options.state_dir)
        for path in (admin_socket(stage.options.state_dir, record.generation), control_socket(stage.options.state_dir)):
            assert path.is_socket()
        assert admin_socket(stage.options.state_dir, record.generation).stat().st_mode & 0o777 == 0o600
        assert stage.options.folder.stat().st_mode & 0o777 == 0o700
        assert not [name for name in process.environ() if name.startswith("ECHOPLANE")]


async def test_a_killed_one_comes_back() -> None:
    """After kill -9 the next answer comes within seconds, from a new process, and the failure is told."""
    async with gateway_stage() as stage:
        first = stage.supervisor.status.pid
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(30.0):
            while True:
                with contextlib.suppress(OSError):
                    if (await stage.chat()).status == 200:
                        break
                await asyncio.sleep(0.05)
        await stage.serving()
        status = stage.supervisor.status
        assert status.pid not in {0, first}
        assert status.restarts == 1
        assert "ended" in status.last_failure
        assert not status.alarm


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_killed_one_comes_back_while_its_predecessor_drains(restarted: bool) -> None:
    """One that was replaced still ends a stream when its successor is killed: it is not taken for the one that serves."""
    async with gateway_stage() as stage:
        first = stage.supervisor.status.pid
        streaming = asyncio.create_task(stage.ask("POST", CHAT, {"model": "m", "stream": True}))
        while stage.engines[0].calls == 0:
            await asyncio.sleep(0.02)
        await stage.leave()
        stage.supervise(max_connections=500, drain_s=60.0)
        async with asyncio.timeout(60.0):
            while (
                stage.supervisor.status.pid in {0, first} or stage.supervisor.status.state is not GatewayState.SERVING
            ):
                await asyncio.sleep(0.1)
        second = stage.supervisor.status.pid
        if restarted:
            await stage.leave()
        os.kill(second, signal.SIGKILL)
        await gone(second)
        if restarted:
            stage.supervise()
        async with asyncio.timeout(30.0):
            while not await answered(stage):
                await asyncio.sleep(0.05)
        assert psutil.pid_exists(first)
        for _ in range(2):
            stage.engines[0].gate.release()
        assert (await streaming).body.count(b"data: ") == 3
        await stage.serving()
        assert stage.supervisor.status.pid not in {0, first, second}


async def answered(stage: GatewayStage) -> bool:
    """Whether the gateway answers."""
    with contextlib.suppress(OSError):
        return (await stage.chat()).status == 200
    return False


async def test_it_is_adopted_and_ends_when_told() -> None:
    """A supervisor that goes leaves it serving; the next one takes the same process; stop_gateway ends it and leaves nothing behind."""
    async with gateway_stage() as stage:
        pid = stage.supervisor.status.pid
        await stage.leave()
        assert stage.supervisor.status.state is GatewayState.STOPPED
        assert (await stage.chat()).status == 200
        stage.supervise()
        await stage.serving()
        assert stage.supervisor.status.pid == pid
        await stage.leave()
        assert await stop_gateway(stage.options.state_dir) == 1
        await gone(pid)
        assert read_live(stage.options.state_dir) == []
        assert f"envoy_shared_memory_{stage.options.base_id * 10}" not in os.listdir("/dev/shm")  # noqa: PTH208 - names are all that is wanted


async def test_a_hot_restart_loses_nothing() -> None:
    """New settings at the next start replace the process under load: no request fails, and a stream that began before ends well."""
    async with gateway_stage() as stage:
        first = stage.supervisor.status.pid
        streaming = asyncio.create_task(stage.ask("POST", CHAT, {"model": "m", "stream": True}))
        while stage.engines[0].calls == 0:
            await asyncio.sleep(0.02)
        await stage.leave()
        async with calling(stage) as seen:
            stage.supervise(max_connections=500)
            async with asyncio.timeout(60.0):
                while stage.supervisor.status.pid in {0, first}:
                    await asyncio.sleep(0.1)
            await asyncio.sleep(1.0)
            for _ in range(2):
                stage.engines[0].gate.release()
            answer = await streaming
        assert seen.keys() == {200}, seen
        assert answer.status == 200
        assert answer.body.count(b"data: ") == 3
        newest = read_live(stage.options.state_dir)[0]
        assert (newest.pid, newest.epoch) == (stage.supervisor.status.pid, 1)
        await gone(first)
        # After a crash it begins at epoch 0 again.
        os.kill(newest.pid, signal.SIGKILL)
        async with asyncio.timeout(30.0):
            while stage.supervisor.status.pid in {0, newest.pid}:
                await asyncio.sleep(0.05)
        await stage.serving()
        assert read_live(stage.options.state_dir)[0].epoch == 0


async def test_another_version_is_made_before_the_old_one_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two Envoys cannot share memory, both listen until the old one has drained, and one is left."""
    async with gateway_stage() as stage:
        first = stage.supervisor.status.pid
        monkeypatch.setattr("echoplaned.gateway.supervisor.read_hot_restart_version", lambda _binary: "other")
        await stage.supervisor.upgrade()
        assert stage.supervisor.status.pid != first
        assert {each.epoch for each in read_live(stage.options.state_dir)} == {0}
        assert (await stage.chat()).status == 200
        await gone(first)
        assert (await stage.chat()).status == 200


async def test_full_logs_are_put_aside() -> None:
    """Envoy goes on in new files after the old ones were renamed."""
    async with gateway_stage() as stage:
        await stage.leave()
        stage.supervise(max_log_bytes=1)
        stage.supervisor._logs_looked_s -= 60.0
        await stage.serving()
        for path in (access_log(stage.options.state_dir), application_log(stage.options.state_dir)):
            async with asyncio.timeout(20.0):
                while not path.with_name(f"{path.name}.1").exists():
                    stage.supervisor._logs_looked_s -= 60.0
                    assert (await stage.chat()).status == 200
                    await asyncio.sleep(0.2)
        async with asyncio.timeout(20.0):
            while not access_log(stage.options.state_dir).exists():
                await asyncio.sleep(0.1)


async def test_a_log_that_cannot_be_put_aside_ends_nothing() -> None:
    """Where its place is taken Envoy writes on, and is watched as before."""
    async with gateway_stage() as stage:
        await stage.leave()
        log = access_log(stage.options.state_dir)
        taken = log.with_name(f"{log.name}.1")
        taken.mkdir()
        stage.supervise(max_log_bytes=1)
        await stage.serving()
        pid = stage.supervisor.status.pid
        for _ in range(3):
            stage.supervisor._logs_looked_s -= 60.0
            assert (await stage.chat()).status == 200
            await asyncio.sleep(1.2)
        status = stage.supervisor.status
        assert (status.state, status.pid, status.restarts) == (GatewayState.SERVING, pid, 0)
        taken.rmdir()
        async with asyncio.timeout(20.0):
            while not taken.exists():
                stage.supervisor._logs_looked_s -= 60.0
                await asyncio.sleep(0.2)


async def test_what_does_not_start_is_told(tmp_path: Path) -> None:
    """A binary that ends at once is tried again with pauses, and what it said is the alarm."""
    async with gateway_stage() as stage:
        await stage.leave()
        await stop_gateway(stage.options.state_dir)
        broken = tmp_path / "envoy"
        broken.write_text('#!/bin/sh\n[ "$1" = --hot-restart-version ] && exit 0\necho "bad flags" >&2\nexit 1\n')
        broken.chmod(0o700)
        stage.supervise(binary=broken)
        async with asyncio.timeout(30.0):
            while stage.supervisor.status.restarts < 2:
                await asyncio.sleep(0.05)
        assert "bad flags" in stage.supervisor.status.last_failure
        assert stage.options.listening in stage.supervisor.status.alarm


async def test_connections_are_bounded() -> None:
    """What is above the bound gets no answer; the others do."""
    async with gateway_stage() as stage:
        await stage.leave()
        await stop_gateway(stage.options.state_dir)
        stage.supervise(max_connections=3)
        await stage.serving()
        host, _, port = stage.options.listening.rpartition(":")
        with contextlib.ExitStack() as held:
            for _ in range(6):
                held.enter_context(contextlib.closing(socket.create_connection((host, int(port)))))
            # Each of Envoy's threads accepts those of its own queue: on a busy machine the chat's may come before the others'.
            async with asyncio.timeout(20.0):
                with contextlib.suppress(OSError):
                    while True:
                        await stage.chat()
                        await asyncio.sleep(0.1)
            with pytest.raises(OSError, match=r".*"):
                await stage.chat()
        async with asyncio.timeout(20.0):
            while True:
                with contextlib.suppress(OSError):
                    if (await stage.chat()).status == 200:
                        break
                await asyncio.sleep(0.1)


async def test_nothing_is_replaced_that_does_not_run() -> None:
    """An upgrade without an Envoy does nothing."""
    async with gateway_stage() as stage:
        idle = GatewaySupervisor(stage.options, asyncio.get_running_loop().time)
        with contextlib.suppress(LaunchError):
            await idle.upgrade()
        assert len(read_live(stage.options.state_dir)) == 1
