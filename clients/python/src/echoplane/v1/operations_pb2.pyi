from echoplane.v1 import plans_pb2 as _plans_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OperationKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPERATION_KIND_UNSPECIFIED: _ClassVar[OperationKind]
    OPERATION_KIND_LOAD: _ClassVar[OperationKind]
    OPERATION_KIND_UPDATE: _ClassVar[OperationKind]
    OPERATION_KIND_DELETE_MODEL: _ClassVar[OperationKind]
    OPERATION_KIND_DELETE_VERSION: _ClassVar[OperationKind]
    OPERATION_KIND_SET_TIER: _ClassVar[OperationKind]

class OperationPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPERATION_PHASE_UNSPECIFIED: _ClassVar[OperationPhase]
    OPERATION_PHASE_PENDING: _ClassVar[OperationPhase]
    OPERATION_PHASE_PLANNING: _ClassVar[OperationPhase]
    OPERATION_PHASE_LOADING: _ClassVar[OperationPhase]
    OPERATION_PHASE_PROBING: _ClassVar[OperationPhase]
    OPERATION_PHASE_ROLLING_OUT: _ClassVar[OperationPhase]
    OPERATION_PHASE_REVERTING: _ClassVar[OperationPhase]
    OPERATION_PHASE_DRAINING: _ClassVar[OperationPhase]
    OPERATION_PHASE_DONE: _ClassVar[OperationPhase]
OPERATION_KIND_UNSPECIFIED: OperationKind
OPERATION_KIND_LOAD: OperationKind
OPERATION_KIND_UPDATE: OperationKind
OPERATION_KIND_DELETE_MODEL: OperationKind
OPERATION_KIND_DELETE_VERSION: OperationKind
OPERATION_KIND_SET_TIER: OperationKind
OPERATION_PHASE_UNSPECIFIED: OperationPhase
OPERATION_PHASE_PENDING: OperationPhase
OPERATION_PHASE_PLANNING: OperationPhase
OPERATION_PHASE_LOADING: OperationPhase
OPERATION_PHASE_PROBING: OperationPhase
OPERATION_PHASE_ROLLING_OUT: OperationPhase
OPERATION_PHASE_REVERTING: OperationPhase
OPERATION_PHASE_DRAINING: OperationPhase
OPERATION_PHASE_DONE: OperationPhase

class OperationMetadata(_message.Message):
    __slots__ = ("target", "phase", "done_bytes", "total_bytes", "start_time", "estimated_finish_time", "plan", "kind", "rollout", "cache_hit", "request_id", "end_time", "waiting_reason", "context_length")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    DONE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_FINISH_TIME_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    CACHE_HIT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    WAITING_REASON_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    target: str
    phase: OperationPhase
    done_bytes: int
    total_bytes: int
    start_time: _timestamp_pb2.Timestamp
    estimated_finish_time: _timestamp_pb2.Timestamp
    plan: _plans_pb2.Plan
    kind: OperationKind
    rollout: str
    cache_hit: bool
    request_id: str
    end_time: _timestamp_pb2.Timestamp
    waiting_reason: str
    context_length: int
    def __init__(self, target: _Optional[str] = ..., phase: _Optional[_Union[OperationPhase, str]] = ..., done_bytes: _Optional[int] = ..., total_bytes: _Optional[int] = ..., start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., estimated_finish_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., plan: _Optional[_Union[_plans_pb2.Plan, _Mapping]] = ..., kind: _Optional[_Union[OperationKind, str]] = ..., rollout: _Optional[str] = ..., cache_hit: bool = ..., request_id: _Optional[str] = ..., end_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., waiting_reason: _Optional[str] = ..., context_length: _Optional[int] = ...) -> None: ...
