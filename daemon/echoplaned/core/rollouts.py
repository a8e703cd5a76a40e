"""The rollout machine: what is true of the two versions and the routes becomes a signal; ``ROLLOUT_TABLE`` says where it leads."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from echoplaned.core.draft import Draft
from echoplaned.core.failure import Failure, Reason
from echoplaned.core.fold import at_rest, is_complete, is_lost_for_good, is_ready, is_wanted
from echoplaned.core.spec import OnExpire, Tier
from echoplaned.core.state import (
    EntryKind,
    GateVerdict,
    Model,
    Phase,
    Rollout,
    Verdict,
)
from echoplaned.core.tables import ROLLOUT_TABLE, RolloutSignal

OLD_LOST, BOTH_LOST, EXPIRED = "OLD_LOST", "BOTH_LOST", "EXPIRED"
PAST_ROLLOUTS_KEPT = 100
_TRAFFIC = frozenset({Phase.SHIFTING, Phase.OBSERVING, Phase.SOAKING})
_VOID = frozenset({OLD_LOST, BOTH_LOST})


def advance(draft: Draft, model_id: str) -> bool:
    """Move a model's rollout by at most one signal that follows from the state; say whether it moved."""
    model = draft.model(model_id)
    rollout = model.rollout
    if rollout is None:
        return False
    signal = pending_signal(model, rollout, draft.now_s)
    if signal is None:
        return False
    fire(draft, rollout, signal)
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
        return RolloutSignal.BACK if rollout.held_reason in _VOID else None
    if is_lost_for_good(model, rollout.to_version):
        return RolloutSignal.NEW_LOST
    if new_ready:
        if is_lost_for_good(model, rollout.from_version):
            return RolloutSignal.OLD_GONE
        return RolloutSignal.OLD_LOST if rollout.held_reason not in _VOID else None
    if old_ready:
        return RolloutSignal.NEW_LOST if rollout.held_reason != BOTH_LOST else None
    return RolloutSignal.BOTH_LOST if rollout.held_reason != BOTH_LOST else None


def _progress(model: Model, rollout: Rollout, now_s: float) -> RolloutSignal | None:
    if rollout.held_reason in _VOID:
        return None
    in_phase_s = now_s - rollout.phase_since_s
    if rollout.phase is Phase.SOAKING:
        soaked = in_phase_s >= rollout.policy.soak_s and model.progress.acknowledged and not rollout.paused
        return RolloutSignal.SOAKED if soaked else None
    if rollout.phase is Phase.SHIFTING and model.progress.acknowledged:
        return RolloutSignal.ACKNOWLEDGED if rollout.cluster_acknowledged else RolloutSignal.INTRODUCED
    late = in_phase_s >= rollout.policy.stage_max_s and not rollout.paused and rollout.held_reason != EXPIRED
    return RolloutSignal.EXPIRED if late else None


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
    late = now_s - rollout.phase_since_s >= rollout.policy.revert_timeout_s
    return RolloutSignal.REVERTED if model.progress.acknowledged or late else None


def _both_gone(model: Model, rollout: Rollout) -> RolloutSignal | None:
    return RolloutSignal.BOTH_GONE if is_lost_for_good(model, rollout.to_version) else None


def fire(draft: Draft, rollout: Rollout, signal: RolloutSignal, why: Failure | None = None) -> None:
    """Apply a signal that the table has a cell for.

    Raises:
        KeyError: the table has no such cell; callers check ``accepts`` first.
    """
    target = ROLLOUT_TABLE[rollout.phase][signal]
    why = why or _why(draft, rollout, signal)
    rollout = replace(rollout, ending=rollout.ending or why)
    if signal in {RolloutSignal.OLD_LOST, RolloutSignal.BOTH_LOST}:
        return _hold(draft, rollout, signal.value)
    if signal is RolloutSignal.EXPIRED and rollout.policy.on_expire is OnExpire.HOLD and rollout.phase in _TRAFFIC:
        return _hold(draft, replace(rollout, ending=None), EXPIRED)
    match target:
        case Phase.SHIFTING:
            _enter_shifting(draft, rollout, signal)
        case Phase.CLEANING:
            _enter_cleaning(draft, rollout, signal)
        case Phase.ROLLED_BACK:
            _finish(draft, rollout, rollout.outcome or Phase.ROLLED_BACK)
        case Phase.SUCCEEDED | Phase.FAILED:
            _finish(draft, rollout, target)
        case _:
            _enter(draft, rollout, target, signal)
    return None


def accepts(rollout: Rollout, signal: RolloutSignal) -> bool:
    """Whether the table has a cell for the signal in the rollout's phase."""
    return signal in ROLLOUT_TABLE[rollout.phase]


def _hold(draft: Draft, rollout: Rollout, reason: str) -> None:
    held = replace(
        rollout, held_reason=reason, evidence_window=rollout.evidence_window + 1, verdicts=(), observe_since_s=None
    )
    draft.note(replace(held, ending=None), f"held: {reason}", kind=EntryKind.HELD)


