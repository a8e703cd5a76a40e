from echoplane._third_party import validate_pb2 as _validate_pb2
from echoplane.v1 import types_pb2 as _types_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FormulaInput(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: int
    def __init__(self, name: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...

class MemoryComponent(_message.Message):
    __slots__ = ("name", "bytes", "formula", "inputs", "source", "upper_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    FORMULA_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    UPPER_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    bytes: int
    formula: str
    inputs: _containers.RepeatedCompositeFieldContainer[FormulaInput]
    source: str
    upper_bytes: int
    def __init__(self, name: _Optional[str] = ..., bytes: _Optional[int] = ..., formula: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[FormulaInput, _Mapping]]] = ..., source: _Optional[str] = ..., upper_bytes: _Optional[int] = ...) -> None: ...

class RankMemory(_message.Message):
    __slots__ = ("bytes", "upper_bytes")
    BYTES_FIELD_NUMBER: _ClassVar[int]
    UPPER_BYTES_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    upper_bytes: int
    def __init__(self, bytes: _Optional[int] = ..., upper_bytes: _Optional[int] = ...) -> None: ...

class MemoryHolder(_message.Message):
    __slots__ = ("name", "bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    bytes: int
    def __init__(self, name: _Optional[str] = ..., bytes: _Optional[int] = ...) -> None: ...

class DeviceFit(_message.Message):
    __slots__ = ("device_id", "free_bytes", "needed_bytes", "fits", "foreign_bytes", "holders")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    NEEDED_BYTES_FIELD_NUMBER: _ClassVar[int]
    FITS_FIELD_NUMBER: _ClassVar[int]
    FOREIGN_BYTES_FIELD_NUMBER: _ClassVar[int]
    HOLDERS_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    free_bytes: int
    needed_bytes: int
    fits: bool
    foreign_bytes: int
    holders: _containers.RepeatedCompositeFieldContainer[MemoryHolder]
    def __init__(self, device_id: _Optional[str] = ..., free_bytes: _Optional[int] = ..., needed_bytes: _Optional[int] = ..., fits: bool = ..., foreign_bytes: _Optional[int] = ..., holders: _Optional[_Iterable[_Union[MemoryHolder, _Mapping]]] = ...) -> None: ...

class PlanAlternative(_message.Message):
    __slots__ = ("dtype", "context_length", "max_concurrency", "upper_bytes", "device_id", "warning", "action", "freed_bytes", "undo_seconds", "victims", "tensor_parallel")
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    UPPER_BYTES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    WARNING_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    FREED_BYTES_FIELD_NUMBER: _ClassVar[int]
    UNDO_SECONDS_FIELD_NUMBER: _ClassVar[int]
    VICTIMS_FIELD_NUMBER: _ClassVar[int]
    TENSOR_PARALLEL_FIELD_NUMBER: _ClassVar[int]
    dtype: _types_pb2.Dtype
    context_length: int
    max_concurrency: int
    upper_bytes: int
    device_id: str
    warning: str
    action: str
    freed_bytes: int
    undo_seconds: float
    victims: _containers.RepeatedScalarFieldContainer[str]
    tensor_parallel: int
    def __init__(self, dtype: _Optional[_Union[_types_pb2.Dtype, str]] = ..., context_length: _Optional[int] = ..., max_concurrency: _Optional[int] = ..., upper_bytes: _Optional[int] = ..., device_id: _Optional[str] = ..., warning: _Optional[str] = ..., action: _Optional[str] = ..., freed_bytes: _Optional[int] = ..., undo_seconds: _Optional[float] = ..., victims: _Optional[_Iterable[str]] = ..., tensor_parallel: _Optional[int] = ...) -> None: ...

class Reservoir(_message.Message):
    __slots__ = ("size_class", "membrane_depth", "units", "tree", "level_time_constants", "bytes_per_stream", "total_bytes", "spectral_radius", "leak", "input_scale", "seed", "block_density")
    SIZE_CLASS_FIELD_NUMBER: _ClassVar[int]
    MEMBRANE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    TREE_FIELD_NUMBER: _ClassVar[int]
    LEVEL_TIME_CONSTANTS_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_STREAM_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    SPECTRAL_RADIUS_FIELD_NUMBER: _ClassVar[int]
    LEAK_FIELD_NUMBER: _ClassVar[int]
    INPUT_SCALE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    BLOCK_DENSITY_FIELD_NUMBER: _ClassVar[int]
    size_class: _types_pb2.SizeClass
    membrane_depth: int
    units: int
    tree: _containers.RepeatedScalarFieldContainer[int]
    level_time_constants: _containers.RepeatedScalarFieldContainer[float]
    bytes_per_stream: int
    total_bytes: int
    spectral_radius: float
    leak: float
    input_scale: float
    seed: int
    block_density: float
    def __init__(self, size_class: _Optional[_Union[_types_pb2.SizeClass, str]] = ..., membrane_depth: _Optional[int] = ..., units: _Optional[int] = ..., tree: _Optional[_Iterable[int]] = ..., level_time_constants: _Optional[_Iterable[float]] = ..., bytes_per_stream: _Optional[int] = ..., total_bytes: _Optional[int] = ..., spectral_radius: _Optional[float] = ..., leak: _Optional[float] = ..., input_scale: _Optional[float] = ..., seed: _Optional[int] = ..., block_density: _Optional[float] = ...) -> None: ...

class ReservoirOverrides(_message.Message):
    __slots__ = ("spectral_radius", "leak", "input_scale", "seed", "block_density")
    SPECTRAL_RADIUS_FIELD_NUMBER: _ClassVar[int]
    LEAK_FIELD_NUMBER: _ClassVar[int]
    INPUT_SCALE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    BLOCK_DENSITY_FIELD_NUMBER: _ClassVar[int]
    spectral_radius: float
    leak: float
    input_scale: float
    seed: int
    block_density: float
    def __init__(self, spectral_radius: _Optional[float] = ..., leak: _Optional[float] = ..., input_scale: _Optional[float] = ..., seed: _Optional[int] = ..., block_density: _Optional[float] = ...) -> None: ...

class Calibration(_message.Message):
    __slots__ = ("engine", "engine_version", "device", "sample_count", "time", "overhead_bytes", "heap_slack", "load_overhead_bytes", "load_slack")
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_COUNT_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    OVERHEAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    HEAP_SLACK_FIELD_NUMBER: _ClassVar[int]
    LOAD_OVERHEAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOAD_SLACK_FIELD_NUMBER: _ClassVar[int]
    engine: str
    engine_version: str
    device: str
    sample_count: int
    time: _timestamp_pb2.Timestamp
    overhead_bytes: int
    heap_slack: float
    load_overhead_bytes: int
    load_slack: float
    def __init__(self, engine: _Optional[str] = ..., engine_version: _Optional[str] = ..., device: _Optional[str] = ..., sample_count: _Optional[int] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., overhead_bytes: _Optional[int] = ..., heap_slack: _Optional[float] = ..., load_overhead_bytes: _Optional[int] = ..., load_slack: _Optional[float] = ...) -> None: ...

class Plan(_message.Message):
    __slots__ = ("fits", "architecture", "parameter_count", "dtype", "context_length", "max_concurrency", "replicas", "bytes", "upper_bytes", "components", "device_ids", "devices", "alternatives", "reservoir", "surge", "warnings", "weight_format", "ranks", "kv_bytes_per_token", "fitting_context_length", "fitting_max_concurrency", "calibration", "cpu_isa", "serves", "serves_reason", "serves_detail")
    FITS_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_COUNT_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    UPPER_BYTES_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_IDS_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    RESERVOIR_FIELD_NUMBER: _ClassVar[int]
    SURGE_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FORMAT_FIELD_NUMBER: _ClassVar[int]
    RANKS_FIELD_NUMBER: _ClassVar[int]
    KV_BYTES_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FITTING_CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    FITTING_MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    CPU_ISA_FIELD_NUMBER: _ClassVar[int]
    SERVES_FIELD_NUMBER: _ClassVar[int]
    SERVES_REASON_FIELD_NUMBER: _ClassVar[int]
    SERVES_DETAIL_FIELD_NUMBER: _ClassVar[int]
    fits: bool
    architecture: str
    parameter_count: int
    dtype: _types_pb2.Dtype
    context_length: int
    max_concurrency: int
    replicas: int
    bytes: int
    upper_bytes: int
    components: _containers.RepeatedCompositeFieldContainer[MemoryComponent]
    device_ids: _containers.RepeatedScalarFieldContainer[str]
    devices: _containers.RepeatedCompositeFieldContainer[DeviceFit]
    alternatives: _containers.RepeatedCompositeFieldContainer[PlanAlternative]
    reservoir: Reservoir
    surge: bool
    warnings: _containers.RepeatedScalarFieldContainer[str]
    weight_format: str
    ranks: _containers.RepeatedCompositeFieldContainer[RankMemory]
    kv_bytes_per_token: int
    fitting_context_length: int
    fitting_max_concurrency: int
    calibration: Calibration
    cpu_isa: str
    serves: bool
    serves_reason: str
    serves_detail: str
    def __init__(self, fits: bool = ..., architecture: _Optional[str] = ..., parameter_count: _Optional[int] = ..., dtype: _Optional[_Union[_types_pb2.Dtype, str]] = ..., context_length: _Optional[int] = ..., max_concurrency: _Optional[int] = ..., replicas: _Optional[int] = ..., bytes: _Optional[int] = ..., upper_bytes: _Optional[int] = ..., components: _Optional[_Iterable[_Union[MemoryComponent, _Mapping]]] = ..., device_ids: _Optional[_Iterable[str]] = ..., devices: _Optional[_Iterable[_Union[DeviceFit, _Mapping]]] = ..., alternatives: _Optional[_Iterable[_Union[PlanAlternative, _Mapping]]] = ..., reservoir: _Optional[_Union[Reservoir, _Mapping]] = ..., surge: bool = ..., warnings: _Optional[_Iterable[str]] = ..., weight_format: _Optional[str] = ..., ranks: _Optional[_Iterable[_Union[RankMemory, _Mapping]]] = ..., kv_bytes_per_token: _Optional[int] = ..., fitting_context_length: _Optional[int] = ..., fitting_max_concurrency: _Optional[int] = ..., calibration: _Optional[_Union[Calibration, _Mapping]] = ..., cpu_isa: _Optional[str] = ..., serves: bool = ..., serves_reason: _Optional[str] = ..., serves_detail: _Optional[str] = ...) -> None: ...
