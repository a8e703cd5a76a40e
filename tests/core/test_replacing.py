"""Copies of frozen records with some fields changed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import pytest

from echoplaned.core.replacing import replace
from echoplaned.core.state import Instance, Model, State
from echoplaned.testing import builders


@dataclass(frozen=True, slots=True)
class Nothing:
    """A record without fields."""


@dataclass(frozen=True, slots=True)
class One:
    """A record with one field.

    Attributes:
        a: any number.
    """

    a: int


@dataclass(frozen=True, slots=True)
class Checked:
    """A record that checks itself, with a default.

    Attributes:
        a: 0 or more.
        b: any text.
    """

    a: int
    b: str = "b"

    def __post_init__(self) -> None:
        """Refuse what is negative."""
        if self.a < 0:
            raise ValueError("a is negative")


@dataclass(frozen=True)
class Named:
    """A record whose field is given by name only.

    Attributes:
        a: any number.
    """

    a: int = field(kw_only=True)


@dataclass(frozen=True)
class Derived:
    """A record with a field that its constructor makes.

    Attributes:
        a: any number.
    """

    a: int = field(init=False, default=1)


def test_it_is_the_standard_librarys() -> None:
    """Any change of any field gives what ``dataclasses.replace`` gives, and the record stays."""
    changes: list[tuple[Any, dict[str, Any]]] = [
        (Nothing(), {}),
        (One(1), {}),
        (One(1), {"a": 2}),
        (Checked(1), {"b": "c"}),
        (Checked(1, "c"), {"a": 2, "b": "d"}),
    ]
    state = builders.empty_state()
    changes += [(state, {each.name: object()}) for each in dataclasses.fields(state)]
    for record, changed in changes:
        before = dataclasses.replace(record)
        assert replace(record, **changed) == dataclasses.replace(record, **changed)
        assert record == before


def test_it_checks_as_the_constructor_does() -> None:
    """What a record refuses is refused, and a name that is no field's."""
    with pytest.raises(ValueError, match="a is negative"):
        replace(Checked(1), a=-1)
    with pytest.raises(TypeError, match="One has no field b"):
        replace(One(1), b=2)  # type: ignore[call-arg]


@pytest.mark.parametrize("record", [Named(a=1), Derived()])
def test_fields_without_a_place_are_refused(record: Any) -> None:
    """A class whose constructor takes a field by name, or makes it, is none for this."""
    with pytest.raises(TypeError, match="by position"):
        replace(record, a=2)


@pytest.mark.parametrize("kind", [State, Model, Instance])
def test_the_cores_records_have_their_fields_by_position(kind: type) -> None:
    """The records that are copied most can be."""
    assert all(each.init and not each.kw_only for each in dataclasses.fields(kind))
