"""The pool of workers that wait for a model, with real processes that need no torch."""

from __future__ import annotations

import asyncio
import itertools
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from echoplaned.engine_kinds.installed import find_missing
from echoplaned.engines import standby
from echoplaned.engines.inventory import scan
from echoplaned.engines.launcher import LaunchOptions
from echoplaned.engines.leader_process import LeaderProcess, NotReadyError
from echoplaned.engines.processes import WatchedProcess
from echoplaned.engines.standby import StandbyPool
from tests.engines.engine_bench import is_running, until


@dataclass
class Place:
    """A state directory, and what its workers do."""

    options: LaunchOptions

    def behave(self, behaviour: str, worker_id: str = "") -> None:
        """Say what workers do from now on, or what one does."""
        (self.options.state_dir / f"tiny{worker_id}").write_text(behaviour)

    def hide_python(self) -> None:
        """Take away the program that workers run in."""
        Path(self.options.python).rename(self.options.state_dir / "away")

    def show_python(self) -> None:
        """Put it back."""
        (self.options.state_dir / "away").rename(self.options.python)

    def pool(self, size: int) -> StandbyPool:
        """Return a pool of its workers."""
        numbers = itertools.count()
        return StandbyPool(self.options, size, lambda: f"w{next(numbers)}")

    def live(self) -> set[int]:
        """Return the processes of all its workers."""
        return {worker.pid for worker in scan(self.options.state_dir)}


@pytest.fixture
def place(state_dir: Path) -> Iterator[Place]:
    """A state directory whose workers are soon ready; none of them outlives the test."""
    python = state_dir / "python"
    words = shlex.join([sys.executable, str(Path(__file__).with_name("contract_1_worker.py"))])
    python.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    python.chmod(0o700)
    made = Place(LaunchOptions(state_dir, python=str(python)))
    made.behave("ready")
    yield made
    for pid in made.live():
        os.kill(pid, signal.SIGKILL)


async def test_a_pool_is_filled_and_hands_out_what_is_ready(place: Place) -> None:
    """It starts as many as it keeps; a taken one is nobody's any more, lives, and is replaced when asked."""
    pool = place.pool(2)
    assert (pool.ready_count, pool.worker_ids) == (0, frozenset())
    pool.refill()
    await until(lambda: pool.ready_count == 2, 30)
    taken = await pool.take("")
    assert taken.worker_id not in pool.worker_ids
    assert (len(pool.worker_ids), pool.ready_count) == (1, 1)
    pool.refill()
    assert len(pool.worker_ids) == 2
    await pool.close()
    assert place.live() == {taken.process.pid}
    taken.kill()
    await taken.process.wait()
    await taken.detach()


async def test_a_kind_that_is_not_installed_has_nobody_on_standby(place: Place) -> None:
    """What could not start is not started, and not tried again."""
    absent = find_missing(place.options.kind, lambda _module: False)
    pool = StandbyPool(replace(place.options, kind=absent), 2, lambda: "w0")
    pool.refill(urgent=True)
    assert (pool.ready_count, pool.worker_ids) == (0, frozenset())
    await pool.close()
    assert not place.live()


async def test_the_one_that_is_ready_goes_first(place: Place) -> None:
    """A worker that is still warming is not handed out before one that is warm."""
    place.behave("slow", "w0")
    pool = place.pool(1)
    pool.refill()
    adopted = LeaderProcess.launch("earlier", place.options, urgent=True)
    pool.adopt(adopted)
    await until(lambda: pool.ready_count == 1, 30)
    assert pool.worker_ids == {"w0", "earlier"}
    assert await pool.take("") is adopted
    assert pool.worker_ids == {"w0"}
    pool.adopt(adopted)
    assert await pool.shrink() == 1
    assert len(pool.worker_ids) == 1
    await pool.close()
    assert place.live() == set()


async def test_an_empty_pool_starts_one_and_waits_for_it(place: Place) -> None:
    """A pool of none makes each load wait for a worker of its own."""
    pool = place.pool(0)
    pool.refill()
    assert pool.worker_ids == frozenset()
    taken = await pool.take("")
    assert taken.listens
    assert pool.worker_ids == frozenset()
    taken.kill()
    await taken.process.wait()
    await taken.detach()
    await pool.close()


async def test_who_gives_up_waiting_leaves_no_process(place: Place) -> None:
    """A load that is cancelled while its worker warms takes that worker's process with it."""
    place.behave("slow")
    pool = place.pool(0)
    waiting = asyncio.create_task(pool.take(""))
    await until(place.live, 30)
    (pid,) = place.live()
    assert len(pool.worker_ids) == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: not is_running(pid))
    assert pool.worker_ids == frozenset()
    await pool.close()


