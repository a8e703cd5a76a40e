"""The rollout machine: signals move a rollout by ``ROLLOUT_TABLE``.

What is true of the two versions and the routes becomes a signal (``signals.py``); the table says where it leads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.fault import RETRY_GIVEN_UP_S
from echoplaned.core.queries import is_ready, needs_instances
from echoplaned.core.replacing import replace
from echoplaned.core.rollout_state import EntryKind, GateVerdict, Hold, Phase, Rollout, Verdict
from echoplaned.core.signals import LOST_HOLDS, is_refused_by_idle, pending_signal, publish_fault
from echoplaned.core.spec import Tier
from echoplaned.core.state import Model
from echoplaned.core.tables import ROLLOUT_TABLE, RolloutAction, RolloutCell, RolloutSignal
from echoplaned.core.transaction import Transaction

PAST_ROLLOUTS_RETAINED = 100
_STICKY = frozenset({Hold.EXPIRED, Hold.ADAPTER_FAILED, Hold.REFUSED_BY_IDLE})
"""Holds that a verdict does not end."""


def advance(transaction: Transaction, model_id: str) -> bool:
    """Move a model's rollout by at most one signal that follows from the state.

    Returns:
        Whether it moved.
    """
    model = transaction.model(model_id)
    rollout = model.rollout
    if rollout is None:
        return False
    signal = pending_signal(model, rollout, transaction.now_s)
    if signal is None:
        return False
    fire(transaction, rollout, signal)
    return True


def fire(transaction: Transaction, rollout: Rollout, signal: RolloutSignal, why: FailureDetail | None = None) -> None:
    """Apply a signal to a rollout; the table must have a cell for it.

    Raises:
        KeyError: the table has no such cell; callers check ``accepts`` first.
    """
    cell = ROLLOUT_TABLE[rollout.phase][signal]
    why = why or _why(transaction, rollout, signal)
    rollout = replace(rollout, ending=rollout.ending or why)
    _ACTIONS[cell.action](transaction, rollout, cell, signal)


def accepts(rollout: Rollout, signal: RolloutSignal) -> bool:
    """Whether the table has a cell for the signal in the rollout's phase."""
    return signal in ROLLOUT_TABLE[rollout.phase]


def _hold(transaction: Transaction, rollout: Rollout, cell: RolloutCell, _signal: RolloutSignal) -> None:
    text = cell.hold.value if cell.hold is not None else ""
    # A new window: what was gathered until now is void, and so is a verdict that is on its way.
    window = rollout.evidence_window + 1
    held = replace(rollout, hold=cell.hold, held_reason=text, evidence_window=window, observe_since_s=None)
    transaction.note(replace(held, ending=None, verdicts=()), f"held: {text}", kind=EntryKind.HELD)


def sync_hold(transaction: Transaction, model_id: str) -> None:
    """Hold a rollout whose routes cannot be published, or are refused.

    The routes were given up by their adapter, or subscribers without traffic refuse them; the rollout goes on when that is over. A lost
    version is the graver reason and stays the one that is shown.
    """
    model = transaction.model(model_id)
    rollout, fault = model.rollout, publish_fault(model)
    if rollout is None:
        return
    given_up = fault is not None and fault.is_given_up and rollout.phase is not Phase.PREPARING
    if fault is not None and given_up and rollout.hold not in LOST_HOLDS | {Hold.ADAPTER_FAILED}:
        text = f"{Hold.ADAPTER_FAILED.value}: {fault.text}; tried again every {RETRY_GIVEN_UP_S:g} s"
        held = replace(rollout, hold=Hold.ADAPTER_FAILED, held_reason=text)
        transaction.note(held, f"held: {text}", kind=EntryKind.HELD)
    elif not given_up and rollout.hold is Hold.ADAPTER_FAILED:
        transaction.put_rollout(replace(rollout, hold=None, held_reason=""))
    else:
        _sync_refused(transaction, model, rollout)


def _sync_refused(transaction: Transaction, model: Model, rollout: Rollout) -> None:
    refused = is_refused_by_idle(model, rollout)
    if refused and (rollout.hold is None or rollout.hold is Hold.GATES):
        names = ", ".join(model.progress.refused_by)
        text = (
            f"{Hold.REFUSED_BY_IDLE.value}: {names} refused the routes ({model.progress.refusal}); "
            "no subscriber of the model has confirmed requests of late, so nobody's word rolls it back"
        )
        held = replace(rollout, hold=Hold.REFUSED_BY_IDLE, held_reason=text)
        transaction.note(held, f"held: {text}", kind=EntryKind.HELD)
    elif not refused and rollout.hold is Hold.REFUSED_BY_IDLE:
        transaction.put_rollout(replace(rollout, hold=None, held_reason=""))


def hold_unjudged(transaction: Transaction, rollout: Rollout, text: str) -> None:
    """Hold a stage whose gates could not be asked.

    Without a verdict it neither passes nor fails.
    """
    if rollout.hold not in _STICKY:
        transaction.put_rollout(replace(rollout, hold=Hold.GATES, held_reason=text, verdicts=()))


