"""Where an instance lives: a node, and what it holds of each device there."""

from __future__ import annotations

from dataclasses import dataclass

LOCAL_NODE = "local"
"""The node of the daemon's own machine; the only one so far."""


@dataclass(frozen=True, slots=True)
class DeviceShare:
    """What an instance holds of one device.

    Attributes:
        device_id: the device; unique over all nodes.
        bytes: what is reserved on it.
    """

    device_id: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Placement:
    """The devices of one instance.

    Attributes:
        node: the machine that all of them are in.
        shares: one for each device, in the order of the engine's ranks; at least one, no device twice.
    """

    node: str
    shares: tuple[DeviceShare, ...]

    def __post_init__(self) -> None:
        """Refuse a placement that reserves nothing, or counts a device twice.

        Raises:
            ValueError: there is no share, a device comes twice, or bytes are negative.
        """
        if not self.shares:
            raise ValueError("a placement needs at least one device")
        if len(set(self.device_ids)) != len(self.shares):
            raise ValueError(f"a placement names a device twice: {', '.join(self.device_ids)}")
        if any(share.bytes < 0 for share in self.shares):
            raise ValueError("a placement cannot reserve less than nothing")

    @property
    def device_ids(self) -> tuple[str, ...]:
        """Its devices, in the order of the shares."""
        return tuple(share.device_id for share in self.shares)

    @property
    def total_bytes(self) -> int:
        """What it reserves on all its devices together."""
        return sum(share.bytes for share in self.shares)

    def bytes_on(self, device_id: str) -> int:
        """Return what it reserves on one device; 0 where it has no share."""
        return next((share.bytes for share in self.shares if share.device_id == device_id), 0)


def on_one_device(device_id: str, reserve_bytes: int, node: str = LOCAL_NODE) -> Placement:
    """Return the placement of an instance that needs a single device."""
    return Placement(node, (DeviceShare(device_id, reserve_bytes),))
