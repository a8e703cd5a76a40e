"""Where every signal comes from, and when it comes.

This is the one list, and the rules that read a signal off the state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from echoplaned.core.fault import AdapterFault
from echoplaned.core.queries import is_at_rest, is_complete, is_given_up, is_lost_for_good, is_ready, needs_instances
from echoplaned.core.rollout_state import Hold, Phase, Rollout
from echoplaned.core.spec import OnExpire
from echoplaned.core.state import Model
from echoplaned.core.tables import InstanceSignal, RolloutSignal

LOST_HOLDS = frozenset({Hold.OLD_LOST, Hold.BOTH_LOST})
"""Holds under which what gates gather says nothing: a version is missing."""


class SignalOrigin(StrEnum):
    """Who causes a signal."""

    PLANNER = "planner"
    ENGINES = "engines"
    CALLERS = "callers"
    GATES = "gates"
    XDS = "xDS"
    STATE = "state"
    """Read off versions, routes and time at the end of every step."""
    START = "start"


@dataclass(frozen=True, slots=True)
class SignalSource:
    """Who causes a signal, and when it comes.

    Attributes:
        origin: who causes it.
        when: the condition, in a clause for the docs.
    """

    origin: SignalOrigin
    when: str


INSTANCE_ORIGINS: Mapping[InstanceSignal, SignalSource] = MappingProxyType(
    {
        InstanceSignal.RESERVED: SignalSource(SignalOrigin.PLANNER, "there is a place with room"),
        InstanceSignal.REFUSED: SignalSource(SignalOrigin.PLANNER, "there is no room, or the planner raised too often"),
        InstanceSignal.READY: SignalSource(SignalOrigin.ENGINES, "the version is loaded and the engine listens"),
        InstanceSignal.PROBES_PASSED: SignalSource(SignalOrigin.ENGINES, "real inferences came back right"),
        InstanceSignal.PROBES_FAILED: SignalSource(SignalOrigin.ENGINES, "a real inference failed or came back wrong"),
        InstanceSignal.LOST: SignalSource(
            SignalOrigin.ENGINES, "the process is known to be dead, or was not there at the start"
        ),
        InstanceSignal.STUCK: SignalSource(SignalOrigin.ENGINES, "the process lives and makes no progress"),
        InstanceSignal.SILENT: SignalSource(
            SignalOrigin.ENGINES, "the process has not reported for longer than it usually does"
        ),
        InstanceSignal.REPORTING: SignalSource(SignalOrigin.ENGINES, "its reports come again"),
        InstanceSignal.GAVE_UP: SignalSource(
            SignalOrigin.ENGINES, "trying again will not help; the fifth failure in a row; the adapter raised too often"
        ),
        InstanceSignal.DRAINED: SignalSource(SignalOrigin.ENGINES, "no call is in flight, or the deadline came"),
        InstanceSignal.STOPPED: SignalSource(SignalOrigin.ENGINES, "the process has gone and its memory is back"),
        InstanceSignal.RESTARTED: SignalSource(
            SignalOrigin.ENGINES, "the same, of an instance that shall have another process"
        ),
        InstanceSignal.DRAIN: SignalSource(SignalOrigin.STATE, "its version is not wanted, and no route leads to it"),
        InstanceSignal.UNDRAIN: SignalSource(SignalOrigin.STATE, "its version is wanted again"),
    }
)

ROLLOUT_ORIGINS: Mapping[RolloutSignal, SignalSource] = MappingProxyType(
    {
        RolloutSignal.NEW_READY: SignalSource(
            SignalOrigin.STATE, "every instance of the new version is READY, and the old one serves"
        ),
        RolloutSignal.NEW_FAILED: SignalSource(SignalOrigin.STATE, "the new version failed before it had traffic"),
        RolloutSignal.CLUSTER_ACKNOWLEDGED: SignalSource(
            SignalOrigin.STATE, "the new cluster is acknowledged at weight 1"
        ),
        RolloutSignal.ACKNOWLEDGED: SignalSource(SignalOrigin.STATE, "the stage's weights are acknowledged"),
        RolloutSignal.PASS: SignalSource(
            SignalOrigin.GATES, "every gate says PASS after the stage's minimum; or a caller promotes"
        ),
        RolloutSignal.PASS_LAST: SignalSource(SignalOrigin.GATES, "the same in the last stage"),
        RolloutSignal.FAIL: SignalSource(SignalOrigin.GATES, "a gate says FAIL"),
        RolloutSignal.ABORT: SignalSource(SignalOrigin.CALLERS, "AbortRollout, or the operation is cancelled"),
        RolloutSignal.DELETE: SignalSource(SignalOrigin.CALLERS, "DeleteModel with force"),
        RolloutSignal.REFUSED: SignalSource(
            SignalOrigin.XDS, "a subscriber with traffic refused what the rollout changed"
        ),
        RolloutSignal.EXPIRED: SignalSource(SignalOrigin.STATE, "the phase's longest time is over"),
        RolloutSignal.OVERDUE: SignalSource(SignalOrigin.STATE, "the same, where the policy says on_expire HOLD"),
        RolloutSignal.NEW_LOST: SignalSource(
            SignalOrigin.STATE, "the new version's last READY instance is gone, or one of its instances was given up"
        ),
        RolloutSignal.OLD_LOST: SignalSource(SignalOrigin.STATE, "the old version's last READY instance is gone"),
        RolloutSignal.BOTH_LOST: SignalSource(SignalOrigin.STATE, "neither version has a READY instance"),
        RolloutSignal.BACK: SignalSource(SignalOrigin.STATE, "both versions are READY again"),
        RolloutSignal.OLD_GONE: SignalSource(SignalOrigin.STATE, "the old version is down for good"),
        RolloutSignal.BOTH_GONE: SignalSource(SignalOrigin.STATE, "both versions are down for good"),
        RolloutSignal.SOAKED: SignalSource(
            SignalOrigin.STATE, "the soak time is over, and the routes are acknowledged"
        ),
        RolloutSignal.REVERTED: SignalSource(
            SignalOrigin.STATE, "the way back is acknowledged, or its deadline came; the old one is READY"
        ),
        RolloutSignal.OLD_AT_REST: SignalSource(SignalOrigin.STATE, "the old version has no instance left"),
        RolloutSignal.CLEANED_UP: SignalSource(SignalOrigin.STATE, "the new version has no instance left"),
        RolloutSignal.CLEANED_UP_FAILED: SignalSource(SignalOrigin.STATE, "the same, of a rollout that failed"),
        RolloutSignal.CLEANED_UP_DELETED: SignalSource(SignalOrigin.STATE, "the same, of a model that is deleted"),
        RolloutSignal.RECOVERED: SignalSource(SignalOrigin.START, "the daemon started with a rollout under way"),
    }
)

_CLEANED_UP: Mapping[Phase, RolloutSignal] = MappingProxyType(
    {
        Phase.ROLLED_BACK: RolloutSignal.CLEANED_UP,
        Phase.FAILED: RolloutSignal.CLEANED_UP_FAILED,
        Phase.DELETED: RolloutSignal.CLEANED_UP_DELETED,
    }
)


def publish_fault(model: Model) -> AdapterFault | None:
    """Return the fault that keeps a model's newest routes from its clients, or None."""
    return next((fault for fault in model.faults if fault.key[0] == "publish"), None)


