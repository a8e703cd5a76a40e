"""What several commands check before anything changes."""

from __future__ import annotations

from echoplaned.core.commands.order import VersionOrder
from echoplaned.core.errors import (
    EtagMismatchError,
    ModelNotFoundError,
    RolloutActiveError,
    StateInvalidError,
    VersionExistsError,
    VersionNotFoundError,
)
from echoplaned.core.names import model_name, operation_name, rollout_name, version_name
from echoplaned.core.queries import etag
from echoplaned.core.replacing import replace
from echoplaned.core.rollout_state import Phase, Rollout
from echoplaned.core.state import Model, Version
from echoplaned.core.transaction import Transaction


def require_model(transaction: Transaction, model_id: str) -> Model:
    """Return a model.

    Raises:
        ModelNotFoundError: there is none.
    """
    model = transaction.state.models.get(model_id)
    if model is None:
        raise ModelNotFoundError(model_name(model_id))
    return model


def require_version(model: Model, version_id: str) -> Version:
    """Return a version of a model.

    Raises:
        VersionNotFoundError: there is none.
    """
    version = model.versions.get(version_id)
    if version is None:
        raise VersionNotFoundError(version_name(model.model_id, version_id))
    return version


def refuse_deleting(model: Model | None) -> None:
    """Refuse a model that is on its way out.

    Raises:
        StateInvalidError: it is being deleted.
    """
    if model is not None and model.deleting:
        raise StateInvalidError(
            f"{model_name(model.model_id)} is being deleted",
            subject=model_name(model.model_id),
            accepted=f"wait for {operation_name(model.deleting)}, then load it anew",
        )


def refuse_other_content(model: Model, order: VersionOrder) -> None:
    """Refuse a version id that stands for something else.

    Raises:
        StateInvalidError: the version is being deleted.
        VersionExistsError: it has other content or options.
    """
    known = model.versions.get(order.version)
    if known is None:
        return
    name = version_name(model.model_id, order.version)
    if known.delete_when_stopped:
        raise StateInvalidError(f"{name} is being deleted", subject=name, accepted="wait until it has gone")
    if known.spec != order.spec:
        raise VersionExistsError(name, f"{name} exists with other content or options: take another version_id")


def refuse_unloading(model: Model, version_id: str) -> None:
    """Refuse to load a version that a rollout unloads at this moment.

    It waits for the version to be at rest, which it would never be.

    Raises:
        RolloutActiveError: it is the old version in RELEASING, or the new one in CLEANING.
    """
    rollout = model.rollout
    if rollout is None:
        return
    unloaded = {Phase.RELEASING: rollout.from_version, Phase.CLEANING: rollout.to_version}
    if unloaded.get(rollout.phase) == version_id:
        raise rollout_active_error(rollout)


def check_etag(model: Model, given: str) -> None:
    """Refuse a change of something that has changed since the caller looked.

    Raises:
        EtagMismatchError: the etag is given, and another one.
    """
    current = etag(model)
    if given and given != current:
        raise EtagMismatchError(model_name(model.model_id), current)


def rollout_active_error(rollout: Rollout) -> RolloutActiveError:
    """Return the error that a rollout is under way."""
    name = rollout_name(rollout.model, rollout.rollout_id)
    return RolloutActiveError(name, f"{name} is under way ({rollout.phase.value}): wait for it, or abort it")


def with_labels(model: Model, labels: tuple[tuple[str, str], ...] | None) -> Model:
    """Return the model with the labels; None: as it is."""
    return model if labels is None else replace(model, labels=labels)
