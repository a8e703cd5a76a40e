"""Frozen dataclasses to JSON and back, by their type hints.

One ``Codec`` a class, built once. It is total: a class with a field of a kind that is not known here is refused when its codec
is built, not when a value is written. Decoding is strict: an unknown field, a missing one without a default and a value of
another type are errors with the path to the place. A field that is new and has a default loads from old rows.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
T = TypeVar("T")
V = TypeVar("V")
R = TypeVar("R")

_NON_FINITE = {
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
}  # JSON has no words for them; numbers only would be refused elsewhere


class CodecError(ValueError):
    """A value does not match its type.

    Its ``path`` grows outward while the error travels up.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.path: list[str] = []

    def within(self, place: str) -> CodecError:
        """Note one more place on the way to the value; return itself."""
        self.path.insert(0, place)
        return self

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {self.detail}" if self.path else self.detail


class _Kind(Protocol):
    """How values of one type are written as JSON and read back."""

    def encode(self, value: object) -> Json: ...

    def decode(self, json: Json) -> object: ...


def _mismatch(expected: str, value: object) -> CodecError:
    return CodecError(f"expected {expected}, found {type(value).__name__}")


@dataclasses.dataclass(frozen=True, slots=True)
class _Exact:
    """``bool`` and ``int``: values of that very type only.

    A bool is an int in Python and not in JSON.
    """

    type: type

    def encode(self, value: object) -> Json:
        return typing.cast(Json, self.decode(typing.cast(Json, value)))

    def decode(self, json: Json) -> object:
        if type(json) is not self.type:
            raise _mismatch(self.type.__name__, json)
        return json


class _Text:
    """``str``; subclasses (enumerations) are written as their text."""

    def encode(self, value: object) -> Json:
        if not isinstance(value, str):
            raise _mismatch("str", value)
        return str(value)

    def decode(self, json: Json) -> object:
        if not isinstance(json, str):
            raise _mismatch("str", json)
        return json


class _Float:
    """``float``; an int counts as one, as in Python's type system."""

    def encode(self, value: object) -> Json:
        number = _number(value)
        return number if math.isfinite(number) else str(number)

    def decode(self, json: Json) -> object:
        return _NON_FINITE[json] if isinstance(json, str) and json in _NON_FINITE else _number(json)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _mismatch("float", value)
    try:
        return float(value)
    except OverflowError:
        raise CodecError("number too large for a float") from None


@dataclasses.dataclass(frozen=True, slots=True)
class _Enum:
    enum: type[StrEnum]

    def encode(self, value: object) -> Json:
        if not isinstance(value, self.enum):
            raise _mismatch(self.enum.__name__, value)
        return value.value

    def decode(self, json: Json) -> object:
        try:
            return self.enum(typing.cast(str, json))
        except ValueError:
            raise CodecError(f"{json!r:.80} is not one of {self.enum.__name__}") from None


@dataclasses.dataclass(frozen=True, slots=True)
class _Optional:
    inner: _Kind

    def encode(self, value: object) -> Json:
        return None if value is None else self.inner.encode(value)

    def decode(self, json: Json) -> object:
        return None if json is None else self.inner.decode(json)


@dataclasses.dataclass(frozen=True, slots=True)
class _Sequence:
    """``tuple[X, ...]``: any number of items of one type."""

    item: _Kind

    def encode(self, value: object) -> Json:
        if not isinstance(value, tuple):
            raise _mismatch("tuple", value)
        return [_at(str(index), self.item.encode, item) for index, item in enumerate(value)]

    def decode(self, json: Json) -> object:
        if not isinstance(json, list):
            raise _mismatch("list", json)
        return tuple(_at(str(index), self.item.decode, item) for index, item in enumerate(json))


@dataclasses.dataclass(frozen=True, slots=True)
class _Record:
    """``tuple[A, B]``: a fixed number of items, each with its own type."""

    items: tuple[_Kind, ...]

    def encode(self, value: object) -> Json:
        if not isinstance(value, tuple) or len(value) != len(self.items):
            raise _mismatch(f"tuple of {len(self.items)}", value)
        return [_at(str(index), kind.encode, value[index]) for index, kind in enumerate(self.items)]

    def decode(self, json: Json) -> object:
        if not isinstance(json, list) or len(json) != len(self.items):
            raise _mismatch(f"list of {len(self.items)}", json)
        return tuple(_at(str(index), kind.decode, json[index]) for index, kind in enumerate(self.items))