def _enter(transaction: Transaction, rollout: Rollout, cell: RolloutCell, signal: RolloutSignal) -> None:
    entered = replace(
        rollout,
        phase=cell.phase,
        phase_since_s=transaction.now_s,
        hold=None,
        held_reason="",
        evidence_window=rollout.evidence_window + 1,
        verdicts=(),
    )
    transaction.note(entered, _text(entered, signal), rollout.verdicts)


def _next_stage(transaction: Transaction, rollout: Rollout, cell: RolloutCell, signal: RolloutSignal) -> None:
    _stage_again(transaction, replace(rollout, stage=rollout.stage + 1), cell, signal)


def _first_share(transaction: Transaction, rollout: Rollout, cell: RolloutCell, signal: RolloutSignal) -> None:
    _stage_again(transaction, replace(rollout, cluster_acknowledged=True), cell, signal)


def _stage_again(transaction: Transaction, rollout: Rollout, cell: RolloutCell, signal: RolloutSignal) -> None:
    _enter(transaction, replace(rollout, observe_since_s=None), cell, signal)


def _observe(transaction: Transaction, rollout: Rollout, cell: RolloutCell, signal: RolloutSignal) -> None:
    _enter(transaction, replace(rollout, observe_since_s=transaction.now_s), cell, signal)


def _release(transaction: Transaction, rollout: Rollout, cell: RolloutCell, signal: RolloutSignal) -> None:
    _enter(transaction, rollout, cell, signal)
    _want(transaction, rollout.model, rollout.from_version, wanted=False)


def _revert(transaction: Transaction, rollout: Rollout, cell: RolloutCell, signal: RolloutSignal) -> None:
    # Nothing pauses the way back: what says that it waits would be wrong from here on.
    _enter(transaction, replace(rollout, paused=False), cell, signal)
    if signal is RolloutSignal.RECOVERED:
        # The way back has one deadline, however often the daemon starts meanwhile.
        entered = transaction.model(rollout.model).rollout or rollout
        transaction.put_rollout(replace(entered, phase_since_s=rollout.phase_since_s))
    _want(transaction, rollout.model, rollout.from_version, wanted=True)


def _clean_up(transaction: Transaction, rollout: Rollout, cell: RolloutCell, signal: RolloutSignal) -> None:
    late = signal is RolloutSignal.REVERTED and rollout.stale_subscribers
    more = rollout.stale_subscriber_count - len(rollout.stale_subscribers)
    others = f" and {more} more" if more > 0 else ""
    text = f" (did not answer: {', '.join(rollout.stale_subscribers)}{others})" if late else ""
    entered = replace(
        rollout,
        phase=cell.phase,
        outcome=cell.outcome or rollout.outcome,
        phase_since_s=transaction.now_s,
        hold=None,
        held_reason="",
        paused=False,
        evidence_window=rollout.evidence_window + 1,
    )
    transaction.note(entered, f"cleaning up after {signal.value}{text}", rollout.verdicts)
    _want(transaction, entered.model, entered.to_version, wanted=False)


def _serve_new(transaction: Transaction, rollout: Rollout, cell: RolloutCell, _signal: RolloutSignal) -> None:
    _finish(transaction, rollout, cell.phase, serving=rollout.to_version)


def _end(transaction: Transaction, rollout: Rollout, cell: RolloutCell, _signal: RolloutSignal) -> None:
    _finish(transaction, rollout, cell.phase, serving=rollout.from_version)


_ACTIONS: Mapping[RolloutAction, Callable[[Transaction, Rollout, RolloutCell, RolloutSignal], None]] = MappingProxyType(
    {
        RolloutAction.WAIT: _enter,
        RolloutAction.NEXT_STAGE: _next_stage,
        RolloutAction.FIRST_SHARE: _first_share,
        RolloutAction.STAGE_AGAIN: _stage_again,
        RolloutAction.OBSERVE: _observe,
        RolloutAction.HOLD: _hold,
        RolloutAction.RELEASE: _release,
        RolloutAction.REVERT: _revert,
        RolloutAction.CLEAN_UP: _clean_up,
        RolloutAction.SERVE_NEW: _serve_new,
        RolloutAction.END: _end,
    }
)


def _finish(transaction: Transaction, rollout: Rollout, phase: Phase, *, serving: str) -> None:
    """End a rollout in a terminal phase.

    ``serving``: the version that has the traffic from now on.
    """
    ended = replace(
        rollout,
        phase=phase,
        phase_since_s=transaction.now_s,
        end_time_s=transaction.now_s,
        hold=None,
        held_reason="",
        paused=False,
        verdicts=(),
    )
    noted = transaction.note(ended, f"ended: {phase.value}", rollout.verdicts)
    model = transaction.model(rollout.model)
    past = (*model.past_rollouts, noted)[-PAST_ROLLOUTS_RETAINED:]
    transaction.put_model(
        replace(model, rollout=None, past_rollouts=past, serving_version=serving, update_time_s=transaction.now_s)
    )


