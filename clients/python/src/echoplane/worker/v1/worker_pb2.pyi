from echoplane._third_party import validate_pb2 as _validate_pb2
from echoplane.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WorkerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WORKER_STATE_UNSPECIFIED: _ClassVar[WorkerState]
    WORKER_STATE_WARMING: _ClassVar[WorkerState]
    WORKER_STATE_SPARE: _ClassVar[WorkerState]
    WORKER_STATE_LOADING: _ClassVar[WorkerState]
    WORKER_STATE_READY: _ClassVar[WorkerState]
    WORKER_STATE_FAILED: _ClassVar[WorkerState]

class LatencyMeasure(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LATENCY_MEASURE_UNSPECIFIED: _ClassVar[LatencyMeasure]
    LATENCY_MEASURE_FIRST_TOKEN: _ClassVar[LatencyMeasure]
    LATENCY_MEASURE_INTER_TOKEN: _ClassVar[LatencyMeasure]
    LATENCY_MEASURE_END_TO_END: _ClassVar[LatencyMeasure]

class TraceKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRACE_KIND_UNSPECIFIED: _ClassVar[TraceKind]
    TRACE_KIND_TOKENS: _ClassVar[TraceKind]
    TRACE_KIND_VECTOR: _ClassVar[TraceKind]
WORKER_STATE_UNSPECIFIED: WorkerState
WORKER_STATE_WARMING: WorkerState
WORKER_STATE_SPARE: WorkerState
WORKER_STATE_LOADING: WorkerState
WORKER_STATE_READY: WorkerState
WORKER_STATE_FAILED: WorkerState
LATENCY_MEASURE_UNSPECIFIED: LatencyMeasure
LATENCY_MEASURE_FIRST_TOKEN: LatencyMeasure
LATENCY_MEASURE_INTER_TOKEN: LatencyMeasure
LATENCY_MEASURE_END_TO_END: LatencyMeasure
TRACE_KIND_UNSPECIFIED: TraceKind
TRACE_KIND_TOKENS: TraceKind
TRACE_KIND_VECTOR: TraceKind

class LoadRequest(_message.Message):
    __slots__ = ("instance", "generation", "model_id", "version_id", "source_path", "dtype", "task", "context_length", "max_concurrency", "engine_options", "device_id", "weights_format", "source_digest", "source_root", "source_files", "kv_cache_bytes", "reserved_bytes", "engine_build", "further_device_ids")
    class EngineOptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    MODEL_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_PATH_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_LENGTH_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    ENGINE_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FORMAT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ROOT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FILES_FIELD_NUMBER: _ClassVar[int]
    KV_CACHE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESERVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    ENGINE_BUILD_FIELD_NUMBER: _ClassVar[int]
    FURTHER_DEVICE_IDS_FIELD_NUMBER: _ClassVar[int]
    instance: str
    generation: int
    model_id: str
    version_id: str
    source_path: str
    dtype: _types_pb2.Dtype
    task: _types_pb2.Task
    context_length: int
    max_concurrency: int
    engine_options: _containers.ScalarMap[str, str]
    device_id: str
    weights_format: str
    source_digest: str
    source_root: str
    source_files: _containers.RepeatedCompositeFieldContainer[SourceFile]
    kv_cache_bytes: int
    reserved_bytes: int
    engine_build: str
    further_device_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, instance: _Optional[str] = ..., generation: _Optional[int] = ..., model_id: _Optional[str] = ..., version_id: _Optional[str] = ..., source_path: _Optional[str] = ..., dtype: _Optional[_Union[_types_pb2.Dtype, str]] = ..., task: _Optional[_Union[_types_pb2.Task, str]] = ..., context_length: _Optional[int] = ..., max_concurrency: _Optional[int] = ..., engine_options: _Optional[_Mapping[str, str]] = ..., device_id: _Optional[str] = ..., weights_format: _Optional[str] = ..., source_digest: _Optional[str] = ..., source_root: _Optional[str] = ..., source_files: _Optional[_Iterable[_Union[SourceFile, _Mapping]]] = ..., kv_cache_bytes: _Optional[int] = ..., reserved_bytes: _Optional[int] = ..., engine_build: _Optional[str] = ..., further_device_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class SourceFile(_message.Message):
    __slots__ = ("name", "path", "size_bytes", "inode", "change_time_ns")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    INODE_FIELD_NUMBER: _ClassVar[int]
    CHANGE_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    name: str
    path: str
    size_bytes: int
    inode: int
    change_time_ns: int
    def __init__(self, name: _Optional[str] = ..., path: _Optional[str] = ..., size_bytes: _Optional[int] = ..., inode: _Optional[int] = ..., change_time_ns: _Optional[int] = ...) -> None: ...

class LoadResponse(_message.Message):
    __slots__ = ("tensor_bytes", "load_s", "signature", "engine_version", "engine_build")
    TENSOR_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOAD_S_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    ENGINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_BUILD_FIELD_NUMBER: _ClassVar[int]
    tensor_bytes: int
    load_s: float
    signature: _types_pb2.Signature
    engine_version: str
    engine_build: str
    def __init__(self, tensor_bytes: _Optional[int] = ..., load_s: _Optional[float] = ..., signature: _Optional[_Union[_types_pb2.Signature, _Mapping]] = ..., engine_version: _Optional[str] = ..., engine_build: _Optional[str] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("interval_s",)
    INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    interval_s: float
    def __init__(self, interval_s: _Optional[float] = ...) -> None: ...

class WorkerReport(_message.Message):
    __slots__ = ("instance", "generation", "state", "ok_count", "client_error_count", "server_error_count", "arrival_count", "in_flight_count", "seconds_since_last_arrival", "progress_count", "memory", "failure", "draining", "queued_count", "pid", "engine_version", "contract_version", "engine_kind", "counts_arrivals", "counts_errors", "has_histograms", "has_traces", "histograms", "start", "cpu_isa", "overload_count", "step_expected_s", "call_count", "engine_figures", "tokens")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OK_COUNT_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ERROR_COUNT_FIELD_NUMBER: _ClassVar[int]
    SERVER_ERROR_COUNT_FIELD_NUMBER: _ClassVar[int]
    ARRIVAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_COUNT_FIELD_NUMBER: _ClassVar[int]
    SECONDS_SINCE_LAST_ARRIVAL_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_COUNT_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    QUEUED_COUNT_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    ENGINE_VERSION_FIELD_NUMBER: _ClassVar[int]
    CONTRACT_VERSION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_KIND_FIELD_NUMBER: _ClassVar[int]
    COUNTS_ARRIVALS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_ERRORS_FIELD_NUMBER: _ClassVar[int]
    HAS_HISTOGRAMS_FIELD_NUMBER: _ClassVar[int]
    HAS_TRACES_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAMS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    CPU_ISA_FIELD_NUMBER: _ClassVar[int]
    OVERLOAD_COUNT_FIELD_NUMBER: _ClassVar[int]
    STEP_EXPECTED_S_FIELD_NUMBER: _ClassVar[int]
    CALL_COUNT_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIGURES_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    instance: str
    generation: int
    state: WorkerState
    ok_count: int
    client_error_count: int
    server_error_count: int
    arrival_count: int
    in_flight_count: int
    seconds_since_last_arrival: float
    progress_count: int
    memory: WorkerMemory
    failure: str
    draining: bool
    queued_count: int
    pid: int
    engine_version: str
    contract_version: int
    engine_kind: str
    counts_arrivals: bool
    counts_errors: bool
    has_histograms: bool
    has_traces: bool
    histograms: _containers.RepeatedCompositeFieldContainer[LatencyHistogram]
    start: StartProgress
    cpu_isa: str
    overload_count: int
    step_expected_s: float
    call_count: int
    engine_figures: EngineFigures
    tokens: TokenCounts
    def __init__(self, instance: _Optional[str] = ..., generation: _Optional[int] = ..., state: _Optional[_Union[WorkerState, str]] = ..., ok_count: _Optional[int] = ..., client_error_count: _Optional[int] = ..., server_error_count: _Optional[int] = ..., arrival_count: _Optional[int] = ..., in_flight_count: _Optional[int] = ..., seconds_since_last_arrival: _Optional[float] = ..., progress_count: _Optional[int] = ..., memory: _Optional[_Union[WorkerMemory, _Mapping]] = ..., failure: _Optional[str] = ..., draining: bool = ..., queued_count: _Optional[int] = ..., pid: _Optional[int] = ..., engine_version: _Optional[str] = ..., contract_version: _Optional[int] = ..., engine_kind: _Optional[str] = ..., counts_arrivals: bool = ..., counts_errors: bool = ..., has_histograms: bool = ..., has_traces: bool = ..., histograms: _Optional[_Iterable[_Union[LatencyHistogram, _Mapping]]] = ..., start: _Optional[_Union[StartProgress, _Mapping]] = ..., cpu_isa: _Optional[str] = ..., overload_count: _Optional[int] = ..., step_expected_s: _Optional[float] = ..., call_count: _Optional[int] = ..., engine_figures: _Optional[_Union[EngineFigures, _Mapping]] = ..., tokens: _Optional[_Union[TokenCounts, _Mapping]] = ...) -> None: ...

class TokenCounts(_message.Message):
    __slots__ = ("prompt_count", "generated_count")
    PROMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    GENERATED_COUNT_FIELD_NUMBER: _ClassVar[int]
    prompt_count: int
    generated_count: int
    def __init__(self, prompt_count: _Optional[int] = ..., generated_count: _Optional[int] = ...) -> None: ...

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

class LatencyHistogram(_message.Message):
    __slots__ = ("measure", "bounds_s", "counts", "sum_s")
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    BOUNDS_S_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    SUM_S_FIELD_NUMBER: _ClassVar[int]
    measure: LatencyMeasure
    bounds_s: _containers.RepeatedScalarFieldContainer[float]
    counts: _containers.RepeatedScalarFieldContainer[int]
    sum_s: float
    def __init__(self, measure: _Optional[_Union[LatencyMeasure, str]] = ..., bounds_s: _Optional[_Iterable[float]] = ..., counts: _Optional[_Iterable[int]] = ..., sum_s: _Optional[float] = ...) -> None: ...

class StartProgress(_message.Message):
    __slots__ = ("step", "count")
    STEP_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    step: str
    count: int
    def __init__(self, step: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class WorkerMemory(_message.Message):
    __slots__ = ("rss_bytes", "rss_anon_bytes", "rss_file_bytes", "peak_rss_bytes", "spare_rss_anon_bytes", "spare_rss_file_bytes", "load_peak_rss_bytes", "exercised_sequences", "exercised_tokens")
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    RSS_ANON_BYTES_FIELD_NUMBER: _ClassVar[int]
    RSS_FILE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PEAK_RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    SPARE_RSS_ANON_BYTES_FIELD_NUMBER: _ClassVar[int]
    SPARE_RSS_FILE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LOAD_PEAK_RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    EXERCISED_SEQUENCES_FIELD_NUMBER: _ClassVar[int]
    EXERCISED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    rss_bytes: int
    rss_anon_bytes: int
    rss_file_bytes: int
    peak_rss_bytes: int
    spare_rss_anon_bytes: int
    spare_rss_file_bytes: int
    load_peak_rss_bytes: int
    exercised_sequences: int
    exercised_tokens: int
    def __init__(self, rss_bytes: _Optional[int] = ..., rss_anon_bytes: _Optional[int] = ..., rss_file_bytes: _Optional[int] = ..., peak_rss_bytes: _Optional[int] = ..., spare_rss_anon_bytes: _Optional[int] = ..., spare_rss_file_bytes: _Optional[int] = ..., load_peak_rss_bytes: _Optional[int] = ..., exercised_sequences: _Optional[int] = ..., exercised_tokens: _Optional[int] = ...) -> None: ...

class WatchTracesRequest(_message.Message):
    __slots__ = ("fraction", "interval_s")
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_S_FIELD_NUMBER: _ClassVar[int]
    fraction: float
    interval_s: float
    def __init__(self, fraction: _Optional[float] = ..., interval_s: _Optional[float] = ...) -> None: ...

class TraceBatch(_message.Message):
    __slots__ = ("instance", "traces", "recorded_count", "dropped_count")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    TRACES_FIELD_NUMBER: _ClassVar[int]
    RECORDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DROPPED_COUNT_FIELD_NUMBER: _ClassVar[int]
    instance: str
    traces: _containers.RepeatedCompositeFieldContainer[Trace]
    recorded_count: int
    dropped_count: int
    def __init__(self, instance: _Optional[str] = ..., traces: _Optional[_Iterable[_Union[Trace, _Mapping]]] = ..., recorded_count: _Optional[int] = ..., dropped_count: _Optional[int] = ...) -> None: ...

class Trace(_message.Message):
    __slots__ = ("ended_s", "kind", "prompt_tokens", "log_probabilities", "entropies", "positions", "features", "flags", "conversation", "probe", "digest", "max_tokens", "prompt_class")
    ENDED_S_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LOG_PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    ENTROPIES_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_CLASS_FIELD_NUMBER: _ClassVar[int]
    ended_s: float
    kind: TraceKind
    prompt_tokens: int
    log_probabilities: _containers.RepeatedScalarFieldContainer[float]
    entropies: _containers.RepeatedScalarFieldContainer[float]
    positions: _containers.RepeatedScalarFieldContainer[int]
    features: _containers.RepeatedScalarFieldContainer[float]
    flags: int
    conversation: str
    probe: bool
    digest: int
    max_tokens: int
    prompt_class: str
    def __init__(self, ended_s: _Optional[float] = ..., kind: _Optional[_Union[TraceKind, str]] = ..., prompt_tokens: _Optional[int] = ..., log_probabilities: _Optional[_Iterable[float]] = ..., entropies: _Optional[_Iterable[float]] = ..., positions: _Optional[_Iterable[int]] = ..., features: _Optional[_Iterable[float]] = ..., flags: _Optional[int] = ..., conversation: _Optional[str] = ..., probe: bool = ..., digest: _Optional[int] = ..., max_tokens: _Optional[int] = ..., prompt_class: _Optional[str] = ...) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ("generation", "undo")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    UNDO_FIELD_NUMBER: _ClassVar[int]
    generation: int
    undo: bool
    def __init__(self, generation: _Optional[int] = ..., undo: bool = ...) -> None: ...

class DrainResponse(_message.Message):
    __slots__ = ("in_flight_count",)
    IN_FLIGHT_COUNT_FIELD_NUMBER: _ClassVar[int]
    in_flight_count: int
    def __init__(self, in_flight_count: _Optional[int] = ...) -> None: ...

class ShutdownRequest(_message.Message):
    __slots__ = ("grace_s", "generation")
    GRACE_S_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    grace_s: float
    generation: int
    def __init__(self, grace_s: _Optional[float] = ..., generation: _Optional[int] = ...) -> None: ...

class ShutdownResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
