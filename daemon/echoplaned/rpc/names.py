"""Resource names as callers write them: full ones, and bare ids where a model or an operation is named."""

from __future__ import annotations

import re

from echoplaned.core.errors import FieldInvalidError
from echoplaned.core.failure import InvalidField
from echoplaned.core.ids import VersionKey

_MODEL = r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PART = r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?"
_MODEL_NAME = re.compile(f"(?:models/)?({_MODEL})")
_VERSION_NAME = re.compile(f"models/({_MODEL})/versions/({_PART})")
_ROLLOUT_NAME = re.compile(f"models/({_MODEL})/rollouts/({_PART})")
_OPERATION_NAME = re.compile(r"(?:operations/)?([A-Za-z0-9._-]{1,64})")


def parse_model(text: str, field: str = "name") -> str:
    """Return the id in ``models/{model}`` or ``{model}``.

    Raises:
        FieldInvalidError: the text is neither.
    """
    found = _MODEL_NAME.fullmatch(text)
    if found is None:
        raise _invalid(field, "models/{model} or {model}")
    return found[1]


def parse_version(text: str, field: str = "name") -> VersionKey:
    """Return the ids in ``models/{model}/versions/{version}``.

    Raises:
        FieldInvalidError: the text has another form.
    """
    found = _VERSION_NAME.fullmatch(text)
    if found is None:
        raise _invalid(field, "models/{model}/versions/{version}")
    return VersionKey(found[1], found[2])


def parse_rollout(text: str, field: str = "name") -> tuple[str, str]:
    """Return the model's and the rollout's id in ``models/{model}/rollouts/{rollout}``.

    Raises:
        FieldInvalidError: the text has another form.
    """
    found = _ROLLOUT_NAME.fullmatch(text)
    if found is None:
        raise _invalid(field, "models/{model}/rollouts/{rollout}")
    return found[1], found[2]


def parse_operation(text: str, field: str = "name") -> str:
    """Return the id in ``operations/{operation}`` or ``{operation}``.

    Raises:
        FieldInvalidError: the text is neither.
    """
    found = _OPERATION_NAME.fullmatch(text)
    if found is None:
        raise _invalid(field, "operations/{operation}")
    return found[1]


def _invalid(field: str, form: str) -> FieldInvalidError:
    return FieldInvalidError(InvalidField(field, f"must have the form {form}"))
