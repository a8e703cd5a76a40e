"""Devices that are not here."""

from __future__ import annotations

import pytest

from echoplaned.core.errors import FieldInvalidError
from echoplaned.planning import CARDS, devices_of

GIB = 1024**3


def test_a_card_and_a_size() -> None:
    """A known card has what NVML gives of it, a size what it says; both come as often as the count says, once without one."""
    cards = devices_of("h100-80g:8")
    assert [device.device_id for device in cards] == [f"cuda:{at}" for at in range(8)]
    assert {device.capacity_bytes for device in cards} == {81_559 * 1024**2}
    assert cards[0].name == "NVIDIA H100 80GB HBM3"
    (one,) = devices_of("80GiB")
    assert (one.capacity_bytes, one.reserve_bytes, one.kind) == (80 * GIB, 8 * GIB, "cuda")
    assert devices_of("80GB:2")[1].capacity_bytes == 80_000_000_000
    assert devices_of("L40S") == devices_of("l40s:1")


def test_every_card_is_smaller_than_its_name_says() -> None:
    """NVML's total is never more than the number on the box in GiB, and close to it."""
    assert all(14 * 1024 <= total_mib <= 192 * 1024 for _, total_mib in CARDS.values())
    assert all(name == name.lower() for name in CARDS)


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("h100", "one of a10"),
        ("80", "one of a10"),
        ("80GiB:0", "1 to 64"),
        ("t4:65", "1 to 64"),
        ("t4:x", "NAME:COUNT"),
        ("", "NAME:COUNT"),
        ("0.1MiB", "less than 1 MiB"),
        ("8parsecs", "NAME:COUNT|one of"),
    ],
)
def test_what_is_no_device_says_what_would_be(spec: str, what: str) -> None:
    """A name that is unknown, a size without a unit and a count out of range are refused, with what to write."""
    with pytest.raises(FieldInvalidError) as caught:
        devices_of(spec)
    (violation,) = caught.value.failure.violations
    assert violation.field == "device"
    assert any(part in violation.description for part in what.split("|")), violation.description
