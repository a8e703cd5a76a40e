from echoplane._third_party import validate_pb2 as _validate_pb2
from echoplane.v1 import plans_pb2 as _plans_pb2
from echoplane.v1 import types_pb2 as _types_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DeviceKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEVICE_KIND_UNSPECIFIED: _ClassVar[DeviceKind]
    DEVICE_KIND_CUDA: _ClassVar[DeviceKind]
    DEVICE_KIND_HOST: _ClassVar[DeviceKind]
DEVICE_KIND_UNSPECIFIED: DeviceKind
DEVICE_KIND_CUDA: DeviceKind
DEVICE_KIND_HOST: DeviceKind

class Device(_message.Message):
    __slots__ = ("device_id", "kind", "name", "capacity_bytes", "reserve_bytes", "reserved_bytes", "free_bytes", "reservations", "available_bytes", "measured")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESERVE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESERVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESERVATIONS_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    kind: DeviceKind
    name: str
    capacity_bytes: int
    reserve_bytes: int
    reserved_bytes: int
    free_bytes: int
    reservations: _containers.RepeatedCompositeFieldContainer[Reservation]
    available_bytes: int
    measured: DeviceMemory
    def __init__(self, device_id: _Optional[str] = ..., kind: _Optional[_Union[DeviceKind, str]] = ..., name: _Optional[str] = ..., capacity_bytes: _Optional[int] = ..., reserve_bytes: _Optional[int] = ..., reserved_bytes: _Optional[int] = ..., free_bytes: _Optional[int] = ..., reservations: _Optional[_Iterable[_Union[Reservation, _Mapping]]] = ..., available_bytes: _Optional[int] = ..., measured: _Optional[_Union[DeviceMemory, _Mapping]] = ...) -> None: ...

class DeviceMemory(_message.Message):
    __slots__ = ("total_bytes", "free_bytes", "own_bytes", "foreign_bytes", "holders")
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    OWN_BYTES_FIELD_NUMBER: _ClassVar[int]
    FOREIGN_BYTES_FIELD_NUMBER: _ClassVar[int]
    HOLDERS_FIELD_NUMBER: _ClassVar[int]
    total_bytes: int
    free_bytes: int
    own_bytes: int
    foreign_bytes: int
    holders: _containers.RepeatedCompositeFieldContainer[_plans_pb2.MemoryHolder]
    def __init__(self, total_bytes: _Optional[int] = ..., free_bytes: _Optional[int] = ..., own_bytes: _Optional[int] = ..., foreign_bytes: _Optional[int] = ..., holders: _Optional[_Iterable[_Union[_plans_pb2.MemoryHolder, _Mapping]]] = ...) -> None: ...

class Reservation(_message.Message):
    __slots__ = ("version", "ordinal", "bytes")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ORDINAL_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    version: str
    ordinal: int
    bytes: int
    def __init__(self, version: _Optional[str] = ..., ordinal: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class PlanModelRequest(_message.Message):
    __slots__ = ("model_id", "source_uri", "engine", "engine_options", "dtype", "context_length", "max_concurrency", "replicas", "reservoir", "weights_format")
    class EngineOptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_URI_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    RESERVOIR_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FORMAT_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    source_uri: str
    engine: str
    engine_options: _containers.ScalarMap[str, str]
    dtype: _types_pb2.Dtype
    context_length: int
    max_concurrency: int
    replicas: int
    reservoir: _plans_pb2.ReservoirOverrides
    weights_format: str
    def __init__(self, model_id: _Optional[str] = ..., source_uri: _Optional[str] = ..., engine: _Optional[str] = ..., engine_options: _Optional[_Mapping[str, str]] = ..., dtype: _Optional[_Union[_types_pb2.Dtype, str]] = ..., context_length: _Optional[int] = ..., max_concurrency: _Optional[int] = ..., replicas: _Optional[int] = ..., reservoir: _Optional[_Union[_plans_pb2.ReservoirOverrides, _Mapping]] = ..., weights_format: _Optional[str] = ...) -> None: ...

class BatchPlanModelsRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[PlanModelRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[PlanModelRequest, _Mapping]]] = ...) -> None: ...

class PlanResult(_message.Message):
    __slots__ = ("plan", "error")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    plan: _plans_pb2.Plan
    error: _status_pb2.Status
    def __init__(self, plan: _Optional[_Union[_plans_pb2.Plan, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class BatchPlanModelsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[PlanResult]
    def __init__(self, results: _Optional[_Iterable[_Union[PlanResult, _Mapping]]] = ...) -> None: ...

class ListDevicesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDevicesResponse(_message.Message):
    __slots__ = ("devices", "next_page_token")
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    devices: _containers.RepeatedCompositeFieldContainer[Device]
    next_page_token: str
    def __init__(self, devices: _Optional[_Iterable[_Union[Device, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetReservoirParametersRequest(_message.Message):
    __slots__ = ("parameter_count", "max_concurrency", "overrides")
    PARAMETER_COUNT_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    parameter_count: int
    max_concurrency: int
    overrides: _plans_pb2.ReservoirOverrides
    def __init__(self, parameter_count: _Optional[int] = ..., max_concurrency: _Optional[int] = ..., overrides: _Optional[_Union[_plans_pb2.ReservoirOverrides, _Mapping]] = ...) -> None: ...
