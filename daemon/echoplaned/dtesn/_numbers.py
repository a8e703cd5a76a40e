"""Whole numbers as the native module takes them.

They have 32, 64 or 128 bits, and are not negative.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from echoplaned.dtesn.errors import ValueOverflowError

P = ParamSpec("P")
R = TypeVar("R")


def whole_numbers(function: Callable[P, R]) -> Callable[P, R]:
    """Turn integer overflow in a function into a `ValueOverflowError`.

    A number that is negative or over its bits ends so, as all errors of this package are `DtesnError`.
    """

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except OverflowError as error:
            raise ValueOverflowError(f"{function.__name__.strip('_')}: {error}") from error

    return checked