def is_refused_by_idle(model: Model, rollout: Rollout) -> bool:
    """Whether a rollout has to wait as subscribers without traffic refuse its routes.

    They refuse what it changed, and nobody has traffic to say otherwise.
    """
    is_forward = rollout.phase in {Phase.SHIFTING, Phase.OBSERVING, Phase.SOAKING}
    return is_forward and bool(model.progress.refused_by)


def pending_signal(model: Model, rollout: Rollout, now_s: float) -> RolloutSignal | None:
    """Return the signal that the state holds for a rollout; None: nothing to do.

    It follows from versions, routes and time.
    """
    match rollout.phase:
        case Phase.PREPARING:
            return _preparing(model, rollout, now_s)
        case Phase.SHIFTING | Phase.OBSERVING | Phase.SOAKING:
            return _losses(model, rollout) or _progress(model, rollout, now_s)
        case Phase.RELEASING:
            return _releasing(model, rollout)
        case Phase.REVERTING:
            return _reverting(model, rollout, now_s)
        case Phase.CLEANING:
            return _cleaned_up(rollout) if is_at_rest(model, rollout.to_version) else None
        case _:
            return None


def _preparing(model: Model, rollout: Rollout, now_s: float) -> RolloutSignal | None:
    new = model.versions.get(rollout.to_version)
    if new is None or new.failure is not None or not needs_instances(new):
        return RolloutSignal.NEW_FAILED
    if is_complete(new) and is_lost_for_good(model, rollout.from_version):
        return RolloutSignal.OLD_GONE
    if rollout.paused:
        return None  # it loads on, and gets no traffic before somebody resumes
    if is_complete(new) and is_ready(model, rollout.from_version):
        return RolloutSignal.NEW_READY
    return RolloutSignal.EXPIRED if now_s - rollout.phase_since_s >= rollout.policy.prepare_timeout_s else None


