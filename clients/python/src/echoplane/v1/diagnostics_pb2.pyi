from echoplane._third_party import validate_pb2 as _validate_pb2
from echoplane.v1 import plans_pb2 as _plans_pb2
from echoplane.v1 import rollouts_pb2 as _rollouts_pb2
from echoplane.v1 import types_pb2 as _types_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GatewayState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GATEWAY_STATE_UNSPECIFIED: _ClassVar[GatewayState]
    GATEWAY_STATE_OFF: _ClassVar[GatewayState]
    GATEWAY_STATE_STARTING: _ClassVar[GatewayState]
    GATEWAY_STATE_SERVING: _ClassVar[GatewayState]
    GATEWAY_STATE_WAITING: _ClassVar[GatewayState]
    GATEWAY_STATE_STOPPED: _ClassVar[GatewayState]

class CountSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COUNT_SOURCE_UNSPECIFIED: _ClassVar[CountSource]
    COUNT_SOURCE_LRS: _ClassVar[CountSource]
    COUNT_SOURCE_WORKER: _ClassVar[CountSource]

class LatencyMeasure(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LATENCY_MEASURE_UNSPECIFIED: _ClassVar[LatencyMeasure]
    LATENCY_MEASURE_FIRST_TOKEN: _ClassVar[LatencyMeasure]
    LATENCY_MEASURE_INTER_TOKEN: _ClassVar[LatencyMeasure]
    LATENCY_MEASURE_END_TO_END: _ClassVar[LatencyMeasure]
GATEWAY_STATE_UNSPECIFIED: GatewayState
GATEWAY_STATE_OFF: GatewayState
GATEWAY_STATE_STARTING: GatewayState
GATEWAY_STATE_SERVING: GatewayState
GATEWAY_STATE_WAITING: GatewayState
GATEWAY_STATE_STOPPED: GatewayState
COUNT_SOURCE_UNSPECIFIED: CountSource
COUNT_SOURCE_LRS: CountSource
COUNT_SOURCE_WORKER: CountSource
LATENCY_MEASURE_UNSPECIFIED: LatencyMeasure
LATENCY_MEASURE_FIRST_TOKEN: LatencyMeasure
LATENCY_MEASURE_INTER_TOKEN: LatencyMeasure
LATENCY_MEASURE_END_TO_END: LatencyMeasure

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("daemon_version", "uptime", "start_time", "devices", "models", "open_operations", "active_rollouts", "store_writable", "xds", "alarms", "gateway", "engines")
    DAEMON_VERSION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    OPEN_OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_ROLLOUTS_FIELD_NUMBER: _ClassVar[int]
    STORE_WRITABLE_FIELD_NUMBER: _ClassVar[int]
    XDS_FIELD_NUMBER: _ClassVar[int]
    ALARMS_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    ENGINES_FIELD_NUMBER: _ClassVar[int]
    daemon_version: str
    uptime: _duration_pb2.Duration
    start_time: _timestamp_pb2.Timestamp
    devices: _containers.RepeatedCompositeFieldContainer[DeviceSummary]
    models: _containers.RepeatedCompositeFieldContainer[ModelSummary]
    open_operations: _containers.RepeatedScalarFieldContainer[str]
    active_rollouts: _containers.RepeatedCompositeFieldContainer[RolloutSummary]
    store_writable: bool
    xds: XdsCounts
    alarms: _containers.RepeatedScalarFieldContainer[str]
    gateway: GatewayStatus
    engines: _containers.RepeatedCompositeFieldContainer[EngineSummary]
    def __init__(self, daemon_version: _Optional[str] = ..., uptime: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., devices: _Optional[_Iterable[_Union[DeviceSummary, _Mapping]]] = ..., models: _Optional[_Iterable[_Union[ModelSummary, _Mapping]]] = ..., open_operations: _Optional[_Iterable[str]] = ..., active_rollouts: _Optional[_Iterable[_Union[RolloutSummary, _Mapping]]] = ..., store_writable: bool = ..., xds: _Optional[_Union[XdsCounts, _Mapping]] = ..., alarms: _Optional[_Iterable[str]] = ..., gateway: _Optional[_Union[GatewayStatus, _Mapping]] = ..., engines: _Optional[_Iterable[_Union[EngineSummary, _Mapping]]] = ...) -> None: ...

class EngineSummary(_message.Message):
    __slots__ = ("kind", "version", "configured", "problem", "formats")
    KIND_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CONFIGURED_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    FORMATS_FIELD_NUMBER: _ClassVar[int]
    kind: str
    version: str
    configured: bool
    problem: str
    formats: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, kind: _Optional[str] = ..., version: _Optional[str] = ..., configured: bool = ..., problem: _Optional[str] = ..., formats: _Optional[_Iterable[str]] = ...) -> None: ...

