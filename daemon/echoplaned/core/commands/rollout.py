"""Commands on a rollout: pause, resume, abort, promote."""

from __future__ import annotations

from dataclasses import dataclass

from echoplaned.core.commands.request import Request
from echoplaned.core.errors import RolloutNotFoundError, StateInvalidError
from echoplaned.core.failure import FailureDetail, Reason
from echoplaned.core.names import rollout_name
from echoplaned.core.replacing import replace
from echoplaned.core.rollout_state import FORWARD_PHASES, EntryKind, Phase, Rollout
from echoplaned.core.rollouts import accepts, can_promote, fire, pass_signal
from echoplaned.core.tables import RolloutSignal
from echoplaned.core.transaction import Transaction


@dataclass(frozen=True, slots=True)
class PauseRollout:
    """Stop a rollout from going on; it is still rolled back on FAIL.

    Attributes:
        request: who asks, and when.
        model: id of the model.
        rollout_id: id of the rollout.
        reason: why, for the history; empty: not said.
    """

    request: Request
    model: str
    rollout_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResumeRollout:
    """Let a paused rollout go on.

    Attributes:
        request: who asks, and when.
        model: id of the model.
        rollout_id: id of the rollout.
        reason: why, for the history; empty: not said.
    """

    request: Request
    model: str
    rollout_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AbortRollout:
    """Roll a rollout back because a caller asks for it.

    Attributes:
        request: who asks, and when.
        model: id of the model.
        rollout_id: id of the rollout.
        reason: why, for the history; empty: not said.
    """

    request: Request
    model: str
    rollout_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class PromoteRollout:
    """Go one stage on without waiting for the gates.

    Attributes:
        request: who asks, and when.
        model: id of the model.
        rollout_id: id of the rollout.
        reason: why, for the history, which is the audit of it.
        stage: the stage to leave, from 1; 0: whichever it is.
    """

    request: Request
    model: str
    rollout_id: str
    reason: str
    stage: int = 0


def on_pause(transaction: Transaction, command: PauseRollout) -> None:
    """Keep a rollout where it is; a gate's FAIL still rolls it back.

    One that is loaded still gets no traffic.

    Raises:
        StateInvalidError: it does not go forward any more, and nothing stops the rest.
    """
    rollout = _active(transaction, command.model, command.rollout_id)
    if rollout.phase not in FORWARD_PHASES:
        raise _invalid(rollout, "be paused", "any phase before RELEASING")
    if not rollout.paused:
        transaction.note(replace(rollout, paused=True), _because("paused", command.reason), kind=EntryKind.PAUSED)


def on_resume(transaction: Transaction, command: ResumeRollout) -> None:
    """Let a paused rollout go on.

    The stage's time starts anew, so that it does not expire by having been paused.
    """
    rollout = _active(transaction, command.model, command.rollout_id)
    if rollout.paused:
        resumed = replace(rollout, paused=False, phase_since_s=transaction.now_s)
        transaction.note(resumed, _because("resumed", command.reason), kind=EntryKind.RESUMED)


def on_abort(transaction: Transaction, command: AbortRollout) -> None:
    """Roll a rollout back; while it rolls back already, nothing changes."""
    rollout = _active(transaction, command.model, command.rollout_id)
    abort(transaction, rollout, FailureDetail(Reason.ROLLED_BACK, _because("aborted", command.reason)))


def abort(transaction: Transaction, rollout: Rollout, why: FailureDetail) -> None:
    """Turn a rollout back.

    Raises:
        StateInvalidError: it is past the point of return.
    """
    if not can_abort(rollout):
        raise _invalid(rollout, "be aborted", "any phase before RELEASING")
    if accepts(rollout, RolloutSignal.ABORT):
        fire(transaction, rollout, RolloutSignal.ABORT, why)


def can_abort(rollout: Rollout) -> bool:
    """Whether a rollout can still be turned back by a caller."""
    return accepts(rollout, RolloutSignal.ABORT) or rollout.phase in {Phase.REVERTING, Phase.CLEANING}


def on_promote(transaction: Transaction, command: PromoteRollout) -> None:
    """Go one stage on without the gates; the reason stays in the history."""
    rollout = _active(transaction, command.model, command.rollout_id)
    if not can_promote(transaction.model(command.model), rollout):
        raise _invalid(rollout, "be promoted", "OBSERVING, with both versions READY and the routes published")
    if command.stage not in {0, rollout.stage}:
        raise _invalid(rollout, f"leave stage {command.stage}", f"stage {rollout.stage}, which it is in")
    noted = transaction.note(rollout, f"promoted by a caller: {command.reason}", kind=EntryKind.PROMOTED)
    fire(transaction, noted, pass_signal(noted))


def _active(transaction: Transaction, model_id: str, rollout_id: str) -> Rollout:
    name = rollout_name(model_id, rollout_id)
    model = transaction.state.models.get(model_id)
    if model is not None and model.rollout is not None and model.rollout.rollout_id == rollout_id:
        return model.rollout
    past = model.past_rollouts if model is not None else ()
    ended = next((r for r in past if r.rollout_id == rollout_id), None)
    if ended is None:
        raise RolloutNotFoundError(name)
    raise _invalid(ended, "be changed", "a rollout that is under way")


def _because(what: str, reason: str) -> str:
    """Return what a caller did, and why if that was said."""
    return f"{what}: {reason}" if reason else what


def _invalid(rollout: Rollout, what: str, accepted: str) -> StateInvalidError:
    name = rollout_name(rollout.model, rollout.rollout_id)
    return StateInvalidError(f"{name} is {rollout.phase.value} and cannot {what}", subject=name, accepted=accepted)