def _enter(draft: Draft, rollout: Rollout, phase: Phase, signal: RolloutSignal) -> None:
    entered = replace(
        rollout,
        phase=phase,
        phase_since_s=draft.now_s,
        held_reason="",
        evidence_window=rollout.evidence_window + 1,
        verdicts=(),
    )
    if phase in {Phase.OBSERVING, Phase.SOAKING}:
        entered = replace(entered, observe_since_s=draft.now_s)
    draft.note(entered, _text(entered, signal), rollout.verdicts)
    if phase is Phase.RELEASING:
        _want(draft, entered.model, entered.from_version, wanted=False)
    elif phase is Phase.REVERTING:
        _want(draft, entered.model, entered.from_version, wanted=True)


def _enter_shifting(draft: Draft, rollout: Rollout, signal: RolloutSignal) -> None:
    step_on = signal in {RolloutSignal.NEW_READY, RolloutSignal.PASS}
    stage = rollout.stage + 1 if step_on else rollout.stage
    acknowledged = rollout.cluster_acknowledged or signal is RolloutSignal.INTRODUCED
    _enter(
        draft,
        replace(rollout, stage=stage, cluster_acknowledged=acknowledged, observe_since_s=None),
        Phase.SHIFTING,
        signal,
    )


def _enter_cleaning(draft: Draft, rollout: Rollout, signal: RolloutSignal) -> None:
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
        phase_since_s=draft.now_s,
        held_reason="",
        evidence_window=rollout.evidence_window + 1,
    )
    draft.note(entered, f"cleaning up after {signal.value}{text}", rollout.verdicts)
    _want(draft, entered.model, entered.to_version, wanted=False)


def _finish(draft: Draft, rollout: Rollout, phase: Phase) -> None:
    """End a rollout in a terminal phase; the version that serves from now on is the one that is left."""
    ended = replace(
        rollout, phase=phase, phase_since_s=draft.now_s, end_time_s=draft.now_s, held_reason="", verdicts=()
    )
    noted = draft.note(ended, f"ended: {phase.value}", rollout.verdicts)
    model = draft.model(rollout.model)
    # FAILED straight from the traffic phases means that the old version is down for good and the new one is all there is.
    takes_over = phase is Phase.SUCCEEDED or (phase is Phase.FAILED and rollout.phase is not Phase.CLEANING)
    serving = rollout.to_version if takes_over else rollout.from_version
    past = (*model.past_rollouts, noted)[-PAST_ROLLOUTS_KEPT:]
    draft.put_model(
        replace(model, rollout=None, past_rollouts=past, serving_version=serving, update_time_s=draft.now_s)
    )


def _want(draft: Draft, model_id: str, version_id: str, *, wanted: bool) -> None:
    model = draft.model(model_id)
    version = model.versions.get(version_id)
    if version is None or is_wanted(version) == wanted:
        return
    changed = replace(version, desired_tier=version.requested_tier if wanted else Tier.COLD)
    versions = {**model.versions, version_id: changed}
    draft.put_model(replace(model, versions=MappingProxyType(versions)))


def is_judged(rollout: Rollout) -> bool:
    """Whether gates look at a rollout: traffic is shared as its stage says, and neither version is missing."""
    return rollout.phase in {Phase.OBSERVING, Phase.SOAKING} and rollout.held_reason not in _VOID


def apply_verdicts(draft: Draft, rollout: Rollout, verdicts: tuple[Verdict, ...]) -> None:
    """Apply a window's verdicts: any FAIL rolls back automatically, all PASS go on, anything else holds."""
    failed = next((v for v in verdicts if v.verdict is GateVerdict.FAIL), None)
    rollout = replace(rollout, verdicts=verdicts)
    if failed is not None:
        why = Failure(Reason.ROLLED_BACK, f"gate {failed.gate}: {failed.reason}")
        return fire(draft, rollout, RolloutSignal.FAIL, why)
    passed = bool(verdicts) and all(v.verdict is GateVerdict.PASS for v in verdicts)
    since = rollout.observe_since_s
    old_enough = since is not None and draft.now_s - since >= rollout.policy.stage_min_s
    if passed and old_enough and not rollout.paused and rollout.phase is Phase.OBSERVING:
        return fire(draft, rollout, pass_signal(rollout))
    held = next((v.reason for v in verdicts if v.verdict is GateVerdict.HOLD), "")
    reason = EXPIRED if rollout.held_reason == EXPIRED else held
    draft.put_rollout(replace(rollout, held_reason=reason))
    return None


def pass_signal(rollout: Rollout) -> RolloutSignal:
    """Return PASS, or PASS_LAST in the last stage."""
    last = rollout.stage >= len(rollout.policy.stages_percent)
    return RolloutSignal.PASS_LAST if last else RolloutSignal.PASS


def _why(draft: Draft, rollout: Rollout, signal: RolloutSignal) -> Failure | None:
    """Say why a rollout turned back, for its operation and its history; None for signals that lead forward."""
    model = draft.model(rollout.model)
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