def _want(transaction: Transaction, model_id: str, version_id: str, *, wanted: bool) -> None:
    model = transaction.model(model_id)
    version = model.versions.get(version_id)
    if version is None or needs_instances(version) == wanted:
        return
    changed = replace(version, desired_tier=version.requested_tier if wanted else Tier.COLD)
    versions = {**model.versions, version_id: changed}
    transaction.put_model(replace(model, versions=MappingProxyType(versions)))


def is_judged(rollout: Rollout) -> bool:
    """Whether gates judge a rollout at present.

    Traffic is shared as its stage says, and neither version is missing.
    """
    return rollout.phase in {Phase.OBSERVING, Phase.SOAKING} and rollout.hold not in LOST_HOLDS


def is_heard(rollout: Rollout, verdicts: tuple[Verdict, ...]) -> bool:
    """Whether verdicts on a rollout's present window count.

    While weights shift there is no stage to pass yet, and a failure counts all the same: routes that a subscriber is slow to confirm,
    or that cannot be published, must not keep callers at a version that fails.
    """
    if rollout.phase is Phase.SHIFTING:
        return rollout.hold not in LOST_HOLDS and any(v.verdict is GateVerdict.FAIL for v in verdicts)
    return is_judged(rollout)


def can_promote(model: Model, rollout: Rollout) -> bool:
    """Whether a caller may go one stage on without the gates."""
    return rollout.phase is Phase.OBSERVING and rollout.hold not in LOST_HOLDS and publish_fault(model) is None


def apply_verdicts(transaction: Transaction, rollout: Rollout, verdicts: tuple[Verdict, ...]) -> None:
    """Apply the verdicts on an evidence window.

    Any FAIL rolls back automatically, all PASS go on, anything else holds.
    """
    failed = next((v for v in verdicts if v.verdict is GateVerdict.FAIL), None)
    rollout = replace(rollout, verdicts=verdicts)
    if failed is not None:
        why = FailureDetail(Reason.ROLLED_BACK, f"gate {failed.gate}: {failed.reason}")
        return fire(transaction, rollout, RolloutSignal.FAIL, why)
    passed = bool(verdicts) and all(v.verdict is GateVerdict.PASS for v in verdicts)
    since = rollout.observe_since_s
    old_enough = since is not None and transaction.now_s - since >= rollout.policy.stage_min_s
    model = transaction.model(rollout.model)
    published = publish_fault(model) is None and not is_refused_by_idle(model, rollout)
    if passed and old_enough and published and not rollout.paused and rollout.phase is Phase.OBSERVING:
        return fire(transaction, rollout, pass_signal(rollout))
    if rollout.hold not in _STICKY:
        held = next((v.reason for v in verdicts if v.verdict is GateVerdict.HOLD), None)
        hold = None if held is None else Hold.GATES
        rollout = replace(rollout, hold=hold, held_reason=held or "")
    transaction.put_rollout(rollout)
    return None


def pass_signal(rollout: Rollout) -> RolloutSignal:
    """Return PASS, or PASS_LAST in the last stage."""
    last = rollout.stage >= len(rollout.policy.stages_percent)
    return RolloutSignal.PASS_LAST if last else RolloutSignal.PASS


def _why(transaction: Transaction, rollout: Rollout, signal: RolloutSignal) -> FailureDetail | None:
    """Return why a rollout turned back; None for signals that lead forward.

    It is for the rollout's operation and its history.
    """
    model = transaction.model(rollout.model)
    new = model.versions.get(rollout.to_version)
    match signal:
        case RolloutSignal.NEW_FAILED if new is not None and new.failure is not None:
            return new.failure
        case RolloutSignal.NEW_LOST:
            is_left = is_ready(model, rollout.to_version)
            cause = new.failure.message if new is not None and new.failure is not None else "its last engine was lost"
            what = "one of the new version's engines was given up" if is_left else "the new version is down"
            return FailureDetail(Reason.ROLLED_BACK, f"{what}: {cause}")
        case RolloutSignal.EXPIRED:
            held = rollout.held_reason or "no verdict"
            return FailureDetail(Reason.ROLLED_BACK, f"stage {rollout.stage} could not be decided in time ({held})")
        case RolloutSignal.OLD_GONE | RolloutSignal.BOTH_GONE:
            return FailureDetail(Reason.ROLLED_BACK, "the old version is down for good")
        case _:
            return None


def _text(rollout: Rollout, signal: RolloutSignal) -> str:
    if rollout.phase in {Phase.SHIFTING, Phase.OBSERVING} and rollout.cluster_acknowledged:
        percent = rollout.policy.stages_percent[rollout.stage - 1]
        return f"{rollout.phase.value} stage {rollout.stage} ({percent} %) after {signal.value}"
    return f"{rollout.phase.value} after {signal.value}" + (f": {rollout.ending.message}" if rollout.ending else "")