def _losses(model: Model, rollout: Rollout) -> RolloutSignal | None:
    """Return what the loss of a version means while traffic is shared.

    BOTH_LOST and OLD_LOST are signalled once, then held.
    """
    new_ready, old_ready = is_ready(model, rollout.to_version), is_ready(model, rollout.from_version)
    # What still answers of a version that was given up is less than was asked for, and nothing brings the rest back.
    given_up = old_ready and is_given_up(model, rollout.to_version)
    if given_up or is_lost_for_good(model, rollout.to_version):
        return RolloutSignal.NEW_LOST
    if new_ready and old_ready:
        return RolloutSignal.BACK if rollout.hold in LOST_HOLDS else None
    if new_ready:
        if is_lost_for_good(model, rollout.from_version):
            return RolloutSignal.OLD_GONE
        return RolloutSignal.OLD_LOST if rollout.hold not in LOST_HOLDS else None
    if old_ready:
        return RolloutSignal.NEW_LOST if rollout.hold is not Hold.BOTH_LOST else None
    return RolloutSignal.BOTH_LOST if rollout.hold is not Hold.BOTH_LOST else None


def _progress(model: Model, rollout: Rollout, now_s: float) -> RolloutSignal | None:
    if rollout.hold in LOST_HOLDS:
        return None
    in_phase_s = now_s - rollout.phase_since_s
    refused = is_refused_by_idle(model, rollout)
    if rollout.phase is Phase.SOAKING and not refused:
        soaked = in_phase_s >= rollout.policy.soak_s and model.progress.acknowledged and not rollout.paused
        return RolloutSignal.SOAKED if soaked else None
    if rollout.phase is Phase.SHIFTING and model.progress.acknowledged and not refused:
        first_share = None if rollout.paused else RolloutSignal.CLUSTER_ACKNOWLEDGED
        return RolloutSignal.ACKNOWLEDGED if rollout.cluster_acknowledged else first_share
    if publish_fault(model) is not None or rollout.paused or rollout.hold is Hold.EXPIRED:
        return None
    if in_phase_s < rollout.policy.longest_s(rollout.stage):
        return None
    return RolloutSignal.OVERDUE if rollout.policy.on_expire is OnExpire.HOLD else RolloutSignal.EXPIRED


def _releasing(model: Model, rollout: Rollout) -> RolloutSignal | None:
    if is_at_rest(model, rollout.from_version):
        return RolloutSignal.OLD_AT_REST
    if is_ready(model, rollout.to_version):
        return None
    # The old one can still be taken back while it drains; once it stops, the new one's restart is the shorter way.
    old = model.versions[rollout.from_version]
    can_return = any(i.state in {"READY", "DRAINING"} for i in old.instances)
    return RolloutSignal.NEW_LOST if can_return else None


def _reverting(model: Model, rollout: Rollout, now_s: float) -> RolloutSignal | None:
    if is_lost_for_good(model, rollout.from_version):
        return RolloutSignal.OLD_GONE if is_ready(model, rollout.to_version) else _both_gone(model, rollout)
    if not is_ready(model, rollout.from_version):
        return None
    # While the routes cannot be published, clients still follow those before: draining the new version would fail their requests.
    late = now_s - rollout.phase_since_s >= rollout.policy.revert_timeout_s and publish_fault(model) is None
    return RolloutSignal.REVERTED if model.progress.acknowledged or late else None


def _both_gone(model: Model, rollout: Rollout) -> RolloutSignal | None:
    return RolloutSignal.BOTH_GONE if is_lost_for_good(model, rollout.to_version) else None


def _cleaned_up(rollout: Rollout) -> RolloutSignal:
    return _CLEANED_UP[rollout.outcome or Phase.ROLLED_BACK]
