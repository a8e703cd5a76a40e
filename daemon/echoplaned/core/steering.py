"""Callers' hands on a rollout or an operation: pause, resume, abort, promote, cancel."""

from __future__ import annotations

from dataclasses import replace

from echoplaned.core.callers import can_abort
from echoplaned.core.draft import Draft
from echoplaned.core.errors import OperationNotFoundError, RolloutNotFoundError, StateInvalidError
from echoplaned.core.events import (
    AbortRequested,
    CancelRequested,
    DeleteOperationRequested,
    PauseRequested,
    PromoteRequested,
    ResumeRequested,
)
from echoplaned.core.failure import Failure, Reason
from echoplaned.core.rollouts import BOTH_LOST, OLD_LOST, accepts, fire, pass_signal
from echoplaned.core.spec import Tier
from echoplaned.core.state import EntryKind, Operation, OperationKind, Phase, Rollout
from echoplaned.core.tables import RolloutSignal


def on_pause(draft: Draft, event: PauseRequested) -> None:
    """Keep a rollout where it is; FAIL still brings it back."""
    rollout = _active(draft, event.model, event.rollout_id)
    if not rollout.paused:
        draft.note(replace(rollout, paused=True), "paused", kind=EntryKind.PAUSED)


def on_resume(draft: Draft, event: ResumeRequested) -> None:
    """Let a paused rollout go on; the stage's time starts anew, so that it does not expire by having been paused."""
    rollout = _active(draft, event.model, event.rollout_id)
    if rollout.paused:
        draft.note(replace(rollout, paused=False, phase_since_s=draft.now_s), "resumed", kind=EntryKind.RESUMED)


def on_abort(draft: Draft, event: AbortRequested) -> None:
    """Roll back; said again while it rolls back, it changes nothing."""
    rollout = _active(draft, event.model, event.rollout_id)
    abort(draft, rollout, Failure(Reason.ROLLED_BACK, f"aborted: {event.reason}" if event.reason else "aborted"))


def abort(draft: Draft, rollout: Rollout, why: Failure) -> None:
    """Turn a rollout back.

    Raises:
        StateInvalidError: it is past the point of return.
    """
    if not can_abort(rollout):
        raise _invalid(rollout, "be aborted", "any phase before RELEASING")
    if accepts(rollout, RolloutSignal.ABORT):
        fire(draft, rollout, RolloutSignal.ABORT, why)


def on_promote(draft: Draft, event: PromoteRequested) -> None:
    """Go one stage on without the gates; the reason stays in the history."""
    rollout = _active(draft, event.model, event.rollout_id)
    if rollout.phase is not Phase.OBSERVING or rollout.held_reason in {OLD_LOST, BOTH_LOST}:
        raise _invalid(rollout, "be promoted", "OBSERVING, with both versions READY")
    if event.stage not in {0, rollout.stage}:
        raise _invalid(rollout, f"leave stage {event.stage}", f"stage {rollout.stage}, which it is in")
    noted = draft.note(rollout, f"promoted by a caller: {event.reason}", kind=EntryKind.PROMOTED)
    fire(draft, noted, pass_signal(noted))


def on_cancel(draft: Draft, event: CancelRequested) -> None:
    """Cancel an operation: an update is aborted, a load is given up; one that is done stays as it is."""
    operation = draft.state.operations.get(event.target_operation_id)
    if operation is None:
        raise OperationNotFoundError(f"operations/{event.target_operation_id}")
    if operation.done:
        return
    match operation.kind:
        case OperationKind.UPDATE:
            rollout = draft.model(operation.model).rollout
            if rollout is None or rollout.rollout_id != operation.rollout_id:
                return
            draft.put_operation(replace(operation, cancelled=True))
            abort(draft, rollout, Failure(Reason.CANCELLED, "the update was cancelled"))
        case OperationKind.LOAD:
            _cancel_load(draft, operation)
        case _:
            raise StateInvalidError(
                f"operations/{operation.operation_id} deletes; it cannot be cancelled",
                subject=f"operations/{operation.operation_id}",
                accepted="operations that load or update",
            )


def on_delete_operation(draft: Draft, event: DeleteOperationRequested) -> None:
    """Forget an operation that is done; a request with its id is a new one from then on."""
    operation = draft.state.operations.get(event.target_operation_id)
    if operation is None:
        raise OperationNotFoundError(f"operations/{event.target_operation_id}")
    if not operation.done:
        name = f"operations/{operation.operation_id}"
        raise StateInvalidError(
            f"{name} runs; cancel it, or wait until it is done", subject=name, accepted="operations that are done"
        )
    draft.drop_operation(operation.operation_id)


def _cancel_load(draft: Draft, operation: Operation) -> None:
    draft.put_operation(replace(operation, cancelled=True))
    model = draft.state.models.get(operation.model)
    version = model.versions.get(operation.version) if model is not None else None
    if model is None or version is None:
        return
    # A version that has been READY, or that a rollout waits for, is others' too: the load is given up, the version stays.
    if version.load_duration_s is None and not _awaited(model.rollout, operation.version):
        draft.put_version(replace(version, desired_tier=Tier.COLD))
    else:
        draft.put_model(model)


def _awaited(rollout: Rollout | None, version_id: str) -> bool:
    return rollout is not None and version_id in {rollout.from_version, rollout.to_version}


def _active(draft: Draft, model_id: str, rollout_id: str) -> Rollout:
    name = f"models/{model_id}/rollouts/{rollout_id}"
    model = draft.state.models.get(model_id)
    if model is not None and model.rollout is not None and model.rollout.rollout_id == rollout_id:
        return model.rollout
    past = model.past_rollouts if model is not None else ()
    ended = next((r for r in past if r.rollout_id == rollout_id), None)
    if ended is None:
        raise RolloutNotFoundError(name)
    raise _invalid(ended, "be changed", "a rollout that is under way")


def _invalid(rollout: Rollout, what: str, accepted: str) -> StateInvalidError:
    name = f"models/{rollout.model}/rollouts/{rollout.rollout_id}"
    return StateInvalidError(f"{name} is {rollout.phase.value} and cannot {what}", subject=name, accepted=accepted)
