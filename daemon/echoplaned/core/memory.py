"""Memory as it is measured on a device, beside what the state reserves there.

Two counts say how much a device has left. The ledger's: capacity less the reserve less every reservation; it knows nothing of other
processes. The measured one: what is free now, less what our engines were promised and have not taken yet. A new model may have the
smaller of both, and whatever nobody of ours holds is ``foreign``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RELEASE_SETTLES_S: Final = 30.0
"""A driver may take so long until it measures as free what an engine held that has ended."""

_MIB: Final = 1024 * 1024
_SETTLED_BYTES: Final = 64 * _MIB
"""A shortage is over once so much is free beyond what was promised, or else it would come and go with every megabyte."""


@dataclass(frozen=True, slots=True)
class MemoryHolder:
    """A process that is none of our engines.

    Attributes:
        name: for people: what it is called, and its number where there is one.
        bytes: what it holds.
    """

    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class MeasuredMemory:
    """The memory of one device as it was measured.

    Attributes:
        device_id: the device.
        total_bytes: all of its memory, as it says itself.
        free_bytes: what is free, or can be had at once.
        own_bytes: what the processes of our engines hold; None: the device does not say whose its bytes are.
        holders: the largest of the others, where they are told.
    """

    device_id: str
    total_bytes: int
    free_bytes: int
    own_bytes: int | None = None
    holders: tuple[MemoryHolder, ...] = ()

    @property
    def used_bytes(self) -> int:
        """Bytes of the device that are not free."""
        return max(0, self.total_bytes - self.free_bytes)

    def taken_bytes(self, reserved_bytes: int) -> int:
        """Return the bytes that our engines hold of the device.

        As measured, or else what was promised to them, as far as that much is in use at all.
        """
        return min(self.used_bytes, reserved_bytes) if self.own_bytes is None else self.own_bytes

    def foreign_bytes(self, reserved_bytes: int) -> int:
        """Return what others hold, ``reserved_bytes`` being promised to our engines."""
        return max(0, self.used_bytes - self.taken_bytes(reserved_bytes))

    def left_bytes(self, reserved_bytes: int) -> int:
        """Return the free bytes that nobody was promised.

        That is what is free now less what was promised and is not taken yet; negative: a promise that cannot be kept.
        """
        return self.free_bytes - max(0, reserved_bytes - self.taken_bytes(reserved_bytes))

    def is_short(self, reserved_bytes: int, *, was_short: bool) -> bool:
        """Whether what was promised to our engines is not there any more.

        True a little longer than it is so, so that it does not come and go.
        """
        return bool(reserved_bytes) and self.left_bytes(reserved_bytes) < (_SETTLED_BYTES if was_short else 0)


def foreign_text(foreign_bytes: int, holders: tuple[MemoryHolder, ...]) -> str:
    """Say in a clause what others hold, and who they are where that is known."""
    named = ", ".join(f"{one.name} {one.bytes}" for one in holders)
    return f"other processes hold {foreign_bytes} bytes" + (f" (the largest: {named})" if named else "")
