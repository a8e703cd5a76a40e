"""The rollout machine: what is true of the two versions and the routes becomes a signal; ``ROLLOUT_TABLE`` says where it leads."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from echoplaned.core.failure import Failure, Reason
from echoplaned.core.fault import RETRY_GIVEN_UP_S, AdapterFault
from echoplaned.core.queries import at_rest, is_complete, is_lost_for_good, is_ready, is_wanted
from echoplaned.core.spec import OnExpire, Tier
from echoplaned.core.state import (
    EntryKind,
    GateVerdict,
    Hold,
    Model,
    Phase,
    Rollout,
    Verdict,
)
from echoplaned.core.tables import ROLLOUT_TABLE, RolloutSignal
from echoplaned.core.transaction import Transaction

PAST_ROLLOUTS_KEPT = 100
_TRAFFIC = frozenset({Phase.SHIFTING, Phase.OBSERVING, Phase.SOAKING})
_VOID = frozenset({Hold.OLD_LOST, Hold.BOTH_LOST})
_STICKY = frozenset({Hold.EXPIRED, Hold.ADAPTER_FAILED})
"""Holds that a verdict does not end."""


def advance(transaction: Transaction, model_id: str) -> bool:
    """Move a model's rollout by at most one signal that follows from the state; say whether it moved."""
    model = transaction.model(model_id)
    rollout = model.rollout
    if rollout is None:
        return False
    signal = pending_signal(model, rollout, transaction.now_s)
    if signal is None:
        return False
    fire(transaction, rollout, signal)
    return True


def pending_signal(model: Model, rollout: Rollout, now_s: float) -> RolloutSignal | None:
    """Return the signal that the state of versions, routes and time holds for a rollout; None: nothing to do."""
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
            return RolloutSignal.NEW_AT_REST if at_rest(model, rollout.to_version) else None
        case _:
            return None


def _preparing(model: Model, rollout: Rollout, now_s: float) -> RolloutSignal | None:
    new = model.versions.get(rollout.to_version)
    if new is None or new.failure is not None or not is_wanted(new):
        return RolloutSignal.NEW_FAILED
    if is_complete(new) and is_ready(model, rollout.from_version):
        return RolloutSignal.NEW_READY
    if is_complete(new) and is_lost_for_good(model, rollout.from_version):
        return RolloutSignal.OLD_GONE
    return RolloutSignal.EXPIRED if now_s - rollout.phase_since_s >= rollout.policy.prepare_timeout_s else None


def _losses(model: Model, rollout: Rollout) -> RolloutSignal | None:
    """What the loss of a version means while traffic is shared. BOTH_LOST and OLD_LOST are said once, then held."""
    new_ready, old_ready = is_ready(model, rollout.to_version), is_ready(model, rollout.from_version)
    if new_ready and old_ready:
        return RolloutSignal.BACK if rollout.hold in _VOID else None
    if is_lost_for_good(model, rollout.to_version):
        return RolloutSignal.NEW_LOST
    if new_ready:
        if is_lost_for_good(model, rollout.from_version):
            return RolloutSignal.OLD_GONE
        return RolloutSignal.OLD_LOST if rollout.hold not in _VOID else None
    if old_ready:
        return RolloutSignal.NEW_LOST if rollout.hold is not Hold.BOTH_LOST else None
    return RolloutSignal.BOTH_LOST if rollout.hold is not Hold.BOTH_LOST else None


def _progress(model: Model, rollout: Rollout, now_s: float) -> RolloutSignal | None:
    if rollout.hold in _VOID:
        return None
    in_phase_s = now_s - rollout.phase_since_s
    if rollout.phase is Phase.SOAKING:
        soaked = in_phase_s >= rollout.policy.soak_s and model.progress.acknowledged and not rollout.paused
        return RolloutSignal.SOAKED if soaked else None
    if rollout.phase is Phase.SHIFTING and model.progress.acknowledged:
        return RolloutSignal.ACKNOWLEDGED if rollout.cluster_acknowledged else RolloutSignal.INTRODUCED
    if publish_fault(model) is not None or rollout.paused or rollout.hold is Hold.EXPIRED:
        return None
    return RolloutSignal.EXPIRED if in_phase_s >= rollout.policy.stage_max_s else None


def _releasing(model: Model, rollout: Rollout) -> RolloutSignal | None:
    if at_rest(model, rollout.from_version):
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


