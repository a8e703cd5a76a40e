"""The two lifecycles, of instances and of rollouts, as literal tables.

They say where each signal leads, and what is done on the way. A missing cell: a stale or repeated event, which changes nothing. Where
each signal comes from is in ``signals.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from echoplaned.core.rollout_state import Hold, Phase
from echoplaned.core.state import InstanceState, StopOutcome


class InstanceSignal(StrEnum):
    """What moves an instance; ``signals.INSTANCE_ORIGINS`` says when each comes."""

    RESERVED = "RESERVED"
    REFUSED = "REFUSED"
    READY = "READY"
    PROBES_PASSED = "PROBES_PASSED"
    PROBES_FAILED = "PROBES_FAILED"
    LOST = "LOST"
    STUCK = "STUCK"
    SILENT = "SILENT"
    REPORTING = "REPORTING"
    GAVE_UP = "GAVE_UP"
    DRAIN = "DRAIN"
    UNDRAIN = "UNDRAIN"
    DRAINED = "DRAINED"
    STOPPED = "STOPPED"
    RESTARTED = "RESTARTED"


class InstanceAction(StrEnum):
    """What is done with an instance when it goes to the state of a cell."""

    RESERVE = "RESERVE"
    """Its bytes are taken."""
    LISTEN = "LISTEN"
    """Its endpoints are noted."""
    SERVE = "SERVE"
    """It is announced, and counts for its version."""
    DRAIN = "DRAIN"
    """It gets a deadline."""
    SERVE_AGAIN = "SERVE_AGAIN"
    """Its drain is called off."""
    RESTART = "RESTART"
    """A new process, after a back-off."""
    STOP = "STOP"
    """Its process is ended; the cell's outcome says what it becomes then."""
    STOP_SOFTLY = "STOP_SOFTLY"
    """The same, a moment later: its calls in flight may still end, once no route leads to it (``holding.py``)."""
    RELEASE = "RELEASE"
    """Its end is held back no longer."""
    AVOID = "AVOID"
    """No new call is sent to it while another one of its version answers."""
    TRUST = "TRUST"
    """Calls are sent to it again."""
    ALARM = "ALARM"
    """Somebody has to look: its process does not end."""
    STAY = "STAY"
    REMOVE = "REMOVE"
    """It is dropped, and its bytes are free."""


@dataclass(frozen=True, slots=True)
class InstanceCell:
    """One cell of the instance table.

    Attributes:
        state: that the instance goes to.
        action: what is done.
        outcome: what a stopped instance becomes; only for STOP and STOP_SOFTLY.
    """

    state: InstanceState
    action: InstanceAction
    outcome: StopOutcome | None = None


# The tables are read by columns, so names are short.
I, P, S, O = InstanceState, Phase, InstanceSignal, StopOutcome  # noqa: E741 - as the comment says
A, C = InstanceAction, InstanceCell

_RESTART, _FAILED, _GONE = (C(I.STOPPING, A.STOP, outcome) for outcome in (O.RESTART, O.FAILED, O.GONE))
_SOFT_RESTART, _SOFT_FAILED, _SOFT_GONE = (
    C(I.STOPPING, A.STOP_SOFTLY, outcome) for outcome in (O.RESTART, O.FAILED, O.GONE)
)

