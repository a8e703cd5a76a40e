"""The daemon's clock: set once by the wall, and what of the time a restart knows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from echoplaned.ports.moment import Moment
from echoplaned.runtime.clock import MIN_SHIFT_S, SteadyClock, boot_moments, read_offset, shift_between

HOUR_S = 3600.0
LAST = Moment(1000.0, "boot", 50.0)


@dataclass
class Machine:
    """A machine whose wall clock a test sets."""

    wall_s: float = 1_000_000.0
    monotonic_s: float = 7.0

    def on(self, seconds: float) -> None:
        """Let time go on."""
        self.wall_s += seconds
        self.monotonic_s += seconds


def test_nobody_sets_it_while_it_runs() -> None:
    """It begins with the wall's time; put forward or back, the wall changes nothing any more."""
    machine = Machine()
    clock = SteadyClock(lambda: machine.wall_s, lambda: machine.monotonic_s)
    assert clock() == 1_000_000.0
    for jump_s in (HOUR_S, -2 * HOUR_S, 0.5):
        before = clock()
        machine.wall_s += jump_s
        assert clock() == before
        machine.on(10.0)
        assert clock() == pytest.approx(before + 10.0)


@pytest.mark.parametrize(
    ("now", "shift_s"),
    [
        (Moment(1020.0, "boot", 70.0), 0.0),  # 20 s later by either clock
        (Moment(1020.0 + HOUR_S, "boot", 70.0), HOUR_S),
        (Moment(1020.0 - HOUR_S, "boot", 70.0), -HOUR_S),
        (Moment(1020.0 + MIN_SHIFT_S / 2, "boot", 70.0), 0.0),  # drift
        (Moment(1500.0, "boot", 70.0), 480.0),  # the machine slept: the clock before did not count that
        (Moment(9000.0, "other", 3.0), 8000.0),  # off for a time that nobody knows: none of it counts
        (Moment(500.0, "other", 3.0), -500.0),
        (Moment(1000.0, "boot", 20.0), 0.0),  # a container whose boot clock is behind: no time went by
    ],
)
def test_what_a_restart_knows(now: Moment, shift_s: float) -> None:
    """Within one boot elapsed time is the boot clock's; after another it is none; the rest is a clock that was set."""
    assert shift_between(LAST, now) == pytest.approx(shift_s)


def test_without_a_moment_nothing_is_known() -> None:
    """What an earlier release wrote has no moment: its times are taken as they are."""
    assert shift_between(None, LAST) == 0.0


def test_moments_are_the_machines_own() -> None:
    """The boot is named, and its clock goes on."""
    read = boot_moments(lambda: 5.0)
    first, second = read(), read()
    assert first.time_s == 5.0
    assert first.boot_id == second.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert first.boot_s <= second.boot_s <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_a_test_moves_the_wall_by_a_file(tmp_path: Path) -> None:
    """The number in it counts; without a file there is none."""
    (tmp_path / "offset").write_text("-3600\n")
    assert read_offset(tmp_path / "offset") == -HOUR_S
    assert read_offset(None) == 0.0
