"""What single values may be, beyond their types.

Numbers are in range, times exist, and texts can be written. SQLite and JSON hold more than that, and so does a row that
somebody changed by hand. Only what no release could have written is refused.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from echoplaned.core.facts import ModelFacts
from echoplaned.core.numbers import MAX_TIME_S
from echoplaned.core.placement import DeviceShare
from echoplaned.core.rollout_state import Rollout
from echoplaned.core.routes_view import ClusterView, ModelRoutes
from echoplaned.core.spec import (
    MAX_CONCURRENCY,
    MAX_CONTEXT_LENGTH,
    MAX_PROBES,
    MAX_REPLICAS,
    EchoPolicy,
    RolloutPolicy,
    ServingShape,
)
from echoplaned.core.state import WEIGHT_TOTAL_PPM, Instance, Version
from echoplaned.ports.keys import MAX_REQUESTS_PER_MINUTE, KeyRequest
from echoplaned.store.codec import CodecError
from echoplaned.store.errors import StoreCorruptError

Check = Callable[[Any], None]
Limits = tuple[float, float]

MAX_COUNTER: Final = 2**62
"""The highest epoch, sequence or number of a session: half of what a column holds, so that counting on from it cannot fail."""

_ABOVE_0: Final = math.nextafter(0.0, 1.0)
_BELOW_1: Final = math.nextafter(1.0, 0.0)

_ANY_INT: Final[Limits] = (-(2**63), 2**64 - 1)
_BYTES: Final[Limits] = (0, 2**64 - 1)
_COUNTER: Final[Limits] = (0, MAX_COUNTER)
TIME: Final[Limits] = (0, MAX_TIME_S)
"""A time by which something happened, or a length of time; seconds."""
_MOVED_TIME: Final[Limits] = (-MAX_TIME_S, MAX_TIME_S)

_SIGNED_BYTES: Final = frozenset(
    {"beyond_bytes", "load_beyond_bytes", "overhead_bytes", "load_overhead_bytes", "free_bytes", "freed_bytes"}
)
"""Differences, which may be below nothing."""

_MOVED_TIMES: Final = frozenset(
    {
        "restart_at_s",
        "ready_since_s",
        "drain_deadline_s",
        "phase_since_s",
        "observe_since_s",
        "load_started_s",
        "load_duration_s",
        "held_since_s",
    }
)
"""What a clock that is put back moves, by ``core.clock_shift`` or by itself: it may come to lie before 1970."""

_CALLERS_TEXTS: Final = frozenset({"source_uri", "engine_options", "name", "labels", "aliases"})
"""What came with a request, which holds whole characters only; a path, or an error that quotes one, may hold the bytes of a file's name."""

LIMITS: Final[Mapping[tuple[type, str], Limits]] = MappingProxyType(
    {
        (ServingShape, "replicas"): (1, MAX_REPLICAS),
        (ServingShape, "max_concurrency"): (1, MAX_CONCURRENCY),
        (ServingShape, "context_length"): (0, MAX_CONTEXT_LENGTH),
        (ModelFacts, "parameter_count"): _BYTES,
        (ModelFacts, "max_context_length"): _BYTES,
        (Version, "context_length"): _BYTES,
        (Version, "next_ordinal"): _COUNTER,
        (Instance, "generation"): (1, MAX_COUNTER),
        (Instance, "failures"): _COUNTER,
        # No device has as much; a thousand of them still add up within 64 bits.
        (DeviceShare, "bytes"): (0, 2**53),
        (ModelRoutes, "epoch"): _COUNTER,
        (ClusterView, "weight_ppm"): (0, WEIGHT_TOTAL_PPM),
        (Rollout, "evidence_window"): _COUNTER,
        # Earlier releases took whatever is above 0 and below 1 where the API asks for a little more by now.
        (RolloutPolicy, "max_error_increase"): (_ABOVE_0, 1.0),
        (RolloutPolicy, "confidence"): (0.5, _BELOW_1),
        (RolloutPolicy, "alpha"): (_ABOVE_0, 0.1),
        (RolloutPolicy, "slo_error_rate"): (_ABOVE_0, 1.0),
        (RolloutPolicy, "probe_count"): (1, MAX_PROBES),
        (EchoPolicy, "max_kl_nats"): (_ABOVE_0, 100.0),
        (EchoPolicy, "max_distance"): (_ABOVE_0, 2.0),
        (EchoPolicy, "alpha"): (_ABOVE_0, 0.1),
        (EchoPolicy, "prompt_count"): (1, MAX_PROBES),
        (KeyRequest, "requests_per_minute"): (0, MAX_REQUESTS_PER_MINUTE),
    }
)
"""Least and most, both of them allowed, by class and field; other fields go by how their names end."""


