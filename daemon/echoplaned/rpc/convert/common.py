"""What every conversion needs: numbers, times, and enums of the same names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from echoplane.v1 import models_pb2, planning_pb2, rollouts_pb2, types_pb2
from echoplaned.core.facts import Dtype, Task
from echoplaned.core.numbers import MAX_TIME_S, clamp_real
from echoplaned.core.rollout_state import Evidence, GateVerdict
from echoplaned.core.spec import BehaviourChange, OnExpire, Tier
from echoplaned.core.state import InstanceState

Member = TypeVar("Member", bound=StrEnum)
PbEnum = TypeVar("PbEnum", bound=int)


def by_name(enum: type[PbEnum], prefix: str, members: Iterable[Member]) -> Mapping[Member, PbEnum]:
    """Pair the core's enum members with the API's of the same name.

    A member that the API lacks fails at import, never in a call.
    """
    wrapper = cast(EnumTypeWrapper, enum)
    return MappingProxyType({m: cast(PbEnum, wrapper.Value(f"{prefix}_{m.value}")) for m in members})


def invert(table: Mapping[Member, PbEnum]) -> Mapping[PbEnum, Member]:
    """Return a table of ``by_name`` with keys and values exchanged."""
    return MappingProxyType({number: member for member, number in table.items()})


DTYPE_TO_PB = by_name(types_pb2.Dtype, "DTYPE", Dtype)
DTYPE_FROM_PB = invert(DTYPE_TO_PB)
TIER_TO_PB = by_name(types_pb2.Tier, "TIER", Tier)
TIER_FROM_PB = invert(TIER_TO_PB)
TASK_TO_PB = by_name(types_pb2.Task, "TASK", Task)
BEHAVIOUR_TO_PB = by_name(types_pb2.BehaviourChange, "BEHAVIOUR_CHANGE", BehaviourChange)
BEHAVIOUR_FROM_PB = invert(BEHAVIOUR_TO_PB)
ON_EXPIRE_TO_PB = by_name(rollouts_pb2.OnExpire, "ON_EXPIRE", OnExpire)
ON_EXPIRE_FROM_PB = invert(ON_EXPIRE_TO_PB)
INSTANCE_STATE_TO_PB = by_name(models_pb2.InstanceState, "INSTANCE_STATE", InstanceState)
VERDICT_TO_PB = by_name(rollouts_pb2.Verdict.Outcome, "OUTCOME", GateVerdict)
EVIDENCE_TO_PB = by_name(rollouts_pb2.Verdict.Evidence, "EVIDENCE", Evidence)
# The core keeps these two as plain words.
SIZE_CLASS_TO_PB = {
    "small": types_pb2.SIZE_CLASS_SMALL,
    "medium": types_pb2.SIZE_CLASS_MEDIUM,
    "large": types_pb2.SIZE_CLASS_LARGE,
}
DEVICE_KIND_TO_PB = {"cuda": planning_pb2.DEVICE_KIND_CUDA, "host": planning_pb2.DEVICE_KIND_HOST}


_MAX_DURATION_S = 315_576_000_000  # 10,000 years, likewise
_INTEGERS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}


def set_number(message: Message, field: str, value: float) -> None:
    """Set a number field of a message.

    A number that the field cannot hold becomes the nearest that it can, for an answer must not fail by it.
    """
    limits = _INTEGERS.get(message.DESCRIPTOR.fields_by_name[field].type)
    setattr(message, field, value if limits is None else round(clamp_real(value, *limits)))


def timestamp(seconds: float) -> Timestamp:
    """Return seconds since the epoch as a timestamp, to the microsecond.

    What lies beyond its range becomes its end.
    """
    message = Timestamp()
    message.FromMicroseconds(round(clamp_real(seconds, 0, MAX_TIME_S) * 1e6))
    return message


def timestamp_or_none(seconds: float | None) -> Timestamp | None:
    """Return a timestamp, or None for a time that is not known."""
    return None if seconds is None else timestamp(seconds)


def duration(seconds: float) -> Duration:
    """Return a length of time in seconds as a duration, to the microsecond.

    What lies beyond its range becomes its end.
    """
    message = Duration()
    message.FromMicroseconds(round(clamp_real(seconds, -_MAX_DURATION_S, _MAX_DURATION_S) * 1e6))
    return message
