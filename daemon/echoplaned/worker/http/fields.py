"""Reads the fields of a JSON object by name, and refuses the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from echoplaned.worker_contract.inference.errors import FieldError

_MAX_SHOWN: Final = 64


class Fields:
    """One object of a request.

    A field that is null counts as left out.

    Args:
        data: the object.
        at: where it stands in the request: empty, or ``messages[0]``.
    """

    def __init__(self, data: Mapping[str, Any], at: str = "") -> None:
        self._data = data
        self._at = at
        self._read: set[str] = set()

    def name(self, field: str) -> str:
        """Return the full name of a field."""
        return f"{self._at}.{field}" if self._at else field

    def take(self, field: str) -> Any:  # noqa: ANN401 - whatever the caller wrote
        """Return a field as it is; None where it is left out."""
        self._read.add(field)
        return self._data.get(field)

    def require(self, field: str) -> Any:  # noqa: ANN401 - whatever the caller wrote
        """Return a field that must be there.

        Raises:
            FieldError: it is not.
        """
        value = self.take(field)
        if value is None:
            raise FieldError(self.name(field), "is needed")
        return value

    def text(self, field: str) -> str | None:
        """Return a text.

        Raises:
            FieldError: it is something else, or holds half a character.
        """
        value = self.take(field)
        return None if value is None else as_text(self.name(field), value)

    def truth(self, field: str) -> bool:
        """Return true or false; false where it is left out.

        Raises:
            FieldError: it is something else.
        """
        value = self.take(field)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise FieldError(self.name(field), "must be true or false")
        return value

    def whole(self, field: str, low: int, high: int) -> int | None:
        """Return a whole number within bounds.

        Raises:
            FieldError: it is something else.
        """
        value = self.take(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise FieldError(self.name(field), f"must be a whole number from {low} to {high}")
        return value

    def number(self, field: str, low: float, high: float) -> float | None:
        """Return a number within bounds.

        Raises:
            FieldError: it is something else.
        """
        value = self.take(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise FieldError(self.name(field), f"must be a number from {low:g} to {high:g}")
        return float(value)

    def texts(self, field: str, most: int, *, alone: bool) -> tuple[str, ...]:
        """Return a list of texts that are not empty.

        ``alone``: one text may stand for a list of one.

        Raises:
            FieldError: it is something else, or they are too many.
        """
        value = self.take(field)
        if value is None:
            return ()
        if alone and isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or len(value) > most:
            raise FieldError(self.name(field), f"must be a list of at most {most} texts")
        found = tuple(as_text(f"{self.name(field)}[{index}]", one) for index, one in enumerate(value))
        if "" in found:
            raise FieldError(self.name(field), "an empty text ends nothing")
        return found

    def child(self, field: str) -> Fields | None:
        """Return an object within this one.

        Raises:
            FieldError: it is something else.
        """
        value = self.take(field)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise FieldError(self.name(field), "must be an object")
        return Fields(value, self.name(field))

    def children(self, field: str, most: int) -> list[Fields]:
        """Return the objects of a list that must be there and not be empty.

        They are counted before one of them is looked at.

        Raises:
            FieldError: it is something else, or they are too many.
        """
        value = self.require(field)
        if isinstance(value, list) and len(value) > most:
            raise FieldError(self.name(field), f"has {len(value)} entries; there are at most {most}")
        if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
            raise FieldError(self.name(field), "must be a list of objects, at least one")
        return [Fields(one, f"{self.name(field)}[{index}]") for index, one in enumerate(value)]

    def finish(self, harmless: Mapping[str, Sequence[Any]] | None = None) -> None:
        """Refuse what was not read, unless it is null or says what is done anyway.

        Args:
            harmless: values by field that change nothing.

        Raises:
            FieldError: names the first such field.
        """
        allowed = harmless or {}
        for field, value in self._data.items():
            if field in self._read or value is None:
                continue
            if any(_is_same(value, one) for one in allowed.get(field, ())):
                continue
            if field in allowed:
                raise FieldError(self.name(field), "is not done by this engine; leave it out")
            raise FieldError(self.name(field[:_MAX_SHOWN]), "there is no such parameter here")


def as_text(name: str, value: object) -> str:
    """Return a value that must be a text of whole characters.

    Raises:
        FieldError: it is something else.
    """
    if not isinstance(value, str):
        raise FieldError(name, "must be a text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise FieldError(name, "holds half a character (an unpaired surrogate)") from None
    return value


def _is_same(value: object, other: object) -> bool:
    """Whether two values are alike and of one type: ``false`` is not 0."""
    return type(value) is type(other) and value == other
