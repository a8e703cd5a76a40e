"""Copies of frozen records with some fields changed.

``dataclasses.replace`` looks at every field's definition each time, which was a third of a step: every event makes some ten copies.
Here a class is looked at once. For a checker it is the one of the standard library, whose arguments it knows by name and type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

__all__ = ["replace"]

if TYPE_CHECKING:
    from dataclasses import replace
else:

    def replace(record: Any, **changes: Any) -> Any:  # noqa: ANN401 - a checker never sees it
        """Return a copy of a record with those fields changed.

        Raises:
            TypeError: a change names no field of it, or its class has fields that its constructor does not take by position.
        """
        kind = record.__class__
        get, places = _shape(kind)
        values = list(get(record))
        for name, value in changes.items():
            try:
                values[places[name]] = value
            except KeyError:
                raise TypeError(f"{kind.__name__} has no field {name}") from None
        return kind(*values)


@cache
def _shape(kind: type) -> tuple[Callable[[Any], tuple[Any, ...]], dict[str, int]]:
    """Return what reads all fields in the constructor's order, and each one's place."""
    found = fields(kind)
    if any(not each.init or each.kw_only for each in found):
        raise TypeError(f"{kind.__name__} has fields that its constructor does not take by position")
    names = [each.name for each in found]
    # Of one name attrgetter returns the value itself; none of nothing.
    read = attrgetter(*names) if len(names) > 1 else lambda record: tuple(getattr(record, name) for name in names)
    return read, {name: place for place, name in enumerate(names)}
