"""Arrays as the native module takes them: copied only where type or layout differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echoplaned.dtesn.errors import ShapeInvalidError


def contiguous(value: ArrayLike, dtype: type[Any]) -> NDArray[Any]:
    """Return a C-contiguous array of the given type.

    A number that is too large for float32 becomes infinite, and is refused as such by the native module.
    """
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(value, dtype=dtype)


def rows(name: str, value: ArrayLike, dtype: type[Any] = np.float32) -> NDArray[Any]:
    """Return an array of shape (rows, columns); one dimension is one column.

    Raises:
        ShapeInvalidError: it has no or more than two dimensions.
    """
    array = contiguous(value, dtype)
    if np.ndim(value) == 1:
        return array.reshape(-1, 1)
    if np.ndim(value) != 2:
        raise ShapeInvalidError(f"{name} has {np.ndim(value)} dimensions; (rows, columns) are needed")
    return array


def vector(name: str, value: ArrayLike, dtype: type[Any]) -> NDArray[Any]:
    """Return a one-dimensional array; a number is an array of one.

    Raises:
        ShapeInvalidError: it has more dimensions.
    """
    if np.ndim(value) > 1:
        raise ShapeInvalidError(f"{name} has {np.ndim(value)} dimensions; one is needed")
    return contiguous(value, dtype).reshape(-1)
