from echoplane._third_party import validate_pb2 as _validate_pb2
from echoplane.v1 import plans_pb2 as _plans_pb2
from echoplane.v1 import rollouts_pb2 as _rollouts_pb2
from echoplane.v1 import types_pb2 as _types_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import resource_pb2 as _resource_pb2
from google.longrunning import operations_pb2 as _operations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VersionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERSION_STATE_UNSPECIFIED: _ClassVar[VersionState]
    VERSION_STATE_LOADING: _ClassVar[VersionState]
    VERSION_STATE_READY: _ClassVar[VersionState]
    VERSION_STATE_SERVING: _ClassVar[VersionState]
    VERSION_STATE_DRAINING: _ClassVar[VersionState]
    VERSION_STATE_PARKED: _ClassVar[VersionState]
    VERSION_STATE_COLD: _ClassVar[VersionState]
    VERSION_STATE_FAILED: _ClassVar[VersionState]

class InstanceState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INSTANCE_STATE_UNSPECIFIED: _ClassVar[InstanceState]
    INSTANCE_STATE_PENDING: _ClassVar[InstanceState]
    INSTANCE_STATE_STARTING: _ClassVar[InstanceState]
    INSTANCE_STATE_PROBING: _ClassVar[InstanceState]
    INSTANCE_STATE_READY: _ClassVar[InstanceState]
    INSTANCE_STATE_DRAINING: _ClassVar[InstanceState]
    INSTANCE_STATE_STOPPING: _ClassVar[InstanceState]
    INSTANCE_STATE_GONE: _ClassVar[InstanceState]
VERSION_STATE_UNSPECIFIED: VersionState
VERSION_STATE_LOADING: VersionState
VERSION_STATE_READY: VersionState
VERSION_STATE_SERVING: VersionState
VERSION_STATE_DRAINING: VersionState
VERSION_STATE_PARKED: VersionState
VERSION_STATE_COLD: VersionState
VERSION_STATE_FAILED: VersionState
INSTANCE_STATE_UNSPECIFIED: InstanceState
INSTANCE_STATE_PENDING: InstanceState
INSTANCE_STATE_STARTING: InstanceState
INSTANCE_STATE_PROBING: InstanceState
INSTANCE_STATE_READY: InstanceState
INSTANCE_STATE_DRAINING: InstanceState
INSTANCE_STATE_STOPPING: InstanceState
INSTANCE_STATE_GONE: InstanceState