@dataclasses.dataclass(frozen=True, slots=True)
class _Map:
    """``Mapping[str, X]``; comes back read-only and in the same order."""

    value: _Kind

    def encode(self, value: object) -> Json:
        if not isinstance(value, Mapping):
            raise _mismatch("mapping", value)
        return {_key(name): _at(name, self.value.encode, item) for name, item in value.items()}

    def decode(self, json: Json) -> object:
        if not isinstance(json, dict):
            raise _mismatch("object", json)
        return MappingProxyType({name: _at(name, self.value.decode, item) for name, item in json.items()})


def _key(name: object) -> str:
    if not isinstance(name, str):
        raise _mismatch("str as key", name)
    return str(name)


def _at(place: str, call: typing.Callable[[V], R], value: V) -> R:
    """Call, and note the place on an error."""
    try:
        return call(value)
    except CodecError as error:
        raise error.within(place) from None


class Codec(Generic[T]):
    """Writes one dataclass as JSON and reads it back.

    Args:
        cls: the dataclass.
        without: names of fields that are kept elsewhere or nowhere.

    Raises:
        TypeError: a field's type is of no known kind, or ``without`` names no field.
    """

    def __init__(self, cls: type[T], without: frozenset[str] = frozenset()) -> None:
        if not dataclasses.is_dataclass(cls):
            raise TypeError(f"{cls.__name__} is not a dataclass")
        fields = {field.name: field for field in dataclasses.fields(cls)}
        if unknown := without - fields.keys():
            raise TypeError(f"{cls.__name__} has no fields {sorted(unknown)}")
        hints = typing.get_type_hints(cls)
        self._cls = cls
        self._without = without
        self._kinds = {name: _kind(hints[name]) for name in fields if name not in without}
        self._required = frozenset(name for name, field in fields.items() if _has_no_default(field))

    @property
    def without(self) -> frozenset[str]:
        """Names of the fields that are kept elsewhere or nowhere."""
        return self._without

    def encode(self, value: T) -> dict[str, Json]:
        """Write every field but those of ``without``.

        Raises:
            CodecError: a field's value is not of its declared type.
        """
        if type(value) is not self._cls:
            raise _mismatch(self._cls.__name__, value)
        return {name: _at(name, kind.encode, getattr(value, name)) for name, kind in self._kinds.items()}

    def decode(self, json: Json, given: Mapping[str, object] = MappingProxyType({})) -> T:
        """Read what ``encode`` wrote.

        Args:
            json: the object of its fields.
            given: values of fields that are kept elsewhere, by name.

        Raises:
            CodecError: a field is unknown, missing without a default, or of another type; or the class itself refuses the values.
        """
        if not isinstance(json, dict):
            raise _mismatch(f"object for {self._cls.__name__}", json)
        if unknown := json.keys() - self._kinds.keys():
            raise CodecError(
                f"{self._cls.__name__} has no field {min(unknown)!r:.80}: was it written by a newer daemon?"
            )
        if missing := self._required - json.keys() - given.keys():
            raise CodecError(f"field {min(missing)!r} of {self._cls.__name__} is missing")
        values = {name: _at(name, self._kinds[name].decode, item) for name, item in json.items()}
        try:
            return self._cls(**values, **given)
        except ValueError as error:
            raise CodecError(str(error)) from error


@cache
def codec(cls: type[T]) -> Codec[T]:
    """Return the codec of a whole class, built on first use."""
    return Codec(cls)


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _kind(hint: object) -> _Kind:
    """Find the kind of a type hint.

    Raises:
        TypeError: there is none.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        return _optional(hint, arguments)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return _Sequence(_kind(arguments[0]))
        return _Record(tuple(_kind(argument) for argument in arguments))
    if origin is Mapping and arguments[0] is str:
        return _Map(_kind(arguments[1]))
    if isinstance(hint, type):
        return _plain(hint)
    raise TypeError(f"no JSON form for {hint!r}")


def _optional(hint: object, arguments: tuple[Any, ...]) -> _Kind:
    inner = [argument for argument in arguments if argument is not types.NoneType]
    if len(inner) != 1 or len(arguments) != 2:
        raise TypeError(f"no JSON form for {hint!r}: the only unions are with None")
    return _Optional(_kind(inner[0]))


def _plain(hint: type) -> _Kind:
    if dataclasses.is_dataclass(hint):
        return typing.cast(_Kind, codec(hint))
    if issubclass(hint, StrEnum):
        return _Enum(hint)
    if hint in {bool, int}:
        return _Exact(hint)
    if hint is float:
        return _Float()
    if hint is str:
        return _Text()
    raise TypeError(f"no JSON form for {hint!r}")
