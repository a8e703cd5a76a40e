from echoplane._third_party import validate_pb2 as _validate_pb2
from echoplane.v1 import types_pb2 as _types_pb2
from google.api import resource_pb2 as _resource_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OnExpire(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_EXPIRE_UNSPECIFIED: _ClassVar[OnExpire]
    ON_EXPIRE_ROLL_BACK: _ClassVar[OnExpire]
    ON_EXPIRE_HOLD: _ClassVar[OnExpire]

class EchoPreset(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ECHO_PRESET_UNSPECIFIED: _ClassVar[EchoPreset]
    ECHO_PRESET_SAME_WEIGHTS: _ClassVar[EchoPreset]
    ECHO_PRESET_QUANTISED: _ClassVar[EchoPreset]
    ECHO_PRESET_FINE_TUNED: _ClassVar[EchoPreset]

class RolloutPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLLOUT_PHASE_UNSPECIFIED: _ClassVar[RolloutPhase]
    ROLLOUT_PHASE_PREPARING: _ClassVar[RolloutPhase]
    ROLLOUT_PHASE_SHIFTING: _ClassVar[RolloutPhase]
    ROLLOUT_PHASE_OBSERVING: _ClassVar[RolloutPhase]
    ROLLOUT_PHASE_SOAKING: _ClassVar[RolloutPhase]
    ROLLOUT_PHASE_RELEASING: _ClassVar[RolloutPhase]
    ROLLOUT_PHASE_REVERTING: _ClassVar[RolloutPhase]
    ROLLOUT_PHASE_CLEANING: _ClassVar[RolloutPhase]
    ROLLOUT_PHASE_DONE: _ClassVar[RolloutPhase]

class RolloutOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLLOUT_OUTCOME_UNSPECIFIED: _ClassVar[RolloutOutcome]
    ROLLOUT_OUTCOME_SUCCEEDED: _ClassVar[RolloutOutcome]
    ROLLOUT_OUTCOME_ROLLED_BACK: _ClassVar[RolloutOutcome]
    ROLLOUT_OUTCOME_FAILED: _ClassVar[RolloutOutcome]
    ROLLOUT_OUTCOME_DELETED: _ClassVar[RolloutOutcome]
ON_EXPIRE_UNSPECIFIED: OnExpire
ON_EXPIRE_ROLL_BACK: OnExpire
ON_EXPIRE_HOLD: OnExpire
ECHO_PRESET_UNSPECIFIED: EchoPreset
ECHO_PRESET_SAME_WEIGHTS: EchoPreset
ECHO_PRESET_QUANTISED: EchoPreset
ECHO_PRESET_FINE_TUNED: EchoPreset
ROLLOUT_PHASE_UNSPECIFIED: RolloutPhase
ROLLOUT_PHASE_PREPARING: RolloutPhase
ROLLOUT_PHASE_SHIFTING: RolloutPhase
ROLLOUT_PHASE_OBSERVING: RolloutPhase
ROLLOUT_PHASE_SOAKING: RolloutPhase
ROLLOUT_PHASE_RELEASING: RolloutPhase
ROLLOUT_PHASE_REVERTING: RolloutPhase
ROLLOUT_PHASE_CLEANING: RolloutPhase
ROLLOUT_PHASE_DONE: RolloutPhase
ROLLOUT_OUTCOME_UNSPECIFIED: RolloutOutcome
ROLLOUT_OUTCOME_SUCCEEDED: RolloutOutcome
ROLLOUT_OUTCOME_ROLLED_BACK: RolloutOutcome
ROLLOUT_OUTCOME_FAILED: RolloutOutcome
ROLLOUT_OUTCOME_DELETED: RolloutOutcome

class RolloutPolicy(_message.Message):
    __slots__ = ("name", "stages_percent", "extended_stages_percent", "stage_min_s", "stage_max_s", "soak_s", "max_error_increase", "confidence", "alpha", "slo_error_rate", "probe_count", "ack_timeout_s", "revert_timeout_s", "drain_timeout_s", "prepare_timeout_s", "on_expire", "echo")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STAGES_PERCENT_FIELD_NUMBER: _ClassVar[int]
    EXTENDED_STAGES_PERCENT_FIELD_NUMBER: _ClassVar[int]
    STAGE_MIN_S_FIELD_NUMBER: _ClassVar[int]
    STAGE_MAX_S_FIELD_NUMBER: _ClassVar[int]
    SOAK_S_FIELD_NUMBER: _ClassVar[int]
    MAX_ERROR_INCREASE_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    SLO_ERROR_RATE_FIELD_NUMBER: _ClassVar[int]
    PROBE_COUNT_FIELD_NUMBER: _ClassVar[int]
    ACK_TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    REVERT_TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    DRAIN_TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    PREPARE_TIMEOUT_S_FIELD_NUMBER: _ClassVar[int]
    ON_EXPIRE_FIELD_NUMBER: _ClassVar[int]
    ECHO_FIELD_NUMBER: _ClassVar[int]
    name: str
    stages_percent: _containers.RepeatedScalarFieldContainer[int]
    extended_stages_percent: _containers.RepeatedScalarFieldContainer[int]
    stage_min_s: float
    stage_max_s: float
    soak_s: float
    max_error_increase: float
    confidence: float
    alpha: float
    slo_error_rate: float
    probe_count: int
    ack_timeout_s: float
    revert_timeout_s: float
    drain_timeout_s: float
    prepare_timeout_s: float
    on_expire: OnExpire
    echo: EchoPolicy
    def __init__(self, name: _Optional[str] = ..., stages_percent: _Optional[_Iterable[int]] = ..., extended_stages_percent: _Optional[_Iterable[int]] = ..., stage_min_s: _Optional[float] = ..., stage_max_s: _Optional[float] = ..., soak_s: _Optional[float] = ..., max_error_increase: _Optional[float] = ..., confidence: _Optional[float] = ..., alpha: _Optional[float] = ..., slo_error_rate: _Optional[float] = ..., probe_count: _Optional[int] = ..., ack_timeout_s: _Optional[float] = ..., revert_timeout_s: _Optional[float] = ..., drain_timeout_s: _Optional[float] = ..., prepare_timeout_s: _Optional[float] = ..., on_expire: _Optional[_Union[OnExpire, str]] = ..., echo: _Optional[_Union[EchoPolicy, _Mapping]] = ...) -> None: ...

class EchoPolicy(_message.Message):
    __slots__ = ("enabled", "max_kl_nats", "max_distance", "alpha", "prompt_count", "required", "preset")
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    MAX_KL_NATS_FIELD_NUMBER: _ClassVar[int]
    MAX_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    PROMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    PRESET_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    max_kl_nats: float
    max_distance: float
    alpha: float
    prompt_count: int
    required: bool
    preset: EchoPreset
    def __init__(self, enabled: bool = ..., max_kl_nats: _Optional[float] = ..., max_distance: _Optional[float] = ..., alpha: _Optional[float] = ..., prompt_count: _Optional[int] = ..., required: bool = ..., preset: _Optional[_Union[EchoPreset, str]] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("gate", "verdict", "reason", "confidence", "counts", "evidence", "stage", "window", "time", "behaviour")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[Verdict.Outcome]
        OUTCOME_PASS: _ClassVar[Verdict.Outcome]
        OUTCOME_HOLD: _ClassVar[Verdict.Outcome]
        OUTCOME_FAIL: _ClassVar[Verdict.Outcome]
    OUTCOME_UNSPECIFIED: Verdict.Outcome
    OUTCOME_PASS: Verdict.Outcome
    OUTCOME_HOLD: Verdict.Outcome
    OUTCOME_FAIL: Verdict.Outcome
    class Evidence(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        EVIDENCE_UNSPECIFIED: _ClassVar[Verdict.Evidence]
        EVIDENCE_LIVE: _ClassVar[Verdict.Evidence]
        EVIDENCE_PROBES: _ClassVar[Verdict.Evidence]
    EVIDENCE_UNSPECIFIED: Verdict.Evidence
    EVIDENCE_LIVE: Verdict.Evidence
    EVIDENCE_PROBES: Verdict.Evidence
    GATE_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    BEHAVIOUR_FIELD_NUMBER: _ClassVar[int]
    gate: str
    verdict: Verdict.Outcome
    reason: str
    confidence: float
    counts: GateCounts
    evidence: Verdict.Evidence
    stage: int
    window: int
    time: _timestamp_pb2.Timestamp
    behaviour: BehaviourReport
    def __init__(self, gate: _Optional[str] = ..., verdict: _Optional[_Union[Verdict.Outcome, str]] = ..., reason: _Optional[str] = ..., confidence: _Optional[float] = ..., counts: _Optional[_Union[GateCounts, _Mapping]] = ..., evidence: _Optional[_Union[Verdict.Evidence, str]] = ..., stage: _Optional[int] = ..., window: _Optional[int] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., behaviour: _Optional[_Union[BehaviourReport, _Mapping]] = ...) -> None: ...

class BehaviourReport(_message.Message):
    __slots__ = ("measure", "margin", "margin_source", "ceiling", "mean", "lower", "upper", "text_count", "distance_count", "clipped_count", "live_pair_count", "log_e_value", "paired_log_e_value", "live_log_e_value", "listeners", "moved", "text_distances", "log_e_path", "health", "described_pair_count")
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    MARGIN_SOURCE_FIELD_NUMBER: _ClassVar[int]
    CEILING_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    LOWER_FIELD_NUMBER: _ClassVar[int]
    UPPER_FIELD_NUMBER: _ClassVar[int]
    TEXT_COUNT_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_COUNT_FIELD_NUMBER: _ClassVar[int]
    CLIPPED_COUNT_FIELD_NUMBER: _ClassVar[int]
    LIVE_PAIR_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOG_E_VALUE_FIELD_NUMBER: _ClassVar[int]
    PAIRED_LOG_E_VALUE_FIELD_NUMBER: _ClassVar[int]
    LIVE_LOG_E_VALUE_FIELD_NUMBER: _ClassVar[int]
    LISTENERS_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    TEXT_DISTANCES_FIELD_NUMBER: _ClassVar[int]
    LOG_E_PATH_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    DESCRIBED_PAIR_COUNT_FIELD_NUMBER: _ClassVar[int]
    measure: str
    margin: float
    margin_source: str
    ceiling: float
    mean: float
    lower: float
    upper: float
    text_count: int
    distance_count: int
    clipped_count: int
    live_pair_count: int
    log_e_value: float
    paired_log_e_value: float
    live_log_e_value: float
    listeners: _containers.RepeatedCompositeFieldContainer[ListenerValue]
    moved: _containers.RepeatedCompositeFieldContainer[MovedText]
    text_distances: _containers.RepeatedScalarFieldContainer[float]
    log_e_path: _containers.RepeatedScalarFieldContainer[float]
    health: _containers.RepeatedScalarFieldContainer[str]
    described_pair_count: int
    def __init__(self, measure: _Optional[str] = ..., margin: _Optional[float] = ..., margin_source: _Optional[str] = ..., ceiling: _Optional[float] = ..., mean: _Optional[float] = ..., lower: _Optional[float] = ..., upper: _Optional[float] = ..., text_count: _Optional[int] = ..., distance_count: _Optional[int] = ..., clipped_count: _Optional[int] = ..., live_pair_count: _Optional[int] = ..., log_e_value: _Optional[float] = ..., paired_log_e_value: _Optional[float] = ..., live_log_e_value: _Optional[float] = ..., listeners: _Optional[_Iterable[_Union[ListenerValue, _Mapping]]] = ..., moved: _Optional[_Iterable[_Union[MovedText, _Mapping]]] = ..., text_distances: _Optional[_Iterable[float]] = ..., log_e_path: _Optional[_Iterable[float]] = ..., health: _Optional[_Iterable[str]] = ..., described_pair_count: _Optional[int] = ...) -> None: ...

class ListenerValue(_message.Message):
    __slots__ = ("name", "log_e_value", "votes", "mmd_squared", "mmd_p_value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LOG_E_VALUE_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    MMD_SQUARED_FIELD_NUMBER: _ClassVar[int]
    MMD_P_VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    log_e_value: float
    votes: bool
    mmd_squared: float
    mmd_p_value: float
    def __init__(self, name: _Optional[str] = ..., log_e_value: _Optional[float] = ..., votes: bool = ..., mmd_squared: _Optional[float] = ..., mmd_p_value: _Optional[float] = ...) -> None: ...

class MovedText(_message.Message):
    __slots__ = ("text", "distance")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    text: str
    distance: float
    def __init__(self, text: _Optional[str] = ..., distance: _Optional[float] = ...) -> None: ...

class GateCounts(_message.Message):
    __slots__ = ("old_request_count", "old_server_error_count", "old_client_error_count", "new_request_count", "new_server_error_count", "new_client_error_count", "probe_count", "probe_failure_count", "e_value", "error_increase_upper_bound", "observed_share_ppm", "probe_both_failure_count", "old_silent_request_count", "scored_text_count", "live_pair_count", "old_overload_count", "new_overload_count")
    OLD_REQUEST_COUNT_FIELD_NUMBER: _ClassVar[int]
    OLD_SERVER_ERROR_COUNT_FIELD_NUMBER: _ClassVar[int]
    OLD_CLIENT_ERROR_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEW_REQUEST_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEW_SERVER_ERROR_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEW_CLIENT_ERROR_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROBE_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROBE_FAILURE_COUNT_FIELD_NUMBER: _ClassVar[int]
    E_VALUE_FIELD_NUMBER: _ClassVar[int]
    ERROR_INCREASE_UPPER_BOUND_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_SHARE_PPM_FIELD_NUMBER: _ClassVar[int]
    PROBE_BOTH_FAILURE_COUNT_FIELD_NUMBER: _ClassVar[int]
    OLD_SILENT_REQUEST_COUNT_FIELD_NUMBER: _ClassVar[int]
    SCORED_TEXT_COUNT_FIELD_NUMBER: _ClassVar[int]
    LIVE_PAIR_COUNT_FIELD_NUMBER: _ClassVar[int]
    OLD_OVERLOAD_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEW_OVERLOAD_COUNT_FIELD_NUMBER: _ClassVar[int]
    old_request_count: int
    old_server_error_count: int
    old_client_error_count: int
    new_request_count: int
    new_server_error_count: int
    new_client_error_count: int
    probe_count: int
    probe_failure_count: int
    e_value: float
    error_increase_upper_bound: float
    observed_share_ppm: int
    probe_both_failure_count: int
    old_silent_request_count: int
    scored_text_count: int
    live_pair_count: int
    old_overload_count: int
    new_overload_count: int
    def __init__(self, old_request_count: _Optional[int] = ..., old_server_error_count: _Optional[int] = ..., old_client_error_count: _Optional[int] = ..., new_request_count: _Optional[int] = ..., new_server_error_count: _Optional[int] = ..., new_client_error_count: _Optional[int] = ..., probe_count: _Optional[int] = ..., probe_failure_count: _Optional[int] = ..., e_value: _Optional[float] = ..., error_increase_upper_bound: _Optional[float] = ..., observed_share_ppm: _Optional[int] = ..., probe_both_failure_count: _Optional[int] = ..., old_silent_request_count: _Optional[int] = ..., scored_text_count: _Optional[int] = ..., live_pair_count: _Optional[int] = ..., old_overload_count: _Optional[int] = ..., new_overload_count: _Optional[int] = ...) -> None: ...

class RolloutEvent(_message.Message):
    __slots__ = ("time", "sequence", "phase", "stage", "kind", "text", "verdict")
    TIME_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    sequence: int
    phase: RolloutPhase
    stage: int
    kind: str
    text: str
    verdict: Verdict
    def __init__(self, time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., sequence: _Optional[int] = ..., phase: _Optional[_Union[RolloutPhase, str]] = ..., stage: _Optional[int] = ..., kind: _Optional[str] = ..., text: _Optional[str] = ..., verdict: _Optional[_Union[Verdict, _Mapping]] = ...) -> None: ...

class Rollout(_message.Message):
    __slots__ = ("name", "from_version", "to_version", "policy", "stage", "phase", "held_reason", "desired", "acknowledged", "stale_subscribers", "verdicts", "history", "outcome", "outcome_reason", "paused", "behaviour_change", "subscriber_count", "acknowledged_count", "create_time", "stage_start_time", "update_time", "end_time", "operation", "stale_subscriber_count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FROM_VERSION_FIELD_NUMBER: _ClassVar[int]
    TO_VERSION_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    HELD_REASON_FIELD_NUMBER: _ClassVar[int]
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    STALE_SUBSCRIBERS_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_REASON_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    BEHAVIOUR_CHANGE_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    STAGE_START_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    STALE_SUBSCRIBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    from_version: str
    to_version: str
    policy: RolloutPolicy
    stage: int
    phase: RolloutPhase
    held_reason: str
    desired: _containers.RepeatedCompositeFieldContainer[_types_pb2.TrafficWeight]
    acknowledged: _containers.RepeatedCompositeFieldContainer[_types_pb2.TrafficWeight]
    stale_subscribers: _containers.RepeatedScalarFieldContainer[str]
    verdicts: _containers.RepeatedCompositeFieldContainer[Verdict]
    history: _containers.RepeatedCompositeFieldContainer[RolloutEvent]
    outcome: RolloutOutcome
    outcome_reason: str
    paused: bool
    behaviour_change: _types_pb2.BehaviourChange
    subscriber_count: int
    acknowledged_count: int
    create_time: _timestamp_pb2.Timestamp
    stage_start_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    operation: str
    stale_subscriber_count: int
    def __init__(self, name: _Optional[str] = ..., from_version: _Optional[str] = ..., to_version: _Optional[str] = ..., policy: _Optional[_Union[RolloutPolicy, _Mapping]] = ..., stage: _Optional[int] = ..., phase: _Optional[_Union[RolloutPhase, str]] = ..., held_reason: _Optional[str] = ..., desired: _Optional[_Iterable[_Union[_types_pb2.TrafficWeight, _Mapping]]] = ..., acknowledged: _Optional[_Iterable[_Union[_types_pb2.TrafficWeight, _Mapping]]] = ..., stale_subscribers: _Optional[_Iterable[str]] = ..., verdicts: _Optional[_Iterable[_Union[Verdict, _Mapping]]] = ..., history: _Optional[_Iterable[_Union[RolloutEvent, _Mapping]]] = ..., outcome: _Optional[_Union[RolloutOutcome, str]] = ..., outcome_reason: _Optional[str] = ..., paused: bool = ..., behaviour_change: _Optional[_Union[_types_pb2.BehaviourChange, str]] = ..., subscriber_count: _Optional[int] = ..., acknowledged_count: _Optional[int] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., stage_start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., operation: _Optional[str] = ..., stale_subscriber_count: _Optional[int] = ...) -> None: ...

class GetRolloutRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListRolloutsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListRolloutsResponse(_message.Message):
    __slots__ = ("rollouts", "next_page_token")
    ROLLOUTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    rollouts: _containers.RepeatedCompositeFieldContainer[Rollout]
    next_page_token: str
    def __init__(self, rollouts: _Optional[_Iterable[_Union[Rollout, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchRolloutRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class PauseRolloutRequest(_message.Message):
    __slots__ = ("name", "reason", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ResumeRolloutRequest(_message.Message):
    __slots__ = ("name", "reason", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class AbortRolloutRequest(_message.Message):
    __slots__ = ("name", "reason", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class PromoteRolloutRequest(_message.Message):
    __slots__ = ("name", "reason", "request_id", "stage")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    request_id: str
    stage: int
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ..., stage: _Optional[int] = ...) -> None: ...
