"""Watching processes that are children, and such that are not."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from echoplaned.engines.processes import ExitInfo, NoSuchProcessError, WatchedProcess
from echoplaned.worker_contract.record import read_start_ticks
from tests.engines.engine_bench import is_running, until


def spawn(code: str) -> int:
    """Start Python in a session of its own."""
    return os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ, setsid=True)


@pytest.fixture
async def adopted(tmp_path: Path) -> AsyncIterator[int]:
    """A sleeping process whose parent has gone."""
    path = tmp_path / "pid"
    parent = spawn(
        "import os, sys, pathlib\n"
        f"pid = os.posix_spawn(sys.executable, [sys.executable, '-c', 'import time; time.sleep(60)'], os.environ, setsid=True)\n"
        f"pathlib.Path({str(path)!r}).write_text(str(pid))\n"
    )
    os.waitpid(parent, 0)  # noqa: ASYNC222 - a child that has ended
    pid = int(path.read_text())
    yield pid
    if is_running(pid):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("code", "info", "text"),
    [
        ("raise SystemExit(3)", ExitInfo(3), "exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", ExitInfo(-9), "killed by SIGKILL"),
    ],
)
async def test_the_end_of_a_child_is_seen_and_reaped(code: str, info: ExitInfo, text: str) -> None:
    """Exit code or signal come out, listeners are called once, and no zombie is left."""
    heard: list[ExitInfo] = []
    process = WatchedProcess(spawn(code))
    process.on_exit(heard.append)
    assert await process.wait() == info
    assert text in str(info)
    assert heard == [info]
    assert not process.alive
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)  # noqa: ASYNC222 - does not wait
    process.on_exit(heard.append)
    await until(lambda: len(heard) == 2)


async def test_the_group_goes_with_its_leader(tmp_path: Path) -> None:
    """A grandchild in the group does not outlive the process."""
    path = tmp_path / "pid"
    process = WatchedProcess(
        spawn(
            "import os, pathlib, time\n"
            "pid = os.fork()\n"
            f"pid and pathlib.Path({str(path)!r}).write_text(str(pid))\n"
            "time.sleep(60)\n"
        )
    )
    await until(lambda: path.exists() and path.read_text())
    grandchild = int(path.read_text())
    process.kill_group()
    assert await process.wait() == ExitInfo(-9)
    await until(lambda: not is_running(grandchild))


async def test_an_adopted_process_is_watched_too(adopted: int) -> None:
    """A process that is no child is known by its start time, and its end is seen."""
    start_ticks = read_start_ticks(adopted)
    assert start_ticks is not None
    with pytest.raises(NoSuchProcessError, match="another process"):
        WatchedProcess(adopted, start_ticks + 1)
    process = WatchedProcess(adopted, start_ticks)
    process.terminate()
    assert await process.wait() == ExitInfo(None)


async def test_a_process_that_has_gone_cannot_be_watched() -> None:
    """Its absence is an error that says so."""
    pid = spawn("pass")
    os.waitpid(pid, 0)  # noqa: ASYNC222 - a child that ends at once
    with pytest.raises(NoSuchProcessError, match="has gone"):
        WatchedProcess(pid)


async def test_a_forgotten_process_goes_on(adopted: int) -> None:
    """Letting go kills nothing."""
    with WatchedProcess(adopted, read_start_ticks(adopted)) as process:
        assert process.alive
    assert is_running(adopted)


async def test_what_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """SIGTERM asks, SIGKILL does not; every waiter is told the same, and signals after the end go to nobody."""
    path = tmp_path / "deaf"
    process = WatchedProcess(
        spawn(
            "import pathlib, signal, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            f"pathlib.Path({str(path)!r}).touch()\n"
            "time.sleep(60)\n"
        )
    )
    await until(path.exists)
    waiters = [asyncio.create_task(process.wait()) for _ in range(2)]
    process.terminate()
    done, _ = await asyncio.wait(waiters, timeout=0.3)
    assert not done
    assert process.alive
    process.kill_group()
    assert await asyncio.gather(*waiters) == [ExitInfo(-9), ExitInfo(-9)]
    process.terminate()
    process.kill_group()
    process.detach()


async def test_who_waits_may_be_cancelled() -> None:
    """A cancelled waiter takes neither the process nor the other waiters with it."""
    process = WatchedProcess(spawn("import time; time.sleep(60)"))
    waiter = asyncio.create_task(process.wait())
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert process.alive
    process.kill_group()
    assert await process.wait() == ExitInfo(-9)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may raise a priority")
async def test_priority_is_given_back(tmp_path: Path) -> None:
    """A worker that was started to disturb nobody gets normal priority when somebody waits for it."""
    path = tmp_path / "nice"
    process = WatchedProcess(
        spawn(f"import os, pathlib, time\nos.nice(7)\npathlib.Path({str(path)!r}).touch()\ntime.sleep(60)\n")
    )
    await until(path.exists)
    assert os.getpriority(os.PRIO_PROCESS, process.pid) >= 7
    process.raise_priority()
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == 0
    process.kill_group()
    await process.wait()
