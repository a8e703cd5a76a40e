"""A placement over several devices, and the ledger that sums it."""

from __future__ import annotations

import pytest

from echoplaned.core.commands import LoadVersion, Request
from echoplaned.core.events import InstancePlaced
from echoplaned.core.ids import InstanceKey
from echoplaned.core.placement import LOCAL_NODE, DeviceShare, Placement, on_one_device
from echoplaned.core.queries import find_instance, free_bytes, reserved_bytes
from echoplaned.core.state import InstanceState, State
from echoplaned.testing import builders

KEY = InstanceKey.parse("m/v1#0")
MIB = builders.MIB
ON_TWO = Placement(LOCAL_NODE, (DeviceShare("cuda:0", 300 * MIB), DeviceShare("cuda:1", 200 * MIB)))


def asked_for() -> State:
    """Return a state with two devices of 1,000 MiB, a tenth held back, and an instance that is to be placed."""
    devices = (builders.device("cuda:0", 1000 * MIB), builders.device("cuda:1", 1000 * MIB))
    load = LoadVersion(Request(0.0, "op1"), builders.order("m", "v1"))
    return builders.run(builders.empty_state(*devices), load)


def test_a_share_counts_on_its_own_device() -> None:
    """Each device's ledger holds its share and no more; what is elsewhere counts nothing."""
    state = asked_for()
    state = builders.run(state, InstancePlaced(0.0, KEY, ON_TWO, state.reservation_epoch))
    assert [reserved_bytes(state, name) for name in ("cuda:0", "cuda:1", "host")] == [300 * MIB, 200 * MIB, 0]
    assert [free_bytes(state, name) for name in ("cuda:0", "cuda:1")] == [600 * MIB, 700 * MIB]
    assert (ON_TWO.total_bytes, ON_TWO.bytes_on("cuda:2")) == (500 * MIB, 0)


def test_one_device_without_room_refuses_the_whole_placement() -> None:
    """A placement is taken whole or not at all, and asked for again."""
    state = asked_for()
    too_much = Placement(LOCAL_NODE, (DeviceShare("cuda:0", MIB), DeviceShare("cuda:1", 901 * MIB)))
    after = builders.run(state, InstancePlaced(0.0, KEY, too_much, state.reservation_epoch))
    found = find_instance(after, KEY)
    assert found is not None
    assert (found[2].state, found[2].placement) == (InstanceState.PENDING, None)
    assert after.reservation_epoch == state.reservation_epoch + 1


@pytest.mark.parametrize(
    ("shares", "why"),
    [
        ((), "at least one device"),
        ((DeviceShare("cuda:0", 1), DeviceShare("cuda:0", 1)), "cuda:0, cuda:0"),
        ((DeviceShare("cuda:0", -1),), "less than nothing"),
    ],
)
def test_a_placement_that_makes_no_sense_is_refused(shares: tuple[DeviceShare, ...], why: str) -> None:
    """The ledger never sees a device twice, or negative bytes."""
    with pytest.raises(ValueError, match=why):
        Placement(LOCAL_NODE, shares)


def test_one_device_is_the_plain_case() -> None:
    """The helper names the local node."""
    assert on_one_device("host", 5) == Placement("local", (DeviceShare("host", 5),))