def check_ranges(place: str, value: object, without: frozenset[str] = frozenset()) -> None:
    """Refuse a dataclass with a value in it, however deep, that cannot be.

    Args:
        place: table and row, for the message.
        value: the dataclass.
        without: fields of it that are rows of their own.

    Raises:
        StoreCorruptError: there is one.
    """
    try:
        _check_fields(value, without)
    except CodecError as error:
        raise StoreCorruptError(f"{place}: {error}") from error


def check_range(place: str, value: float, limits: Limits) -> None:
    """Refuse a number that lies outside its limits.

    Raises:
        StoreCorruptError: it does, or is no number at all.
    """
    try:
        _check_number(limits, value)
    except CodecError as error:
        raise StoreCorruptError(f"{place}: {error}") from error


def _check_fields(value: object, without: frozenset[str] = frozenset()) -> None:
    for name, check in _checks(type(value)):  # type: ignore[arg-type]  # classes can be hashed, whatever object.__hash__ says
        if name not in without:
            try:
                check(getattr(value, name))
            except CodecError as error:
                raise error.within(name) from None


@cache
def _checks(cls: type[Any]) -> tuple[tuple[str, Check], ...]:
    """Return what is to be checked of a dataclass, by field.

    Fields that may hold whatever their type allows are left out.
    """
    hints = typing.get_type_hints(cls)
    found = ((field.name, _check_of(cls, field.name, hints[field.name])) for field in dataclasses.fields(cls))
    return tuple((name, check) for name, check in found if check is not None)


def _check_of(cls: type[Any], name: str, hint: Any) -> Check | None:  # noqa: ANN401 - any type hint
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in {types.UnionType, typing.Union}:
        (inner,) = (each for each in arguments if each is not types.NoneType)
        return _optional(_check_of(cls, name, inner))
    if typing.get_origin(hint) is tuple:
        items = [each for each in arguments if each is not Ellipsis]
        return _items([_check_of(cls, name, each) for each in items], endless=Ellipsis in arguments)
    if not isinstance(hint, type) or issubclass(hint, StrEnum | bool):
        return None  # an enumeration's values are known, and a mapping's are rows of their own
    if dataclasses.is_dataclass(hint):
        return _check_fields
    if hint is str:
        return _check_text if name in _CALLERS_TEXTS else None
    limits = LIMITS.get((cls, name)) or _limits_of(name, hint)
    return None if limits is None else lambda value: _check_number(limits, value)


def _limits_of(name: str, kind: type) -> Limits | None:
    """Return the limits that a number's name implies; None: it may be any."""
    if name.endswith("_s"):
        return _MOVED_TIME if name in _MOVED_TIMES else TIME
    if kind is not int:
        return None  # evidence, say, which may be infinite
    is_size = name == "bytes" or name.endswith("_bytes")
    return _BYTES if is_size and name not in _SIGNED_BYTES else _ANY_INT


def _optional(check: Check | None) -> Check | None:
    if check is None:
        return None

    def check_optional(value: object) -> None:
        if value is not None:
            check(value)

    return check_optional


def _items(checks: list[Check | None], *, endless: bool) -> Check | None:
    """Return a check of a tuple; ``endless``: all of its items are of one kind."""
    if not any(checks):
        return None

    def check_items(values: tuple[object, ...]) -> None:
        for index, value in enumerate(values):
            check = checks[0 if endless else index]
            if check is not None:
                try:
                    check(value)
                except CodecError as error:
                    raise error.within(str(index)) from None

    return check_items


def _check_number(limits: Limits, value: float) -> None:
    low, high = limits
    # What is not a number compares as False.
    if not low <= value <= high:
        raise CodecError(f"{value!r:.40} is not within {low:g} and {high:g}")


def _check_text(value: str) -> None:
    if value.isascii():
        return
    try:
        value.encode()
    except UnicodeEncodeError:
        raise CodecError("the text holds half a character (an unpaired surrogate)") from None