INSTANCE_TABLE: Mapping[InstanceState, Mapping[InstanceSignal, InstanceCell]] = MappingProxyType(
    {
        I.PENDING: {
            S.RESERVED: C(I.STARTING, A.RESERVE),
            S.REFUSED: C(I.GONE, A.REMOVE),
            S.DRAIN: C(I.GONE, A.REMOVE),
        },
        I.STARTING: {
            S.READY: C(I.PROBING, A.LISTEN),
            S.LOST: C(I.STARTING, A.RESTART),
            S.STUCK: _RESTART,
            S.GAVE_UP: _FAILED,
            S.DRAIN: _GONE,
        },
        I.PROBING: {
            S.PROBES_PASSED: C(I.READY, A.SERVE),
            S.PROBES_FAILED: _FAILED,
            S.LOST: C(I.STARTING, A.RESTART),
            S.STUCK: _RESTART,
            S.GAVE_UP: _FAILED,
            S.DRAIN: _GONE,
        },
        I.READY: {
            S.PROBES_PASSED: C(I.READY, A.STAY),
            S.PROBES_FAILED: _SOFT_RESTART,
            S.LOST: C(I.STARTING, A.RESTART),
            S.STUCK: _SOFT_RESTART,
            S.SILENT: C(I.READY, A.AVOID),
            S.REPORTING: C(I.READY, A.TRUST),
            S.GAVE_UP: _SOFT_FAILED,
            S.DRAIN: C(I.DRAINING, A.DRAIN),
        },
        I.DRAINING: {
            S.LOST: _GONE,
            S.STUCK: _SOFT_GONE,
            S.GAVE_UP: _GONE,
            S.UNDRAIN: C(I.READY, A.SERVE_AGAIN),
            S.DRAINED: _GONE,
        },
        I.STOPPING: {
            S.LOST: C(I.STOPPING, A.RELEASE),
            S.DRAINED: C(I.STOPPING, A.RELEASE),
            S.GAVE_UP: C(I.STOPPING, A.ALARM),
            S.STOPPED: C(I.GONE, A.REMOVE),
            S.RESTARTED: C(I.STARTING, A.RESTART),
        },
        I.GONE: {},
    }
)


class RolloutSignal(StrEnum):
    """What moves a rollout; ``signals.ROLLOUT_ORIGINS`` says when each comes."""

    NEW_READY = "NEW_READY"
    NEW_FAILED = "NEW_FAILED"
    CLUSTER_ACKNOWLEDGED = "CLUSTER_ACKNOWLEDGED"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    PASS = "PASS"  # noqa: S105 - a signal, not a password
    PASS_LAST = "PASS_LAST"  # noqa: S105 - as above
    FAIL = "FAIL"
    ABORT = "ABORT"
    REFUSED = "REFUSED"
    EXPIRED = "EXPIRED"
    OVERDUE = "OVERDUE"
    NEW_LOST = "NEW_LOST"
    OLD_LOST = "OLD_LOST"
    BOTH_LOST = "BOTH_LOST"
    BACK = "BACK"
    OLD_GONE = "OLD_GONE"
    BOTH_GONE = "BOTH_GONE"
    SOAKED = "SOAKED"
    REVERTED = "REVERTED"
    OLD_AT_REST = "OLD_AT_REST"
    CLEANED_UP = "CLEANED_UP"
    CLEANED_UP_FAILED = "CLEANED_UP_FAILED"
    CLEANED_UP_DELETED = "CLEANED_UP_DELETED"
    RECOVERED = "RECOVERED"
    DELETE = "DELETE"


class RolloutAction(StrEnum):
    """What is done with a rollout when it goes to the phase of a cell."""

    WAIT = "WAIT"
    """Nothing but to be there."""
    NEXT_STAGE = "NEXT_STAGE"
    """The new version gets the next stage's share."""
    FIRST_SHARE = "FIRST_SHARE"
    """Its cluster is known everywhere: it gets the share of the stage."""
    STAGE_AGAIN = "STAGE_AGAIN"
    """The stage begins anew: what was gathered is void."""
    OBSERVE = "OBSERVE"
    """Gates judge from now on."""
    HOLD = "HOLD"
    """It stays, for the reason of the cell; what was gathered is void."""
    RELEASE = "RELEASE"
    """The old version is not wanted any more."""
    REVERT = "REVERT"
    """The old version gets its traffic back."""
    CLEAN_UP = "CLEAN_UP"
    """The new version is not wanted any more; the cell's outcome is how the rollout will end."""
    SERVE_NEW = "SERVE_NEW"
    """It is over, and the new version serves."""
    END = "END"
    """It is over, and the old version serves."""


@dataclass(frozen=True, slots=True)
class RolloutCell:
    """One cell of the rollout table.

    Attributes:
        phase: that the rollout goes to.
        action: what is done.
        outcome: how it will end; only for CLEAN_UP. None: as was said when CLEANING was entered.
        hold: why it stays; only for HOLD.
    """

    phase: Phase
    action: RolloutAction
    outcome: Phase | None = None
    hold: Hold | None = None


R, D, K = RolloutSignal, RolloutAction, RolloutCell