class GatewayStatus(_message.Message):
    __slots__ = ("state", "listen_address", "pid", "restart_count", "last_failure", "certificate_expire_time")
    STATE_FIELD_NUMBER: _ClassVar[int]
    LISTEN_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    RESTART_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_FAILURE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    state: GatewayState
    listen_address: str
    pid: int
    restart_count: int
    last_failure: str
    certificate_expire_time: _timestamp_pb2.Timestamp
    def __init__(self, state: _Optional[_Union[GatewayState, str]] = ..., listen_address: _Optional[str] = ..., pid: _Optional[int] = ..., restart_count: _Optional[int] = ..., last_failure: _Optional[str] = ..., certificate_expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DeviceSummary(_message.Message):
    __slots__ = ("device_id", "capacity_bytes", "reserved_bytes", "free_bytes", "available_bytes", "foreign_bytes")
    DEVICE_ID_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESERVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FOREIGN_BYTES_FIELD_NUMBER: _ClassVar[int]
    device_id: str
    capacity_bytes: int
    reserved_bytes: int
    free_bytes: int
    available_bytes: int
    foreign_bytes: int
    def __init__(self, device_id: _Optional[str] = ..., capacity_bytes: _Optional[int] = ..., reserved_bytes: _Optional[int] = ..., free_bytes: _Optional[int] = ..., available_bytes: _Optional[int] = ..., foreign_bytes: _Optional[int] = ...) -> None: ...

class ModelSummary(_message.Message):
    __slots__ = ("name", "serving_version", "health", "version_count", "ready_instance_count", "rollout")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SERVING_VERSION_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    VERSION_COUNT_FIELD_NUMBER: _ClassVar[int]
    READY_INSTANCE_COUNT_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    name: str
    serving_version: str
    health: _types_pb2.HealthState
    version_count: int
    ready_instance_count: int
    rollout: str
    def __init__(self, name: _Optional[str] = ..., serving_version: _Optional[str] = ..., health: _Optional[_Union[_types_pb2.HealthState, str]] = ..., version_count: _Optional[int] = ..., ready_instance_count: _Optional[int] = ..., rollout: _Optional[str] = ...) -> None: ...

class RolloutSummary(_message.Message):
    __slots__ = ("name", "phase", "stage", "stage_count", "held_reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    HELD_REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    phase: _rollouts_pb2.RolloutPhase
    stage: int
    stage_count: int
    held_reason: str
    def __init__(self, name: _Optional[str] = ..., phase: _Optional[_Union[_rollouts_pb2.RolloutPhase, str]] = ..., stage: _Optional[int] = ..., stage_count: _Optional[int] = ..., held_reason: _Optional[str] = ...) -> None: ...

class GetMetricsRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class GetMetricsResponse(_message.Message):
    __slots__ = ("time", "versions", "loads", "cache_hit_count", "cache_miss_count", "xds")
    TIME_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    LOADS_FIELD_NUMBER: _ClassVar[int]
    CACHE_HIT_COUNT_FIELD_NUMBER: _ClassVar[int]
    CACHE_MISS_COUNT_FIELD_NUMBER: _ClassVar[int]
    XDS_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    versions: _containers.RepeatedCompositeFieldContainer[VersionMetrics]
    loads: LoadCounts
    cache_hit_count: int
    cache_miss_count: int
    xds: XdsCounts
    def __init__(self, time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., versions: _Optional[_Iterable[_Union[VersionMetrics, _Mapping]]] = ..., loads: _Optional[_Union[LoadCounts, _Mapping]] = ..., cache_hit_count: _Optional[int] = ..., cache_miss_count: _Optional[int] = ..., xds: _Optional[_Union[XdsCounts, _Mapping]] = ...) -> None: ...

class LoadCounts(_message.Message):
    __slots__ = ("succeeded_count", "failed_count", "refused_count", "cancelled_count", "cached_count")
    SUCCEEDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REFUSED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CACHED_COUNT_FIELD_NUMBER: _ClassVar[int]
    succeeded_count: int
    failed_count: int
    refused_count: int
    cancelled_count: int
    cached_count: int
    def __init__(self, succeeded_count: _Optional[int] = ..., failed_count: _Optional[int] = ..., refused_count: _Optional[int] = ..., cancelled_count: _Optional[int] = ..., cached_count: _Optional[int] = ...) -> None: ...

class XdsCounts(_message.Message):
    __slots__ = ("stream_count", "push_count", "ack_count", "nack_count")
    STREAM_COUNT_FIELD_NUMBER: _ClassVar[int]
    PUSH_COUNT_FIELD_NUMBER: _ClassVar[int]
    ACK_COUNT_FIELD_NUMBER: _ClassVar[int]
    NACK_COUNT_FIELD_NUMBER: _ClassVar[int]
    stream_count: int
    push_count: int
    ack_count: int
    nack_count: int
    def __init__(self, stream_count: _Optional[int] = ..., push_count: _Optional[int] = ..., ack_count: _Optional[int] = ..., nack_count: _Optional[int] = ...) -> None: ...

class RequestCounts(_message.Message):
    __slots__ = ("source", "ok_count", "client_error_count", "server_error_count", "in_flight_count", "arrival_count", "report_time", "overload_count")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    OK_COUNT_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ERROR_COUNT_FIELD_NUMBER: _ClassVar[int]
    SERVER_ERROR_COUNT_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_COUNT_FIELD_NUMBER: _ClassVar[int]
    ARRIVAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    REPORT_TIME_FIELD_NUMBER: _ClassVar[int]
    OVERLOAD_COUNT_FIELD_NUMBER: _ClassVar[int]
    source: CountSource
    ok_count: int
    client_error_count: int
    server_error_count: int
    in_flight_count: int
    arrival_count: int
    report_time: _timestamp_pb2.Timestamp
    overload_count: int
    def __init__(self, source: _Optional[_Union[CountSource, str]] = ..., ok_count: _Optional[int] = ..., client_error_count: _Optional[int] = ..., server_error_count: _Optional[int] = ..., in_flight_count: _Optional[int] = ..., arrival_count: _Optional[int] = ..., report_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., overload_count: _Optional[int] = ...) -> None: ...

class VersionMetrics(_message.Message):
    __slots__ = ("version", "weight_ppm", "requests", "predicted_bytes", "upper_bytes", "measured_bytes", "cache_hit_count", "cache_miss_count", "load_duration", "restart_count", "latencies")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_PPM_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_BYTES_FIELD_NUMBER: _ClassVar[int]
    UPPER_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEASURED_BYTES_FIELD_NUMBER: _ClassVar[int]
    CACHE_HIT_COUNT_FIELD_NUMBER: _ClassVar[int]
    CACHE_MISS_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOAD_DURATION_FIELD_NUMBER: _ClassVar[int]
    RESTART_COUNT_FIELD_NUMBER: _ClassVar[int]
    LATENCIES_FIELD_NUMBER: _ClassVar[int]
    version: str
    weight_ppm: int
    requests: _containers.RepeatedCompositeFieldContainer[RequestCounts]
    predicted_bytes: int
    upper_bytes: int
    measured_bytes: int
    cache_hit_count: int
    cache_miss_count: int
    load_duration: _duration_pb2.Duration
    restart_count: int
    latencies: _containers.RepeatedCompositeFieldContainer[LatencyHistogram]
    def __init__(self, version: _Optional[str] = ..., weight_ppm: _Optional[int] = ..., requests: _Optional[_Iterable[_Union[RequestCounts, _Mapping]]] = ..., predicted_bytes: _Optional[int] = ..., upper_bytes: _Optional[int] = ..., measured_bytes: _Optional[int] = ..., cache_hit_count: _Optional[int] = ..., cache_miss_count: _Optional[int] = ..., load_duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., restart_count: _Optional[int] = ..., latencies: _Optional[_Iterable[_Union[LatencyHistogram, _Mapping]]] = ...) -> None: ...

class LatencyHistogram(_message.Message):
    __slots__ = ("measure", "upper_bounds_s", "counts", "sum_s")
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    UPPER_BOUNDS_S_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    SUM_S_FIELD_NUMBER: _ClassVar[int]
    measure: LatencyMeasure
    upper_bounds_s: _containers.RepeatedScalarFieldContainer[float]
    counts: _containers.RepeatedScalarFieldContainer[int]
    sum_s: float
    def __init__(self, measure: _Optional[_Union[LatencyMeasure, str]] = ..., upper_bounds_s: _Optional[_Iterable[float]] = ..., counts: _Optional[_Iterable[int]] = ..., sum_s: _Optional[float] = ...) -> None: ...

class GetUsageRequest(_message.Message):
    __slots__ = ("model", "client")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    model: str
    client: str
    def __init__(self, model: _Optional[str] = ..., client: _Optional[str] = ...) -> None: ...

class GetUsageResponse(_message.Message):
    __slots__ = ("time", "start_time", "usages", "tokens", "uncounted_versions")
    TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    USAGES_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    UNCOUNTED_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    usages: _containers.RepeatedCompositeFieldContainer[ClientUsage]
    tokens: _containers.RepeatedCompositeFieldContainer[TokenUsage]
    uncounted_versions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., usages: _Optional[_Iterable[_Union[ClientUsage, _Mapping]]] = ..., tokens: _Optional[_Iterable[_Union[TokenUsage, _Mapping]]] = ..., uncounted_versions: _Optional[_Iterable[str]] = ...) -> None: ...

class ClientUsage(_message.Message):
    __slots__ = ("client", "version", "request_count", "ok_count", "client_error_count", "server_error_count", "unanswered_count", "duration", "received_bytes", "sent_bytes")
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_COUNT_FIELD_NUMBER: _ClassVar[int]
    OK_COUNT_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ERROR_COUNT_FIELD_NUMBER: _ClassVar[int]
    SERVER_ERROR_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNANSWERED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    SENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    client: str
    version: str
    request_count: int
    ok_count: int
    client_error_count: int
    server_error_count: int
    unanswered_count: int
    duration: _duration_pb2.Duration
    received_bytes: int
    sent_bytes: int
    def __init__(self, client: _Optional[str] = ..., version: _Optional[str] = ..., request_count: _Optional[int] = ..., ok_count: _Optional[int] = ..., client_error_count: _Optional[int] = ..., server_error_count: _Optional[int] = ..., unanswered_count: _Optional[int] = ..., duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., received_bytes: _Optional[int] = ..., sent_bytes: _Optional[int] = ...) -> None: ...

class TokenUsage(_message.Message):
    __slots__ = ("version", "generated_count", "prompt_count")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    GENERATED_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    version: str
    generated_count: int
    prompt_count: int
    def __init__(self, version: _Optional[str] = ..., generated_count: _Optional[int] = ..., prompt_count: _Optional[int] = ...) -> None: ...

class ExplainRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("name", "summary", "decisions", "refusals", "behaviour")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    BEHAVIOUR_FIELD_NUMBER: _ClassVar[int]
    name: str
    summary: str
    decisions: _containers.RepeatedCompositeFieldContainer[Decision]
    refusals: _containers.RepeatedCompositeFieldContainer[Refusal]
    behaviour: _rollouts_pb2.BehaviourReport
    def __init__(self, name: _Optional[str] = ..., summary: _Optional[str] = ..., decisions: _Optional[_Iterable[_Union[Decision, _Mapping]]] = ..., refusals: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ..., behaviour: _Optional[_Union[_rollouts_pb2.BehaviourReport, _Mapping]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("time", "first_time", "node", "type_url", "resources", "message", "counted", "count")
    TIME_FIELD_NUMBER: _ClassVar[int]
    FIRST_TIME_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    TYPE_URL_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    COUNTED_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    first_time: _timestamp_pb2.Timestamp
    node: str
    type_url: str
    resources: _containers.RepeatedScalarFieldContainer[str]
    message: str
    counted: bool
    count: int
    def __init__(self, time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., first_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., node: _Optional[str] = ..., type_url: _Optional[str] = ..., resources: _Optional[_Iterable[str]] = ..., message: _Optional[str] = ..., counted: bool = ..., count: _Optional[int] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("time", "subject", "kind", "text", "verdict", "plan", "evidence")
    TIME_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    subject: str
    kind: str
    text: str
    verdict: _rollouts_pb2.Verdict
    plan: _plans_pb2.Plan
    evidence: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., subject: _Optional[str] = ..., kind: _Optional[str] = ..., text: _Optional[str] = ..., verdict: _Optional[_Union[_rollouts_pb2.Verdict, _Mapping]] = ..., plan: _Optional[_Union[_plans_pb2.Plan, _Mapping]] = ..., evidence: _Optional[_Iterable[str]] = ...) -> None: ...

class WatchEventsRequest(_message.Message):
    __slots__ = ("resume_token", "model")
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    resume_token: str
    model: str
    def __init__(self, resume_token: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class ModelEvent(_message.Message):
    __slots__ = ("resume_token", "sequence", "time", "subject", "kind", "text")
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    resume_token: str
    sequence: int
    time: _timestamp_pb2.Timestamp
    subject: str
    kind: str
    text: str
    def __init__(self, resume_token: _Optional[str] = ..., sequence: _Optional[int] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., subject: _Optional[str] = ..., kind: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class GetHealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetHealthResponse(_message.Message):
    __slots__ = ("state", "reasons", "daemon_version")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    DAEMON_VERSION_FIELD_NUMBER: _ClassVar[int]
    state: _types_pb2.HealthState
    reasons: _containers.RepeatedScalarFieldContainer[str]
    daemon_version: str
    def __init__(self, state: _Optional[_Union[_types_pb2.HealthState, str]] = ..., reasons: _Optional[_Iterable[str]] = ..., daemon_version: _Optional[str] = ...) -> None: ...