class Model(_message.Message):
    __slots__ = ("name", "serving_version", "traffic", "rollout", "health", "xds_target", "signature", "labels", "etag", "create_time", "update_time", "aliases")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SERVING_VERSION_FIELD_NUMBER: _ClassVar[int]
    TRAFFIC_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    XDS_TARGET_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    name: str
    serving_version: str
    traffic: _containers.RepeatedCompositeFieldContainer[_types_pb2.TrafficWeight]
    rollout: str
    health: _types_pb2.HealthState
    xds_target: str
    signature: _types_pb2.Signature
    labels: _containers.ScalarMap[str, str]
    etag: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    aliases: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., serving_version: _Optional[str] = ..., traffic: _Optional[_Iterable[_Union[_types_pb2.TrafficWeight, _Mapping]]] = ..., rollout: _Optional[str] = ..., health: _Optional[_Union[_types_pb2.HealthState, str]] = ..., xds_target: _Optional[str] = ..., signature: _Optional[_Union[_types_pb2.Signature, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., etag: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., aliases: _Optional[_Iterable[str]] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("uri", "digest")
    URI_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    uri: str
    digest: str
    def __init__(self, uri: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class Engine(_message.Message):
    __slots__ = ("kind", "version", "options")
    class OptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    KIND_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    version: str
    options: _containers.ScalarMap[str, str]
    def __init__(self, kind: _Optional[str] = ..., version: _Optional[str] = ..., options: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ModelFacts(_message.Message):
    __slots__ = ("architecture", "parameter_count", "dtype", "size_class", "task", "weights_bytes", "max_context_length")
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_COUNT_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_CLASS_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    architecture: str
    parameter_count: int
    dtype: _types_pb2.Dtype
    size_class: _types_pb2.SizeClass
    task: _types_pb2.Task
    weights_bytes: int
    max_context_length: int
    def __init__(self, architecture: _Optional[str] = ..., parameter_count: _Optional[int] = ..., dtype: _Optional[_Union[_types_pb2.Dtype, str]] = ..., size_class: _Optional[_Union[_types_pb2.SizeClass, str]] = ..., task: _Optional[_Union[_types_pb2.Task, str]] = ..., weights_bytes: _Optional[int] = ..., max_context_length: _Optional[int] = ...) -> None: ...

class VersionMemory(_message.Message):
    __slots__ = ("predicted_bytes", "upper_bytes", "components", "measured", "calibration")
    PREDICTED_BYTES_FIELD_NUMBER: _ClassVar[int]
    UPPER_BYTES_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    MEASURED_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    predicted_bytes: int
    upper_bytes: int
    components: _containers.RepeatedCompositeFieldContainer[_plans_pb2.MemoryComponent]
    measured: MeasuredMemory
    calibration: _plans_pb2.Calibration
    def __init__(self, predicted_bytes: _Optional[int] = ..., upper_bytes: _Optional[int] = ..., components: _Optional[_Iterable[_Union[_plans_pb2.MemoryComponent, _Mapping]]] = ..., measured: _Optional[_Union[MeasuredMemory, _Mapping]] = ..., calibration: _Optional[_Union[_plans_pb2.Calibration, _Mapping]] = ...) -> None: ...

class MeasuredMemory(_message.Message):
    __slots__ = ("tensor_bytes", "increment_bytes", "rss_bytes", "peak_rss_bytes", "device_bytes", "time")
    TENSOR_BYTES_FIELD_NUMBER: _ClassVar[int]
    INCREMENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    PEAK_RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    tensor_bytes: int
    increment_bytes: int
    rss_bytes: int
    peak_rss_bytes: int
    device_bytes: int
    time: _timestamp_pb2.Timestamp
    def __init__(self, tensor_bytes: _Optional[int] = ..., increment_bytes: _Optional[int] = ..., rss_bytes: _Optional[int] = ..., peak_rss_bytes: _Optional[int] = ..., device_bytes: _Optional[int] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Instance(_message.Message):
    __slots__ = ("device", "address", "pid", "state", "ordinal", "generation", "reserved_bytes", "failure", "engine_figures")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ORDINAL_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    RESERVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIGURES_FIELD_NUMBER: _ClassVar[int]
    device: str
    address: str
    pid: int
    state: InstanceState
    ordinal: int
    generation: int
    reserved_bytes: int
    failure: str
    engine_figures: EngineFigures
    def __init__(self, device: _Optional[str] = ..., address: _Optional[str] = ..., pid: _Optional[int] = ..., state: _Optional[_Union[InstanceState, str]] = ..., ordinal: _Optional[int] = ..., generation: _Optional[int] = ..., reserved_bytes: _Optional[int] = ..., failure: _Optional[str] = ..., engine_figures: _Optional[_Union[EngineFigures, _Mapping]] = ...) -> None: ...

class EngineFigures(_message.Message):
    __slots__ = ("context_length", "cache_tokens", "cache_blocks", "cache_bytes")
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    CACHE_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    CACHE_BYTES_FIELD_NUMBER: _ClassVar[int]
    context_length: int
    cache_tokens: int
    cache_blocks: int
    cache_bytes: int
    def __init__(self, context_length: _Optional[int] = ..., cache_tokens: _Optional[int] = ..., cache_blocks: _Optional[int] = ..., cache_bytes: _Optional[int] = ...) -> None: ...

class VersionCache(_message.Message):
    __slots__ = ("hit_count", "miss_count", "last_hit_tier")
    HIT_COUNT_FIELD_NUMBER: _ClassVar[int]
    MISS_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_HIT_TIER_FIELD_NUMBER: _ClassVar[int]
    hit_count: int
    miss_count: int
    last_hit_tier: _types_pb2.Tier
    def __init__(self, hit_count: _Optional[int] = ..., miss_count: _Optional[int] = ..., last_hit_tier: _Optional[_Union[_types_pb2.Tier, str]] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("name", "state", "tier", "source", "engine", "facts", "context_length", "max_concurrency", "replicas", "memory", "reservoir", "instances", "load_duration", "cache", "failure", "xds_target", "dtype", "weight_ppm", "pinned", "signature", "create_time", "update_time", "weights_format", "requested_tier", "requested_context_length", "engine_build")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    RESERVOIR_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    LOAD_DURATION_FIELD_NUMBER: _ClassVar[int]
    CACHE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    XDS_TARGET_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_PPM_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FORMAT_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_TIER_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    ENGINE_BUILD_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: VersionState
    tier: _types_pb2.Tier
    source: Source
    engine: Engine
    facts: ModelFacts
    context_length: int
    max_concurrency: int
    replicas: int
    memory: VersionMemory
    reservoir: _plans_pb2.Reservoir
    instances: _containers.RepeatedCompositeFieldContainer[Instance]
    load_duration: _duration_pb2.Duration
    cache: VersionCache
    failure: _status_pb2.Status
    xds_target: str
    dtype: _types_pb2.Dtype
    weight_ppm: int
    pinned: bool
    signature: _types_pb2.Signature
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    weights_format: str
    requested_tier: _types_pb2.Tier
    requested_context_length: int
    engine_build: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[VersionState, str]] = ..., tier: _Optional[_Union[_types_pb2.Tier, str]] = ..., source: _Optional[_Union[Source, _Mapping]] = ..., engine: _Optional[_Union[Engine, _Mapping]] = ..., facts: _Optional[_Union[ModelFacts, _Mapping]] = ..., context_length: _Optional[int] = ..., max_concurrency: _Optional[int] = ..., replicas: _Optional[int] = ..., memory: _Optional[_Union[VersionMemory, _Mapping]] = ..., reservoir: _Optional[_Union[_plans_pb2.Reservoir, _Mapping]] = ..., instances: _Optional[_Iterable[_Union[Instance, _Mapping]]] = ..., load_duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., cache: _Optional[_Union[VersionCache, _Mapping]] = ..., failure: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., xds_target: _Optional[str] = ..., dtype: _Optional[_Union[_types_pb2.Dtype, str]] = ..., weight_ppm: _Optional[int] = ..., pinned: bool = ..., signature: _Optional[_Union[_types_pb2.Signature, _Mapping]] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., weights_format: _Optional[str] = ..., requested_tier: _Optional[_Union[_types_pb2.Tier, str]] = ..., requested_context_length: _Optional[int] = ..., engine_build: _Optional[str] = ...) -> None: ...

class LoadModelRequest(_message.Message):
    __slots__ = ("model_id", "version_id", "source_uri", "engine", "engine_options", "dtype", "context_length", "max_concurrency", "replicas", "tier", "pinned", "reservoir", "labels", "request_id", "validate_only", "weights_format", "aliases")
    class EngineOptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_URI_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    RESERVOIR_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FORMAT_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    version_id: str
    source_uri: str
    engine: str
    engine_options: _containers.ScalarMap[str, str]
    dtype: _types_pb2.Dtype
    context_length: int
    max_concurrency: int
    replicas: int
    tier: _types_pb2.Tier
    pinned: bool
    reservoir: _plans_pb2.ReservoirOverrides
    labels: _containers.ScalarMap[str, str]
    request_id: str
    validate_only: bool
    weights_format: str
    aliases: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model_id: _Optional[str] = ..., version_id: _Optional[str] = ..., source_uri: _Optional[str] = ..., engine: _Optional[str] = ..., engine_options: _Optional[_Mapping[str, str]] = ..., dtype: _Optional[_Union[_types_pb2.Dtype, str]] = ..., context_length: _Optional[int] = ..., max_concurrency: _Optional[int] = ..., replicas: _Optional[int] = ..., tier: _Optional[_Union[_types_pb2.Tier, str]] = ..., pinned: bool = ..., reservoir: _Optional[_Union[_plans_pb2.ReservoirOverrides, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., request_id: _Optional[str] = ..., validate_only: bool = ..., weights_format: _Optional[str] = ..., aliases: _Optional[_Iterable[str]] = ...) -> None: ...

class UpdateModelRequest(_message.Message):
    __slots__ = ("model_id", "version_id", "source_uri", "engine", "engine_options", "dtype", "context_length", "max_concurrency", "replicas", "tier", "pinned", "reservoir", "labels", "request_id", "validate_only", "policy", "behaviour_change", "etag", "weights_format")
    class EngineOptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_URI_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    RESERVOIR_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    BEHAVIOUR_CHANGE_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FORMAT_FIELD_NUMBER: _ClassVar[int]
    model_id: str
    version_id: str
    source_uri: str
    engine: str
    engine_options: _containers.ScalarMap[str, str]
    dtype: _types_pb2.Dtype
    context_length: int
    max_concurrency: int
    replicas: int
    tier: _types_pb2.Tier
    pinned: bool
    reservoir: _plans_pb2.ReservoirOverrides
    labels: _containers.ScalarMap[str, str]
    request_id: str
    validate_only: bool
    policy: _rollouts_pb2.RolloutPolicy
    behaviour_change: _types_pb2.BehaviourChange
    etag: str
    weights_format: str
    def __init__(self, model_id: _Optional[str] = ..., version_id: _Optional[str] = ..., source_uri: _Optional[str] = ..., engine: _Optional[str] = ..., engine_options: _Optional[_Mapping[str, str]] = ..., dtype: _Optional[_Union[_types_pb2.Dtype, str]] = ..., context_length: _Optional[int] = ..., max_concurrency: _Optional[int] = ..., replicas: _Optional[int] = ..., tier: _Optional[_Union[_types_pb2.Tier, str]] = ..., pinned: bool = ..., reservoir: _Optional[_Union[_plans_pb2.ReservoirOverrides, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., request_id: _Optional[str] = ..., validate_only: bool = ..., policy: _Optional[_Union[_rollouts_pb2.RolloutPolicy, _Mapping]] = ..., behaviour_change: _Optional[_Union[_types_pb2.BehaviourChange, str]] = ..., etag: _Optional[str] = ..., weights_format: _Optional[str] = ...) -> None: ...

class DeleteModelRequest(_message.Message):
    __slots__ = ("name", "force", "allow_missing", "etag", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    ALLOW_MISSING_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    force: bool
    allow_missing: bool
    etag: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., force: bool = ..., allow_missing: bool = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "next_page_token")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    next_page_token: str
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ConfigureModelRequest(_message.Message):
    __slots__ = ("name", "version", "update_mask", "labels", "pinned", "tier", "max_concurrency", "etag", "request_id", "aliases")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    update_mask: _field_mask_pb2.FieldMask
    labels: _containers.ScalarMap[str, str]
    pinned: bool
    tier: _types_pb2.Tier
    max_concurrency: int
    etag: str
    request_id: str
    aliases: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., labels: _Optional[_Mapping[str, str]] = ..., pinned: bool = ..., tier: _Optional[_Union[_types_pb2.Tier, str]] = ..., max_concurrency: _Optional[int] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ..., aliases: _Optional[_Iterable[str]] = ...) -> None: ...

class GetModelVersionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListModelVersionsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListModelVersionsResponse(_message.Message):
    __slots__ = ("versions", "next_page_token")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[ModelVersion]
    next_page_token: str
    def __init__(self, versions: _Optional[_Iterable[_Union[ModelVersion, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteModelVersionRequest(_message.Message):
    __slots__ = ("name", "allow_missing", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALLOW_MISSING_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    allow_missing: bool
    request_id: str
    def __init__(self, name: _Optional[str] = ..., allow_missing: bool = ..., request_id: _Optional[str] = ...) -> None: ...

class SetModelVersionTierRequest(_message.Message):
    __slots__ = ("name", "tier", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    tier: _types_pb2.Tier
    request_id: str
    def __init__(self, name: _Optional[str] = ..., tier: _Optional[_Union[_types_pb2.Tier, str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CheckModelHealthRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetModelHealthRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ModelHealth(_message.Message):
    __slots__ = ("name", "state", "reason", "versions", "check_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    CHECK_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: _types_pb2.HealthState
    reason: str
    versions: _containers.RepeatedCompositeFieldContainer[VersionHealth]
    check_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[_types_pb2.HealthState, str]] = ..., reason: _Optional[str] = ..., versions: _Optional[_Iterable[_Union[VersionHealth, _Mapping]]] = ..., check_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class VersionHealth(_message.Message):
    __slots__ = ("version", "state", "wanted_instance_count", "ready_instance_count", "probes")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    WANTED_INSTANCE_COUNT_FIELD_NUMBER: _ClassVar[int]
    READY_INSTANCE_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    version: str
    state: _types_pb2.HealthState
    wanted_instance_count: int
    ready_instance_count: int
    probes: _containers.RepeatedCompositeFieldContainer[ProbeResult]
    def __init__(self, version: _Optional[str] = ..., state: _Optional[_Union[_types_pb2.HealthState, str]] = ..., wanted_instance_count: _Optional[int] = ..., ready_instance_count: _Optional[int] = ..., probes: _Optional[_Iterable[_Union[ProbeResult, _Mapping]]] = ...) -> None: ...

class ProbeResult(_message.Message):
    __slots__ = ("ordinal", "passed", "failure", "duration", "time")
    ORDINAL_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    ordinal: int
    passed: bool
    failure: str
    duration: _duration_pb2.Duration
    time: _timestamp_pb2.Timestamp
    def __init__(self, ordinal: _Optional[int] = ..., passed: bool = ..., failure: _Optional[str] = ..., duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