_CLEAN: Mapping[Phase, RolloutCell] = MappingProxyType(
    {outcome: K(P.CLEANING, D.CLEAN_UP, outcome) for outcome in (P.ROLLED_BACK, P.FAILED, P.DELETED)}
)
_REVERT, _SERVE_NEW = K(P.REVERTING, D.REVERT), K(P.FAILED, D.SERVE_NEW)


def _traffic(phase: Phase) -> Mapping[RolloutSignal, RolloutCell]:
    """Return the cells that every phase has in which both versions have traffic."""
    return {
        R.FAIL: _REVERT,
        R.ABORT: _REVERT,
        R.REFUSED: _REVERT,
        R.EXPIRED: _REVERT,
        R.NEW_LOST: _REVERT,
        R.OVERDUE: K(phase, D.HOLD, hold=Hold.EXPIRED),
        R.OLD_LOST: K(phase, D.HOLD, hold=Hold.OLD_LOST),
        R.BOTH_LOST: K(phase, D.HOLD, hold=Hold.BOTH_LOST),
        R.OLD_GONE: _SERVE_NEW,
        R.DELETE: _CLEAN[P.DELETED],
    }


ROLLOUT_TABLE: Mapping[Phase, Mapping[RolloutSignal, RolloutCell]] = MappingProxyType(
    {
        P.PREPARING: {
            R.NEW_READY: K(P.SHIFTING, D.NEXT_STAGE),
            R.NEW_FAILED: _CLEAN[P.FAILED],
            R.ABORT: _CLEAN[P.ROLLED_BACK],
            R.EXPIRED: _CLEAN[P.ROLLED_BACK],
            R.OLD_GONE: _SERVE_NEW,
            R.DELETE: _CLEAN[P.DELETED],
            R.RECOVERED: K(P.PREPARING, D.WAIT),
        },
        P.SHIFTING: {
            **_traffic(P.SHIFTING),
            R.CLUSTER_ACKNOWLEDGED: K(P.SHIFTING, D.FIRST_SHARE),
            R.ACKNOWLEDGED: K(P.OBSERVING, D.OBSERVE),
            R.BACK: K(P.SHIFTING, D.STAGE_AGAIN),
            R.RECOVERED: K(P.SHIFTING, D.STAGE_AGAIN),
        },
        P.OBSERVING: {
            **_traffic(P.OBSERVING),
            R.PASS: K(P.SHIFTING, D.NEXT_STAGE),
            R.PASS_LAST: K(P.SOAKING, D.OBSERVE),
            R.BACK: K(P.SHIFTING, D.STAGE_AGAIN),
            R.RECOVERED: K(P.SHIFTING, D.STAGE_AGAIN),
        },
        P.SOAKING: {
            **_traffic(P.SOAKING),
            R.SOAKED: K(P.RELEASING, D.RELEASE),
            R.BACK: K(P.SOAKING, D.OBSERVE),
            R.RECOVERED: K(P.SOAKING, D.OBSERVE),
        },
        P.RELEASING: {
            R.OLD_AT_REST: K(P.SUCCEEDED, D.SERVE_NEW),
            R.NEW_LOST: _REVERT,
            R.DELETE: _CLEAN[P.DELETED],
            R.RECOVERED: K(P.RELEASING, D.RELEASE),
        },
        P.REVERTING: {
            R.REVERTED: _CLEAN[P.ROLLED_BACK],
            R.OLD_GONE: _SERVE_NEW,
            R.BOTH_GONE: _CLEAN[P.FAILED],
            R.DELETE: _CLEAN[P.DELETED],
            R.RECOVERED: _REVERT,
        },
        P.CLEANING: {
            R.CLEANED_UP: K(P.ROLLED_BACK, D.END),
            R.CLEANED_UP_FAILED: K(P.FAILED, D.END),
            R.CLEANED_UP_DELETED: K(P.DELETED, D.END),
            R.DELETE: _CLEAN[P.DELETED],
            R.RECOVERED: K(P.CLEANING, D.CLEAN_UP),
        },
        P.SUCCEEDED: {},
        P.ROLLED_BACK: {},
        P.FAILED: {},
        P.DELETED: {},
    }
)
