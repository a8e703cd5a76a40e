"""Follows one number and one name through the daemon's functions: which files they pass, and which types carry them.

A profile function sees each call of a Python function of ours, on every thread, and what it was given and what it returned.

- A file is on the path where one of its functions was given, or gave, something that holds the walk's name or number.
- A form is a type that was given or returned and holds the number, itself or in what it consists of.
- A copy is a type that holds the number in a field of its own: what is handed on inside of another type is not copied.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

from google.protobuf.message import Message

import echoplaned
from echoplaned.core.state import Model, State

PACKAGE: Final = Path(echoplaned.__file__).parent
EVERYTHING: Final = (State, Model)
"""Types that hold whatever there is: what they hold says nothing of the path."""

NAME: Final = "name"
NUMBER: Final = "number"
NONE: Final[frozenset[str]] = frozenset()
MAX_DEPTH: Final = 5
MAX_PARTS: Final = 24
LEFT_OUT: Final = ("testing/", "telemetry/", "__init__.py")
"""The log, the metrics and the fakes stand beside the path."""


@dataclass
class Walk:
    """What was seen.

    Attributes:
        name: the text that marks what belongs to the walk.
        number: the value whose forms are counted; nothing else in the walk is equal to it.
        files: path below ``echoplaned`` by the order of its first call.
        forms: name of each type that carried the number, in the order of their first appearance.
        copies: name of each type that had the number in a field of its own.
    """

    name: str
    number: int
    files: dict[str, None] = field(default_factory=dict)
    forms: dict[str, None] = field(default_factory=dict)
    copies: dict[str, None] = field(default_factory=dict)
    _ours: dict[CodeType, str] = field(default_factory=dict)

    def see(self, frame: FrameType, event: str, argument: object) -> None:
        """Take one event of the interpreter: a call's arguments, or what it returned."""
        path = self._path_of(frame.f_code)
        if not path:
            return
        if event == "call":
            given = frame.f_code.co_varnames[: frame.f_code.co_argcount + frame.f_code.co_kwonlyargcount]
            things = [frame.f_locals[name] for name in given if name in frame.f_locals and name != "self"]
        elif event == "return":
            things = [argument]
        else:
            return
        for thing in things:
            held = self._marks_in(thing, MAX_DEPTH)
            if held:
                self.files.setdefault(path)
            if NUMBER in held and _is_type_of_ours(thing):
                self.forms.setdefault(type(thing).__name__)

    def _path_of(self, code: CodeType) -> str:
        """Return a function's file below the package; empty: it is not ours, or not on any path."""
        known = self._ours.get(code)
        if known is None:
            file = Path(code.co_filename)
            below = str(file.relative_to(PACKAGE)) if file.is_relative_to(PACKAGE) else ""
            known = "" if code.co_name.startswith("<") or below.endswith(LEFT_OUT[-1]) else below
            known = "" if known.startswith(LEFT_OUT[:-1]) else known
            self._ours[code] = known
        return known

    def _marks_in(self, thing: object, depth: int) -> frozenset[str]:
        """Return which of the marks something holds; notes each type that holds the number itself."""
        if isinstance(thing, str):
            return frozenset({NAME}) if self.name in thing else NONE
        if type(thing) in {int, float}:
            return frozenset({NUMBER}) if thing == self.number else NONE
        if depth == 0 or thing is None or isinstance(thing, (bool, bytes, *EVERYTHING)):
            return NONE
        parts = _parts(thing)
        if any(type(part) in {int, float} and part == self.number for part in parts) and _is_type_of_ours(thing):
            self.copies.setdefault(type(thing).__name__)
        return NONE.union(*(self._marks_in(part, depth - 1) for part in parts))

    @contextlib.contextmanager
    def followed(self) -> Iterator[None]:
        """Follow every call until the block's end, on this thread and on all that were started in ``watching``."""
        _followed.append(self)
        try:
            yield
        finally:
            _followed.remove(self)


_followed: list[Walk] = []
"""The walks that are followed at present."""


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """Have every thread that is started in the block, and this one, tell of its calls.

    A thread that is there already cannot be made to: a pool's threads live longer than a walk, so begin before the pools do.
    """
    threading.setprofile(_see)
    sys.setprofile(_see)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def _see(frame: FrameType, event: str, argument: object) -> None:
    for walk in _followed:
        walk.see(frame, event, argument)


def _parts(thing: object) -> list[object]:
    """Return what a value consists of: fields, items or elements; nothing of what is opaque."""
    if isinstance(thing, Message):
        return [value for _, value in thing.ListFields()]
    if is_dataclass(thing) and not isinstance(thing, type):
        return [getattr(thing, each.name, None) for each in fields(thing)]
    if isinstance(thing, Mapping):
        return [part for pair in list(thing.items())[:MAX_PARTS] for part in pair]
    if isinstance(thing, (tuple, list, frozenset, set)):
        return list(thing)[:MAX_PARTS]
    if type(thing).__module__.startswith("google._upb"):  # a repeated field
        return list(thing)[:MAX_PARTS] if hasattr(thing, "__iter__") else []
    return []


def _is_type_of_ours(thing: object) -> bool:
    """Whether a type is one that a reader of the path meets: a message, or a public class of ours."""
    kind = type(thing)
    ours = isinstance(thing, Message) or kind.__module__.startswith(("echoplaned", "echoplane"))
    return ours and not kind.__name__.startswith("_")
