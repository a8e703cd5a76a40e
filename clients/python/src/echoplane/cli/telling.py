"""What a daemon tells as words: enum values, times and durations.

Any of them may be one that this client does not know, from a newer daemon or a broken one: it is shown as it is, and stops no command.
"""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.timestamp_pb2 import Timestamp

_UNSPECIFIED = "UNSPECIFIED"
_NANOS = 1e9


def enum_word(enum: EnumTypeWrapper, value: int) -> str:
    """Return an enum value's name without its prefix.

    Empty for the unspecified one; ``UNKNOWN_n`` for one that only a newer daemon has.
    """
    names = enum.DESCRIPTOR.values_by_number
    if value not in names:
        return f"UNKNOWN_{value}"
    prefix = names[0].name.removesuffix(_UNSPECIFIED)
    name = names[value].name.removeprefix(prefix)
    return "" if name == _UNSPECIFIED else name


def time_text(time: Timestamp, form: str) -> str:
    """Return a time in UTC by a form of ``strftime``.

    A time that no calendar has is told by its seconds.
    """
    try:
        return time.ToDatetime().strftime(form)
    except (ValueError, OverflowError):
        return f"{time.seconds} s after 1970"


def duration_text(duration: Duration) -> str:
    """Return a duration in seconds, however long it is: 1.25 s."""
    return f"{duration.seconds + duration.nanos / _NANOS:.2f} s"
