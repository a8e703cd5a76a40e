"""The two lifecycles as literal tables. A missing cell: a stale or repeated event, which changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from echoplaned.core.state import InstanceState, Phase


class InstanceSignal(StrEnum):
    """What moves an instance. RESTARTED: its process has gone and its outcome is another one."""

    RESERVED = "RESERVED"
    REFUSED = "REFUSED"
    READY = "READY"
    PROBES_PASSED = "PROBES_PASSED"
    PROBES_FAILED = "PROBES_FAILED"
    LOST = "LOST"
    STUCK = "STUCK"
    GAVE_UP = "GAVE_UP"
    DRAIN = "DRAIN"
    UNDRAIN = "UNDRAIN"
    DRAINED = "DRAINED"
    STOPPED = "STOPPED"
    RESTARTED = "RESTARTED"


# The tables are read by columns, so names are short.
I, P, S = InstanceState, Phase, InstanceSignal  # noqa: E741 - as the comment says

INSTANCE_TABLE: Mapping[InstanceState, Mapping[InstanceSignal, InstanceState]] = MappingProxyType(
    {
        I.PENDING: {S.RESERVED: I.STARTING, S.REFUSED: I.GONE, S.DRAIN: I.GONE},
        I.STARTING: {
            S.READY: I.PROBING,
            S.LOST: I.STARTING,
            S.STUCK: I.STOPPING,
            S.GAVE_UP: I.STOPPING,
            S.DRAIN: I.STOPPING,
        },
        I.PROBING: {
            S.PROBES_PASSED: I.READY,
            S.PROBES_FAILED: I.STOPPING,
            S.LOST: I.STARTING,
            S.STUCK: I.STOPPING,
            S.GAVE_UP: I.STOPPING,
            S.DRAIN: I.STOPPING,
        },
        I.READY: {
            S.PROBES_PASSED: I.READY,
            S.PROBES_FAILED: I.STOPPING,
            S.LOST: I.STARTING,
            S.STUCK: I.STOPPING,
            S.GAVE_UP: I.STOPPING,
            S.DRAIN: I.DRAINING,
        },
        I.DRAINING: {
            S.LOST: I.STOPPING,
            S.STUCK: I.STOPPING,
            S.GAVE_UP: I.STOPPING,
            S.UNDRAIN: I.READY,
            S.DRAINED: I.STOPPING,
        },
        I.STOPPING: {S.LOST: I.STOPPING, S.GAVE_UP: I.STOPPING, S.STOPPED: I.GONE, S.RESTARTED: I.STARTING},
        I.GONE: {},
    }
)


class RolloutSignal(StrEnum):
    """What moves a rollout. PASS_LAST: PASS in the last stage. OLD_GONE: the old version is down for good.

    REVERTED: the revert's routes are acknowledged, or its deadline came, and the old version is READY.
    """

    NEW_READY = "NEW_READY"
    NEW_FAILED = "NEW_FAILED"
    INTRODUCED = "INTRODUCED"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    PASS = "PASS"  # noqa: S105 - a signal, not a password
    PASS_LAST = "PASS_LAST"  # noqa: S105 - as above
    FAIL = "FAIL"
    ABORT = "ABORT"
    REFUSED = "REFUSED"
    EXPIRED = "EXPIRED"
    NEW_LOST = "NEW_LOST"
    OLD_LOST = "OLD_LOST"
    BOTH_LOST = "BOTH_LOST"
    BACK = "BACK"
    OLD_GONE = "OLD_GONE"
    BOTH_GONE = "BOTH_GONE"
    SOAKED = "SOAKED"
    REVERTED = "REVERTED"
    OLD_AT_REST = "OLD_AT_REST"
    NEW_AT_REST = "NEW_AT_REST"
    RECOVERED = "RECOVERED"
    DELETE = "DELETE"


R = RolloutSignal

_TRAFFIC_TROUBLE: Mapping[RolloutSignal, Phase] = MappingProxyType(
    {
        R.FAIL: P.REVERTING,
        R.ABORT: P.REVERTING,
        R.REFUSED: P.REVERTING,
        R.EXPIRED: P.REVERTING,
        R.NEW_LOST: P.REVERTING,
        R.OLD_GONE: P.FAILED,
        R.DELETE: P.CLEANING,
    }
)

ROLLOUT_TABLE: Mapping[Phase, Mapping[RolloutSignal, Phase]] = MappingProxyType(
    {
        P.PREPARING: {
            R.NEW_READY: P.SHIFTING,
            R.NEW_FAILED: P.CLEANING,
            R.ABORT: P.CLEANING,
            R.EXPIRED: P.CLEANING,
            R.OLD_GONE: P.FAILED,
            R.DELETE: P.CLEANING,
            R.RECOVERED: P.PREPARING,
        },
        P.SHIFTING: {
            **_TRAFFIC_TROUBLE,
            R.INTRODUCED: P.SHIFTING,
            R.ACKNOWLEDGED: P.OBSERVING,
            R.OLD_LOST: P.SHIFTING,
            R.BOTH_LOST: P.SHIFTING,
            R.BACK: P.SHIFTING,
            R.RECOVERED: P.SHIFTING,
        },
        P.OBSERVING: {
            **_TRAFFIC_TROUBLE,
            R.PASS: P.SHIFTING,
            R.PASS_LAST: P.SOAKING,
            R.OLD_LOST: P.OBSERVING,
            R.BOTH_LOST: P.OBSERVING,
            R.BACK: P.SHIFTING,
            R.RECOVERED: P.SHIFTING,
        },
        P.SOAKING: {
            **_TRAFFIC_TROUBLE,
            R.SOAKED: P.RELEASING,
            R.OLD_LOST: P.SOAKING,
            R.BOTH_LOST: P.SOAKING,
            R.BACK: P.SOAKING,
            R.RECOVERED: P.SOAKING,
        },
        P.RELEASING: {
            R.OLD_AT_REST: P.SUCCEEDED,
            R.NEW_LOST: P.REVERTING,
            R.DELETE: P.CLEANING,
            R.RECOVERED: P.RELEASING,
        },
        P.REVERTING: {
            R.REVERTED: P.CLEANING,
            R.OLD_GONE: P.FAILED,
            R.BOTH_GONE: P.CLEANING,
            R.DELETE: P.CLEANING,
            R.RECOVERED: P.REVERTING,
        },
        P.CLEANING: {R.NEW_AT_REST: P.ROLLED_BACK, R.DELETE: P.CLEANING, R.RECOVERED: P.CLEANING},
        P.SUCCEEDED: {},
        P.ROLLED_BACK: {},
        P.FAILED: {},
        P.DELETED: {},
    }
)
"""CLEANING ends in the rollout's ``outcome`` (ROLLED_BACK, FAILED or DELETED), which was set when it was entered."""
