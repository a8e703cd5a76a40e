"""Measured memory beside what is reserved: the smaller counts, and what is nobody's of ours is foreign."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoplaned.core.commands import LoadVersion, Request
from echoplaned.core.devices import memory_alarms
from echoplaned.core.events import DeviceMemoryMeasured, InstancePlaced, PlacementDelayed
from echoplaned.core.fit import fit_error
from echoplaned.core.ids import InstanceKey
from echoplaned.core.memory import MeasuredMemory, MemoryHolder
from echoplaned.core.placement import on_one_device
from echoplaned.core.plan import DeviceFit
from echoplaned.core.queries import available_bytes, free_bytes
from echoplaned.core.state import State
from echoplaned.testing import builders
from echoplaned.testing.builders import GIB, MIB

KEY = InstanceKey.parse("m/v1#0")
TRAINER = MemoryHolder("trainer (pid 7)", 9 * GIB)


def holding(*measured: MeasuredMemory) -> State:
    """Return a state in which ``m/v1#0`` holds 128 MiB of 16 GiB, and devices were measured."""
    state = builders.run(builders.empty_state(), LoadVersion(Request(0.0, "o1"), builders.order()))
    placed = InstancePlaced(0.0, KEY, on_one_device("host", 128 * MIB), state.reservation_epoch)
    return builders.run(state, placed, DeviceMemoryMeasured(1.0, measured))


@pytest.mark.parametrize(
    ("free_mib", "own_mib", "left_mib"),
    [
        # All that was promised is taken: what is free is left.
        (4000, 128, 4000),
        # More than that is taken: it cannot be taken twice.
        (4000, 900, 4000),
        # The engine loads: what it has not taken yet is not left, though it is free.
        (4000, 28, 3900),
        # Nobody tells whose the bytes are: as much as was promised is in use, so it is ours.
        (4000, None, 4000),
        # Hardly anything is in use: it may all be ours, and the rest of the promise is not left.
        (16384 - 100, None, 16384 - 128),
        (50, 28, -50),
    ],
)
def test_what_is_left(free_mib: int, own_mib: int | None, left_mib: int) -> None:
    """Free as measured, less what was promised and is not taken yet."""
    own = None if own_mib is None else own_mib * MIB
    measured = MeasuredMemory("host", 16 * GIB, free_mib * MIB, own)
    assert measured.left_bytes(128 * MIB) == left_mib * MIB


def test_the_smaller_of_both_counts() -> None:
    """Others on the device take from what is available; as long as the reserve is enough for them they take nothing."""
    state = holding(MeasuredMemory("host", 16 * GIB, 15 * GIB, 128 * MIB))
    assert available_bytes(state, "host") == free_bytes(state, "host")
    state = holding(MeasuredMemory("host", 16 * GIB, 5 * GIB, 128 * MIB, (TRAINER,)))
    assert available_bytes(state, "host") == 5 * GIB < free_bytes(state, "host")
    assert available_bytes(replace(state, measured=()), "host") == free_bytes(state, "host")


def test_a_device_that_is_not_ours_is_not_kept() -> None:
    """A look may find more than the state has devices."""
    state = holding(MeasuredMemory("cuda:9", GIB, GIB), MeasuredMemory("host", 16 * GIB, GIB))
    assert [one.device_id for one in state.measured] == ["host"]


def test_a_broken_promise_is_an_alarm() -> None:
    """Others grew into what an instance may still take: the alarm says how much is missing, and who they are."""
    assert memory_alarms(holding(MeasuredMemory("host", 16 * GIB, 15 * GIB, MIB))) == ()
    (alarm,) = memory_alarms(holding(MeasuredMemory("host", 16 * GIB, 27 * MIB, 28 * MIB, (TRAINER,))))
    assert f"host: {73 * MIB} of the {128 * MIB} bytes" in alarm
    assert f"other processes hold {16 * GIB - 55 * MIB} bytes (the largest: trainer (pid 7) {9 * GIB})" in alarm


def test_without_reservations_nobody_is_promised_anything() -> None:
    """A full device on which nothing of ours lies is no alarm."""
    state = builders.run(builders.empty_state(), DeviceMemoryMeasured(0.0, (MeasuredMemory("host", 16 * GIB, 0, 0),)))
    assert memory_alarms(state) == ()


def test_a_refusal_names_the_others() -> None:
    """The error of a plan says per device what others hold where that is why it does not fit."""
    plan = replace(
        builders.plan(),
        fits=False,
        devices=(DeviceFit("cuda:0", 5, 10, 9 * GIB, (TRAINER,)), DeviceFit("cuda:1", 7, 10)),
    )
    text = str(fit_error(plan))
    assert f"cuda:0 has 5 of 10 bytes free, as other processes hold {9 * GIB} bytes (the largest: trainer" in text
    assert "cuda:1 has 7 of 10 bytes free;" not in text
    assert "cuda:1 has 7 of 10 bytes free)" in text


def test_a_wait_is_not_kept_in_the_store() -> None:
    """A daemon that starts again asks anew; the wait is observed."""
    state = builders.run(builders.empty_state(), LoadVersion(Request(0.0, "o1"), builders.order()))
    state = builders.run(state, PlacementDelayed(1.0, KEY, "not free yet", state.reservation_epoch))
    assert [one.reason for one in state.models["m"].waits] == ["not free yet"]
    again = builders.run(state, PlacementDelayed(2.0, KEY, "still not", state.reservation_epoch))
    assert (again.models["m"].waits[0].since_s, again.store_epoch) == (1.0, state.store_epoch)


@given(
    total=st.integers(0, 2**40),
    free=st.integers(0, 2**40),
    own=st.none() | st.integers(0, 2**40),
    reserved=st.integers(0, 2**40),
)
@settings(deadline=None)
def test_the_books_balance(total: int, free: int, own: int | None, reserved: int) -> None:
    """Free, own and foreign bytes never add up to more than the device where its own words agree; nothing is negative but what is left."""
    free = min(free, total)
    own = None if own is None else min(own, total - free)
    measured = MeasuredMemory("d", total, free, own)
    foreign, taken = measured.foreign_bytes(reserved), measured.taken_bytes(reserved)
    assert foreign >= 0
    assert free + taken + foreign == total
    assert measured.left_bytes(reserved) <= free