def fire(transaction: Transaction, rollout: Rollout, signal: RolloutSignal, why: Failure | None = None) -> None:
    """Apply a signal that the table has a cell for.

    Raises:
        KeyError: the table has no such cell; callers check ``accepts`` first.
    """
    target = ROLLOUT_TABLE[rollout.phase][signal]
    why = why or _why(transaction, rollout, signal)
    rollout = replace(rollout, ending=rollout.ending or why)
    if signal in {RolloutSignal.OLD_LOST, RolloutSignal.BOTH_LOST}:
        return _hold(transaction, rollout, Hold(signal.value))
    if signal is RolloutSignal.EXPIRED and rollout.policy.on_expire is OnExpire.HOLD and rollout.phase in _TRAFFIC:
        return _hold(transaction, replace(rollout, ending=None), Hold.EXPIRED)
    match target:
        case Phase.SHIFTING:
            _enter_shifting(transaction, rollout, signal)
        case Phase.CLEANING:
            _enter_cleaning(transaction, rollout, signal)
        case Phase.ROLLED_BACK:
            _finish(transaction, rollout, rollout.outcome or Phase.ROLLED_BACK)
        case Phase.SUCCEEDED | Phase.FAILED:
            _finish(transaction, rollout, target)
        case _:
            _enter(transaction, rollout, target, signal)
    return None


def accepts(rollout: Rollout, signal: RolloutSignal) -> bool:
    """Whether the table has a cell for the signal in the rollout's phase."""
    return signal in ROLLOUT_TABLE[rollout.phase]


def _hold(transaction: Transaction, rollout: Rollout, hold: Hold) -> None:
    held = replace(
        rollout,
        hold=hold,
        held_reason=hold.value,
        evidence_window=rollout.evidence_window + 1,
        verdicts=(),
        observe_since_s=None,
    )
    transaction.note(replace(held, ending=None), f"held: {hold.value}", kind=EntryKind.HELD)


def publish_fault(model: Model) -> AdapterFault | None:
    """Return the fault that keeps a model's newest routes from its clients; None: there is none."""
    return next((fault for fault in model.faults if fault.key[0] == "publish"), None)


def sync_hold(transaction: Transaction, model_id: str) -> None:
    """Hold a rollout whose routes were given up, and let it go on when they are out.

    A lost version is the graver reason and stays the one that is shown.
    """
    model = transaction.model(model_id)
    rollout, fault = model.rollout, publish_fault(model)
    if rollout is None:
        return
    given_up = fault is not None and fault.is_given_up and rollout.phase is not Phase.PREPARING
    if fault is not None and given_up and rollout.hold not in _VOID | {Hold.ADAPTER_FAILED}:
        text = f"{Hold.ADAPTER_FAILED.value}: {fault.text}; tried again every {RETRY_GIVEN_UP_S:g} s"
        held = replace(rollout, hold=Hold.ADAPTER_FAILED, held_reason=text)
        transaction.note(held, f"held: {text}", kind=EntryKind.HELD)
    elif not given_up and rollout.hold is Hold.ADAPTER_FAILED:
        transaction.put_rollout(replace(rollout, hold=None, held_reason=""))


def hold_unjudged(transaction: Transaction, rollout: Rollout, text: str) -> None:
    """Hold a stage whose gates could not be asked: without a verdict it neither passes nor fails."""
    if rollout.hold not in _STICKY:
        transaction.put_rollout(replace(rollout, hold=Hold.GATES, held_reason=text, verdicts=()))


def _enter(transaction: Transaction, rollout: Rollout, phase: Phase, signal: RolloutSignal) -> None:
    entered = replace(
        rollout,
        phase=phase,
        phase_since_s=transaction.now_s,
        hold=None,
        held_reason="",
        evidence_window=rollout.evidence_window + 1,
        verdicts=(),
    )
    if phase in {Phase.OBSERVING, Phase.SOAKING}:
        entered = replace(entered, observe_since_s=transaction.now_s)
    transaction.note(entered, _text(entered, signal), rollout.verdicts)
    if phase is Phase.RELEASING:
        _want(transaction, entered.model, entered.from_version, wanted=False)
    elif phase is Phase.REVERTING:
        _want(transaction, entered.model, entered.from_version, wanted=True)


def _enter_shifting(transaction: Transaction, rollout: Rollout, signal: RolloutSignal) -> None:
    step_on = signal in {RolloutSignal.NEW_READY, RolloutSignal.PASS}
    stage = rollout.stage + 1 if step_on else rollout.stage
    acknowledged = rollout.cluster_acknowledged or signal is RolloutSignal.INTRODUCED
    _enter(
        transaction,
        replace(rollout, stage=stage, cluster_acknowledged=acknowledged, observe_since_s=None),
        Phase.SHIFTING,
        signal,
    )


