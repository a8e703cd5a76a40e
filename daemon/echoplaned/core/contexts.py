"""Choice of a version's context length where nobody asked for one: what fits.

It is chosen once. A specification keeps what was asked for, and 0 is "what fits": so the same request is the same version wherever it
is loaded. What it came to is the version's, from its first reservation on; engines that are started again get the same.
"""

from __future__ import annotations

from typing import Final

from echoplaned.core.replacing import replace
from echoplaned.core.spec import ServingShape, VersionSpec
from echoplaned.core.state import Model, Version

MIN_CONTEXT_LENGTH: Final = 2048
"""Tokens. Less than this is offered to nobody who did not ask for it, unless the model has no more."""


def least_context(longest: int, serving: int = 0) -> int:
    """Return the shortest context that is chosen for somebody.

    Args:
        longest: what the checkpoint allows.
        serving: what the version answers that would be replaced; 0: none is.
    """
    return min(longest, max(MIN_CONTEXT_LENGTH, serving))


def is_context_open(version: Version) -> bool:
    """Whether a version's context is still to be chosen, by its first reservation."""
    return not (version.spec.shape.context_length or version.context_length)


def served_context(version: Version) -> int:
    """Return the longest sequence that a version's engines take, in tokens.

    It is as asked for, else as chosen, else as it was last planned.
    """
    return version.spec.shape.context_length or version.context_length or version.plan.context_length


def served_shape(version: Version) -> ServingShape:
    """Return a version's shape with the context that was chosen for it.

    A context that is still open stays so.
    """
    shape = version.spec.shape
    return shape if shape.context_length else replace(shape, context_length=version.context_length)


def served_spec(version: Version) -> VersionSpec:
    """Return a version's specification as its engines are started with it."""
    shape = replace(version.spec.shape, context_length=served_context(version))
    return version.spec if shape == version.spec.shape else replace(version.spec, shape=shape)


def replaced_context(model: Model | None, version_id: str) -> int:
    """Return the context of the version that a rollout to this one replaces.

    In tokens; 0: it replaces none.
    """
    if model is None:
        return 0
    from_version = model.rollout.from_version if model.rollout is not None else model.serving_version
    replaced = model.versions.get(from_version)
    return 0 if replaced is None or from_version == version_id else served_context(replaced)