async def test_one_that_says_it_cannot_is_final(place: Place) -> None:
    """What a worker reports as its failure would happen to the next one too; its process ends."""
    place.behave("failed")
    pool = place.pool(0)
    with pytest.raises(NotReadyError, match="no libraries") as caught:
        await pool.take("")
    assert caught.value.final
    await until(lambda: not place.live())
    await pool.close()


async def test_one_that_ends_at_once_is_said_with_its_last_line(place: Place) -> None:
    """The exit code and the last line of its output are in the error; another one may do better."""
    place.behave("exit")
    pool = place.pool(0)
    with pytest.raises(NotReadyError, match=r"exit code 3.*I cannot") as caught:
        await pool.take("")
    assert not caught.value.final
    await pool.close()


async def test_one_on_standby_that_dies_is_replaced_after_a_pause(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Death of a warm worker is seen, and another one is started, not at once but soon."""
    monkeypatch.setattr(standby, "_RETRY_FIRST_S", 0.2)
    pool = place.pool(1)
    pool.refill()
    await until(lambda: pool.ready_count == 1, 30)
    (first,) = pool.worker_ids
    (pid,) = place.live()
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not pool.worker_ids)
    pool.refill()
    assert pool.worker_ids == frozenset(), "not before the pause is over"
    await until(lambda: pool.ready_count == 1, 30)
    assert pool.worker_ids != {first}
    await pool.close()
    assert place.live() == set()


async def test_a_python_that_is_not_there_is_tried_again_later(place: Place) -> None:
    """A worker that cannot be started is an error for the load that waits, and the pool goes on when it can be."""
    place.hide_python()
    pool = place.pool(1)
    pool.refill()
    assert pool.worker_ids == frozenset()
    with pytest.raises(NotReadyError, match="could be started"):
        await pool.take("")
    place.show_python()
    taken = await pool.take("")
    taken.kill()
    await taken.process.wait()
    await taken.detach()
    await pool.close()


async def test_nothing_is_started_while_it_is_held(place: Place) -> None:
    """A measurement that a start would disturb holds the pool; letting go fills it; a closed pool starts none."""
    pool = place.pool(1)
    pool.hold(held=True)
    pool.refill()
    assert pool.worker_ids == frozenset()
    pool.hold(held=False)
    assert len(pool.worker_ids) == 1
    await pool.close()
    pool.refill()
    assert pool.worker_ids == frozenset()
    assert place.live() == set()


async def test_a_load_raises_one_that_is_being_born(place: Place) -> None:
    """Whoever may raise it does so again and again: it lowers its own priority when it gets there."""
    if os.geteuid() != 0:
        pytest.skip("only a privileged user may take niceness back")
    place.behave("slow")
    pool = place.pool(1)
    pool.refill()
    await until(place.live, 30)
    (pid,) = place.live()
    waiting = asyncio.create_task(pool.take(""))
    own = os.getpriority(os.PRIO_PROCESS, 0)
    for _ in range(2):
        os.setpriority(os.PRIO_PROCESS, pid, 19)
        await until(lambda: os.getpriority(os.PRIO_PROCESS, pid) == own)
    assert len(place.live()) == 1
    await given_up(waiting)
    await pool.close()


async def test_one_that_may_not_be_raised_gets_an_urgent_one_beside_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first that is ready is taken; the one that was overtaken goes on to standby, and nobody else is left."""
    place.behave("slow", "w0")
    pool = place.pool(1)
    pool.refill()
    await until(place.live, 30)
    forbid_raising(monkeypatch)
    taken = await pool.take("")
    assert taken.worker_id == "w1"
    assert pool.worker_ids == {"w0"}
    assert len(place.live()) == 2
    taken.kill()
    await taken.process.wait()
    await taken.detach()
    await pool.close()
    assert place.live() == set()


async def test_who_gives_up_waiting_for_two_leaves_neither(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load that is cancelled takes the urgent one with it, and the one that it waited for first."""
    place.behave("slow")
    pool = place.pool(1)
    pool.refill()
    await until(place.live, 30)
    forbid_raising(monkeypatch)
    waiting = asyncio.create_task(pool.take(""))
    await until(lambda: len(place.live()) == 2, 30)
    assert len(pool.worker_ids) == 2
    await given_up(waiting)
    assert pool.worker_ids == frozenset()
    await until(lambda: not place.live())
    await pool.close()


def forbid_raising(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer as the kernel does an unprivileged user whose process has made itself nice."""
    monkeypatch.setattr(WatchedProcess, "raise_priority", lambda _: False)


async def given_up(waiting: asyncio.Task[LeaderProcess]) -> None:
    """Cancel a load that waits, and wait for its end."""
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
