"""Which devices one instance takes.

Its ranks go to different devices of one kind, away from its siblings while there is another.
The one rule for plans and for reservations, so that a plan's devices are those that its instances get.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from echoplaned.core.placement import DeviceShare
from echoplaned.core.plan import Device


def seat(
    devices: Iterable[Device], held_bytes: Mapping[str, int], needs: Sequence[int], siblings: Mapping[str, int]
) -> tuple[DeviceShare, ...] | None:
    """Return a device for each rank of one instance, in the ranks' order.

    None: there is no room.
    Each rank goes where the fewest siblings are, of these to the device that is left with the least, of these to the first by name.
    Ranks work in step, so all of them take devices of one kind and name.

    Args:
        devices: what may hold it.
        held_bytes: what is taken on each device, by device id.
        needs: bytes of each rank; at least one.
        siblings: how many instances of the same version a device holds, by device id.
    """
    free = {
        one.device_id: max(0, one.capacity_bytes - one.reserve_bytes - held_bytes.get(one.device_id, 0))
        for one in devices
    }
    groups = [tuple(free)] if len(needs) == 1 else _alike(devices)
    found = [shares for group in groups if (shares := _seat_in(group, free, needs, siblings)) is not None]
    if not found:
        return None
    return min(found, key=lambda shares: _cost(shares, free, siblings))


def seat_all(
    devices: Iterable[Device], held_bytes: Mapping[str, int], needs: Sequence[int], replicas: int
) -> tuple[str, ...]:
    """Return the devices of all replicas, one entry for each rank of each.

    Empty where not all of them fit.
    """
    devices = tuple(devices)
    held, siblings = Counter(held_bytes), Counter[str]()
    placed: list[str] = []
    for _ in range(replicas):
        shares = seat(devices, held, needs, siblings)
        if shares is None:
            return ()
        for share in shares:
            held[share.device_id] += share.bytes
            siblings[share.device_id] += 1
            placed.append(share.device_id)
    return tuple(placed)


def _alike(devices: Iterable[Device]) -> list[tuple[str, ...]]:
    groups: dict[tuple[str, str], list[str]] = {}
    for one in devices:
        groups.setdefault((one.kind, one.name), []).append(one.device_id)
    return [tuple(group) for group in groups.values()]


def _seat_in(
    group: Sequence[str], free: Mapping[str, int], needs: Sequence[int], siblings: Mapping[str, int]
) -> tuple[DeviceShare, ...] | None:
    """Seat every rank on a device of its own within a group."""
    taken: dict[int, str] = {}
    # The largest first: whatever holds a larger rank holds a smaller one, so no rank takes the only place of another.
    for rank in sorted(range(len(needs)), key=lambda number: -needs[number]):
        fitting = (one for one in group if one not in taken.values() and free[one] >= needs[rank])
        best = min(fitting, key=lambda one: (siblings.get(one, 0), free[one], one), default=None)
        if best is None:
            return None
        taken[rank] = best
    return tuple(DeviceShare(taken[rank], needs[rank]) for rank in range(len(needs)))


def _cost(shares: Sequence[DeviceShare], free: Mapping[str, int], siblings: Mapping[str, int]) -> tuple[int, int, str]:
    together = sum(siblings.get(share.device_id, 0) for share in shares)
    left = sum(free[share.device_id] - share.bytes for share in shares)
    return together, left, min(share.device_id for share in shares)
