"""Finding resources in a snapshot; what is not there is its own NOT_FOUND."""

from __future__ import annotations

from echoplaned.core.errors import (
    ModelNotFoundError,
    OperationNotFoundError,
    RolloutNotFoundError,
    VersionNotFoundError,
)
from echoplaned.core.ids import VersionKey
from echoplaned.core.names import key_name, model_name, operation_name, rollout_name
from echoplaned.core.rollout_state import Rollout
from echoplaned.core.state import Model, Operation, State, Version


def find_model(state: State, model_id: str) -> Model:
    """Return a model.

    Raises:
        ModelNotFoundError: there is none of this name.
    """
    model = state.models.get(model_id)
    if model is None:
        raise ModelNotFoundError(model_name(model_id))
    return model


def find_version(state: State, key: VersionKey) -> tuple[Model, Version]:
    """Return a version and its model.

    Raises:
        VersionNotFoundError: there is none of this name.
    """
    model = state.models.get(key.model)
    version = model.versions.get(key.version) if model is not None else None
    if model is None or version is None:
        raise VersionNotFoundError(key_name(key))
    return model, version


def all_rollouts(model: Model) -> tuple[Rollout, ...]:
    """Return a model's rollouts, the oldest first."""
    return model.past_rollouts if model.rollout is None else (*model.past_rollouts, model.rollout)


def find_rollout(state: State, model_id: str, rollout_id: str) -> tuple[Model, Rollout]:
    """Return a rollout and its model.

    Raises:
        RolloutNotFoundError: there is none of this name.
    """
    model = state.models.get(model_id)
    if model is not None:
        for rollout in all_rollouts(model):
            if rollout.rollout_id == rollout_id:
                return model, rollout
    raise RolloutNotFoundError(rollout_name(model_id, rollout_id))


def find_operation(state: State, operation_id: str) -> Operation:
    """Return an operation.

    Raises:
        OperationNotFoundError: there is none of this name.
    """
    operation = state.operations.get(operation_id)
    if operation is None:
        raise OperationNotFoundError(operation_name(operation_id))
    return operation
