"""Resource names as callers write them.

Full ones, and bare ids where a model or an operation is named.
"""

from __future__ import annotations

from echoplaned.core import names
from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.failure import InvalidField
from echoplaned.core.ids import VersionKey
from echoplaned.core.names import ResourceKind, ResourceName


def parse_model(text: str, field: str = "name") -> str:
    """Return the id in ``models/{model}`` or ``{model}``.

    Raises:
        FieldInvalidError: the text is neither.
    """
    return _read(text, names.model_name(text), ResourceKind.MODEL, field, "models/{model} or {model}").model


def parse_version(text: str, field: str = "name") -> VersionKey:
    """Return the ids in ``models/{model}/versions/{version}``.

    Raises:
        FieldInvalidError: the text has another form.
    """
    found = _read(text, "", ResourceKind.VERSION, field, "models/{model}/versions/{version}")
    return VersionKey(found.model, found.child)


def parse_rollout(text: str, field: str = "name") -> tuple[str, str]:
    """Return the model's and the rollout's id in a rollout's name.

    The form is ``models/{model}/rollouts/{rollout}``.

    Raises:
        FieldInvalidError: the text has another form.
    """
    found = _read(text, "", ResourceKind.ROLLOUT, field, "models/{model}/rollouts/{rollout}")
    return found.model, found.child


def parse_operation(text: str, field: str = "name") -> str:
    """Return the id in ``operations/{operation}`` or ``{operation}``.

    Raises:
        FieldInvalidError: the text is neither.
    """
    return _read(text, names.operation_name(text), ResourceKind.OPERATION, field, "operations/{operation}").child


def parse_key(text: str) -> str:
    """Return the id in ``keys/{key}`` or ``{key}``.

    Raises:
        FieldInvalidError: the text is neither.
    """
    return _read(text, names.gateway_key_name(text), ResourceKind.KEY, "name", "keys/{key}").child


def _read(text: str, bare: str, kind: ResourceKind, field: str, form: str) -> ResourceName:
    """Read a full name of a kind, or the one that a bare id stands for."""
    for candidate in (text, bare):
        found = names.parse(candidate)
        if found is not None and found.kind is kind:
            return found
    raise FieldInvalidError(InvalidField(field, f"must have the form {form}"))