def _enter_cleaning(transaction: Transaction, rollout: Rollout, signal: RolloutSignal) -> None:
    if signal is RolloutSignal.DELETE:
        outcome = Phase.DELETED
    elif rollout.outcome is not None:
        outcome = rollout.outcome
    elif signal in {RolloutSignal.NEW_FAILED, RolloutSignal.BOTH_GONE}:
        outcome = Phase.FAILED
    else:
        outcome = Phase.ROLLED_BACK
    late = signal is RolloutSignal.REVERTED and rollout.stale_subscribers
    text = f" (did not answer: {', '.join(rollout.stale_subscribers)})" if late else ""
    entered = replace(
        rollout,
        phase=Phase.CLEANING,
        outcome=outcome,
        phase_since_s=transaction.now_s,
        hold=None,
        held_reason="",
        evidence_window=rollout.evidence_window + 1,
    )
    transaction.note(entered, f"cleaning up after {signal.value}{text}", rollout.verdicts)
    _want(transaction, entered.model, entered.to_version, wanted=False)


def _finish(transaction: Transaction, rollout: Rollout, phase: Phase) -> None:
    """End a rollout in a terminal phase; the version that serves from now on is the one that is left."""
    ended = replace(
        rollout,
        phase=phase,
        phase_since_s=transaction.now_s,
        end_time_s=transaction.now_s,
        hold=None,
        held_reason="",
        verdicts=(),
    )
    noted = transaction.note(ended, f"ended: {phase.value}", rollout.verdicts)
    model = transaction.model(rollout.model)
    # FAILED straight from the traffic phases means that the old version is down for good and the new one is all there is.
    takes_over = phase is Phase.SUCCEEDED or (phase is Phase.FAILED and rollout.phase is not Phase.CLEANING)
    serving = rollout.to_version if takes_over else rollout.from_version
    past = (*model.past_rollouts, noted)[-PAST_ROLLOUTS_KEPT:]
    transaction.put_model(
        replace(model, rollout=None, past_rollouts=past, serving_version=serving, update_time_s=transaction.now_s)
    )


def _want(transaction: Transaction, model_id: str, version_id: str, *, wanted: bool) -> None:
    model = transaction.model(model_id)
    version = model.versions.get(version_id)
    if version is None or is_wanted(version) == wanted:
        return
    changed = replace(version, desired_tier=version.requested_tier if wanted else Tier.COLD)
    versions = {**model.versions, version_id: changed}
    transaction.put_model(replace(model, versions=MappingProxyType(versions)))


def is_judged(rollout: Rollout) -> bool:
    """Whether gates look at a rollout: traffic is shared as its stage says, and neither version is missing."""
    return rollout.phase in {Phase.OBSERVING, Phase.SOAKING} and rollout.hold not in _VOID


def can_promote(model: Model, rollout: Rollout) -> bool:
    """Whether a caller may go one stage on without the gates."""
    return rollout.phase is Phase.OBSERVING and rollout.hold not in _VOID and publish_fault(model) is None


def apply_verdicts(transaction: Transaction, rollout: Rollout, verdicts: tuple[Verdict, ...]) -> None:
    """Apply a window's verdicts: any FAIL rolls back automatically, all PASS go on, anything else holds."""
    failed = next((v for v in verdicts if v.verdict is GateVerdict.FAIL), None)
    rollout = replace(rollout, verdicts=verdicts)
    if failed is not None:
        why = Failure(Reason.ROLLED_BACK, f"gate {failed.gate}: {failed.reason}")
        return fire(transaction, rollout, RolloutSignal.FAIL, why)
    passed = bool(verdicts) and all(v.verdict is GateVerdict.PASS for v in verdicts)
    since = rollout.observe_since_s
    old_enough = since is not None and transaction.now_s - since >= rollout.policy.stage_min_s
    published = publish_fault(transaction.model(rollout.model)) is None
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


def _why(transaction: Transaction, rollout: Rollout, signal: RolloutSignal) -> Failure | None:
    """Say why a rollout turned back, for its operation and its history; None for signals that lead forward."""
    model = transaction.model(rollout.model)
    new = model.versions.get(rollout.to_version)
    match signal:
        case RolloutSignal.NEW_FAILED if new is not None and new.failure is not None:
            return new.failure
        case RolloutSignal.NEW_LOST:
            cause = new.failure.message if new is not None and new.failure is not None else "its last engine was lost"
            return Failure(Reason.ROLLED_BACK, f"the new version is down: {cause}")
        case RolloutSignal.EXPIRED:
            held = rollout.held_reason or "no verdict"
            return Failure(Reason.ROLLED_BACK, f"stage {rollout.stage} could not be decided in time ({held})")
        case RolloutSignal.OLD_GONE | RolloutSignal.BOTH_GONE:
            return Failure(Reason.ROLLED_BACK, "the old version is down for good")
        case _:
            return None


def _text(rollout: Rollout, signal: RolloutSignal) -> str:
    if rollout.phase in {Phase.SHIFTING, Phase.OBSERVING} and rollout.cluster_acknowledged:
        percent = rollout.policy.stages_percent[rollout.stage - 1]
        return f"{rollout.phase.value} stage {rollout.stage} ({percent} %) after {signal.value}"
    return f"{rollout.phase.value} after {signal.value}" + (f": {rollout.ending.message}" if rollout.ending else "")
